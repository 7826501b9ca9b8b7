//! The identity that a server finds in [`pod::IDENTITY_HEADER`]: who calls, signed by this proxy with a key that lives
//! as long as its process. A server that wants to be sure verifies it with the keys on the admin port.
//!
//! Knows only the verified principal; nothing of the evidence goes with it.

use std::collections::BTreeMap;
mod plain;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_policy::Principal;
use http::HeaderValue;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

pub(crate) use self::plain::PlainHeaders;

/// `iss` of the signed identity.
pub(crate) const ISSUER: &str = "cardea-proxy";
/// Seconds that a signed identity is valid: as long as it takes from here to the same pod's server.
const LIFETIME: u64 = 60;

/// Signs identities.
pub(crate) struct Signer {
    key: EcdsaKeyPair,
    /// Encoded JOSE header; the same for every token.
    header: String,
    jwks: String,
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
    iat: u64,
    exp: u64,
}

impl<'a> Claims<'a> {
    /// For now, and no more than the name.
    fn of(sub: &'a str, issuer: &'a str, aud: &'a str) -> Self {
        let iat = unix_now();
        let (groups, scope, attributes) = (&[] as &[String], String::new(), None);
        Self { iss: ISSUER, aud, sub, issuer, groups, scope, attributes, iat, exp: iat + LIFETIME }
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
        Ok(Self { key, header, jwks: json!({"keys": [jwk]}).to_string() })
    }

    /// The keys that verify identities (RFC 7517).
    pub(crate) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// The header's value for a caller of the server whose canonical URL is `audience`.
    pub(crate) fn sign(&self, principal: &Principal, audience: &str) -> Result<HeaderValue, SigningFailed> {
        let mut claims = Claims::of(&principal.subject, principal.issuer(), audience);
        claims.groups = &principal.groups;
        claims.scope = principal.scopes.join(" ");
        claims.attributes = Some(&principal.attributes).filter(|attributes| !attributes.is_empty());
        self.sign_claims(&claims)
    }

    /// The header's value for the proxy's own handshake, which acts for nobody.
    pub(crate) fn sign_own(&self, audience: &str) -> Result<HeaderValue, SigningFailed> {
        self.sign_claims(&Claims::of(ISSUER, ISSUER, audience))
    }

    fn sign_claims(&self, claims: &Claims<'_>) -> Result<HeaderValue, SigningFailed> {
        let claims = serde_json::to_vec(claims).map_err(|_| SigningFailed)?;
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
