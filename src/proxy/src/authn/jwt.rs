//! JWT access tokens (RFC 7519, RFC 8725, RFC 9068): the issuer is chosen by the `iss` that the token claims, then
//! everything, `iss` again included, is checked against that issuer alone.
//!
//! Does not know where keys come from ([`super::jwks`]); of a bad token no word goes into a log or an answer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims::LEEWAY;
use super::jwks::Found;
use super::key_set::Key;
use super::verified::{Claims, TokenDigest};
use super::{Stop, TrustedIssuer};
use crate::identity::unix_now;

/// Types of token that are access tokens. Without a type it may be one; a logout token or a DPoP proof is none.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// What of the header decides.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

/// Whether a token is a JWT, well-formed or not: its first part is a JOSE header, encrypted tokens' included. What looks
/// like one is never shown to an authorization server that it does not name.
pub(super) fn is_one(token: &str) -> bool {
    let header = token.split_once('.').and_then(|(header, _)| URL_SAFE_NO_PAD.decode(header).ok());
    header.is_some_and(|header| serde_json::from_slice::<Map<String, Value>>(&header).is_ok())
}

/// Verifies a token: whose it is, and its claims.
pub(super) async fn verify<'a>(
    token: &str,
    issuers: &'a [Arc<TrustedIssuer>],
) -> Result<(&'a TrustedIssuer, Arc<Claims>), Stop> {
    // The same token for the same issuer under the same keys: all that could be different is the time.
    let (digest, now) = (TokenDigest::of(token), unix_now());
    for issuer in issuers {
        let Some(set) = issuer.keys.known() else { continue };
        if let Some(claims) = set.verified.find(digest, now).await {
            return Ok((issuer, claims));
        }
    }
    let header = header(token)?;
    let claimed = claimed_issuer(token).ok_or(Stop::InvalidToken("token-malformed"))?;
    // Exact to the byte (RFC 8414 section 3.3): a normalised comparison would let one issuer pass for another.
    let issuer = issuers
        .iter()
        .find(|issuer| issuer.config.url == claimed)
        .ok_or(Stop::InvalidToken("token-of-unknown-issuer"))?;
    let set = match issuer.keys.find(header.kid.as_deref()).await {
        Found::Keys(set) => set,
        Found::NoSuchKey => return Err(Stop::InvalidToken("token-of-unknown-key")),
        Found::Unavailable => return Err(Stop::Unavailable("keys-unavailable")),
    };
    let claims = set
        .candidates(header.kid.as_deref(), header.algorithm)
        .find_map(|key| check(token, &header, key, issuer))
        .map(Arc::new)
        .ok_or(Stop::InvalidToken("token-not-verified"))?;
    set.verified.remember(digest, token, &claims).await;
    Ok((issuer, claims))
}

fn header(token: &str) -> Result<Header, Stop> {
    let header = jsonwebtoken::decode_header(token).map_err(|_| Stop::InvalidToken("token-malformed"))?;
    let typ = header.typ.as_deref();
    if typ.is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
        return Err(Stop::InvalidToken("token-of-other-type"));
    }
    // No extension is understood here, so none may be critical (RFC 7515 section 4.1.11). `jku`, `x5u`, `jwk` and `x5c`
    // would let the token bring its own key: they are not looked at.
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Stop::InvalidToken("token-malformed"));
    }
    Ok(Header { algorithm: header.alg, kid: header.kid })
}

/// `iss`, before anything is verified: one string, once. A list is refused, though the library would take it.
fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Some(serde_json::from_slice::<Claimed>(&payload).ok()?.iss)
}

/// Signature, time and audience.
fn check(token: &str, header: &Header, key: &Key, issuer: &TrustedIssuer) -> Option<Claims> {
    let mut validation = Validation::new(header.algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&issuer.config.url]);
    validation.set_audience(&issuer.config.audiences);
    Some(jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).ok()?.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_jwt_is_one() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let header = part(r#"{"alg":"ES256"}"#);
        for (token, expected) in [
            (format!("{header}.{}.AA", part("{}")), true),
            (format!("{header}.."), true),
            (format!("{header}.x"), true),
            (format!("{header}.a.b.c.d"), true),
            (header, false),
            ("2YotnFZFEjr1zCsicMWpAA".into(), false),
            ("mF_9.B5f-4.1JqM".into(), false),
            (format!("{}.a.b", part("[]")), false),
        ] {
            assert_eq!(is_one(&token), expected, "{token}");
        }
    }
}
