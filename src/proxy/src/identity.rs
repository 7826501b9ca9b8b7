//! The identity that a server finds in [`pod::IDENTITY_HEADER`]: who calls, signed by this proxy with a key that lives
//! as long as its process. A server that wants to be sure verifies it with the keys on the admin port.
//!
//! Knows only the verified principal; nothing of the evidence goes with it.

mod plain;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_policy::Principal;
use http::HeaderValue;
use moka::future::Cache;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) use self::plain::PlainHeaders;

/// `iss` of the signed identity.
pub(crate) const ISSUER: &str = "cardea-proxy";
/// Seconds that a signed identity is valid: as long as it takes from here to the same pod's server.
const LIFETIME: u64 = 60;
/// How long one is used again for the same caller: a signature is a good part of what a call costs. What is left of its
/// life is enough to verify it.
const REUSE: Duration = Duration::from_secs(15);
/// About how many bytes of signed identities are kept.
const MAX_KEPT: u64 = 1 << 20;

/// Signs identities.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    /// Encoded JOSE header; the same for every token.
    header: String,
    jwks: String,
    /// What was signed a moment ago, by SHA-256 of everything it says but the time.
    signed: Cache<[u8; 32], HeaderValue>,
}

/// No key, or no signature.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign")]
pub(crate) struct SigningFailed;

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'static str,
    aud: &'a str,
    sub: &'a str,
    /// Name of the issuer that vouches for the subject, as the manifest calls it.
    issuer: &'a str,
    groups: &'a [String],
    /// As RFC 8693 section 4.2 spells scopes.
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a BTreeMap<String, Vec<String>>>,
}

#[derive(Serialize)]
struct Dated<'a> {
    #[serde(flatten)]
    claims: &'a Claims<'a>,
    iat: u64,
    exp: u64,
}

impl<'a> Claims<'a> {
    /// No more than the name.
    fn of(sub: &'a str, issuer: &'a str, aud: &'a str) -> Self {
        Self { iss: ISSUER, aud, sub, issuer, groups: &[], scope: String::new(), attributes: None }
    }
}

impl Signer {
    pub(crate) fn generate() -> Result<Self, SigningFailed> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningFailed)?;
        let point = key.public_key().as_ref();
        let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64).ok_or(SigningFailed)?;
        let (x, y) = coordinates.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: required members in lexicographic order, no white space.
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": kid, "typ": "JWT"}).to_string());
        let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig"});
        let weight = |_: &_, value: &HeaderValue| u32::try_from(value.len() + 128).unwrap_or(u32::MAX);
        let signed = Cache::builder().max_capacity(MAX_KEPT).weigher(weight).time_to_live(REUSE).build();
        Ok(Self { key, header, jwks: json!({"keys": [jwk]}).to_string(), signed })
    }

    /// The keys that verify identities (RFC 7517).
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The header's value for a caller of the server whose canonical URL is `audience`.
    pub(crate) async fn sign(&self, principal: &Principal, audience: &str) -> Result<HeaderValue, SigningFailed> {
        let mut claims = Claims::of(&principal.subject, principal.issuer(), audience);
        claims.groups = &principal.groups;
        claims.scope = principal.scopes.join(" ");
        claims.attributes = Some(&principal.attributes).filter(|attributes| !attributes.is_empty());
        let digest = Sha256::digest(serde_json::to_vec(&claims).map_err(|_| SigningFailed)?).into();
        if let Some(signed) = self.signed.get(&digest).await {
            return Ok(signed);
        }
        let signed = self.sign_claims(&claims)?;
        self.signed.insert(digest, signed.clone()).await;
        Ok(signed)
    }

    /// The header's value for the proxy's own handshake, which acts for nobody.
    pub(crate) fn sign_own(&self, audience: &str) -> Result<HeaderValue, SigningFailed> {
        self.sign_claims(&Claims::of(ISSUER, ISSUER, audience))
    }

    fn sign_claims(&self, claims: &Claims<'_>) -> Result<HeaderValue, SigningFailed> {
        let iat = unix_now();
        let claims = serde_json::to_vec(&Dated { claims, iat, exp: iat + LIFETIME }).map_err(|_| SigningFailed)?;
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 92);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.key.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| SigningFailed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        let mut value = HeaderValue::try_from(token).map_err(|_| SigningFailed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use cardea_policy::Evidence;

    use super::*;

    #[tokio::test]
    async fn one_is_used_again_for_the_same_caller_and_server_only() {
        let signer = Signer::generate().unwrap();
        let evidence = |issuer: &str| Evidence::Token { issuer: issuer.into() };
        let alice = Principal::named("alice".into(), 0, evidence("corp"));
        let sign = async |principal: &Principal, audience| signer.sign(principal, audience).await.unwrap();
        let first = sign(&alice, "https://a").await;
        // ECDSA is randomized: the same signature is the same token, not one made again.
        assert_eq!(sign(&alice, "https://a").await, first);
        assert!(first.is_sensitive());
        let mut others = vec![sign(&alice, "https://b").await];
        others.push(sign(&Principal::named("alice".into(), 0, evidence("other")), "https://a").await);
        for change in [
            |alice: &mut Principal| alice.groups.push("ops".into()),
            |alice: &mut Principal| alice.scopes.push("ops".into()),
            |alice: &mut Principal| _ = alice.attributes.insert("ops".into(), vec![]),
        ] {
            let mut changed = alice.clone();
            change(&mut changed);
            others.push(sign(&changed, "https://a").await);
        }
        let claims = |token: &HeaderValue| token.to_str().unwrap().split('.').nth(1).unwrap().to_owned();
        assert!(others.iter().all(|other| claims(other) != claims(&first)));
    }
}
