//! JWT bearer tokens (RFC 6750, RFC 7519, RFC 8725, RFC 9068): the issuer is chosen by the `iss` that the token claims,
//! then everything, `iss` again included, is checked against that issuer alone.
//!
//! Does not know where keys come from ([`super::jwks`]); of a bad token no word goes into a log or an answer.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_policy::Principal;
use http::HeaderValue;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::certificate::Presented;
use super::jwks::Found;
use super::key_set::Key;
use super::{Stop, TrustedIssuer, claims};

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 << 10;
/// Seconds by which clocks may differ.
const LEEWAY: u64 = 30;
/// Types of token that are access tokens. Without a type it may be one; a logout token or a DPoP proof is none.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];

/// The token of an `Authorization` header.
pub(super) fn token(value: &HeaderValue) -> Result<&str, Stop> {
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Stop::NoEvidence("not-a-bearer-token"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Stop::NoEvidence("not-a-bearer-token"));
    }
    let token = token.trim_matches(' ');
    if token.len() > MAX_TOKEN {
        return Err(Stop::InvalidToken("token-too-long"));
    }
    Ok(token)
}

/// What of the header decides.
struct Header {
    algorithm: Algorithm,
    kid: Option<String>,
}

/// Verifies a token. `presented` is the certificate of the connection, for tokens that are bound to one.
pub(super) async fn verify(
    token: &str,
    presented: Option<&Presented>,
    issuers: &[Arc<TrustedIssuer>],
) -> Result<Principal, Stop> {
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
        Found::Unavailable => return Err(Stop::KeysUnavailable),
    };
    let verified = set
        .candidates(header.kid.as_deref(), header.algorithm)
        .find_map(|key| check(token, &header, key, issuer))
        .ok_or(Stop::InvalidToken("token-not-verified"))?;
    claims::bound(&verified, presented)?;
    claims::principal(&verified, &issuer.config)
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
fn check(token: &str, header: &Header, key: &Key, issuer: &TrustedIssuer) -> Option<Map<String, Value>> {
    let mut validation = Validation::new(header.algorithm);
    validation.leeway = LEEWAY;
    validation.validate_nbf = true;
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.set_issuer(&[&issuer.config.url]);
    validation.set_audience(&issuer.config.audiences);
    Some(jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation).ok()?.claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorization_headers() {
        for (value, expected) in [
            ("Bearer abc", Ok("abc")),
            ("bearer  abc", Ok("abc")),
            ("Bearer", Err(Stop::NoEvidence("not-a-bearer-token"))),
            ("Basic abc", Err(Stop::NoEvidence("not-a-bearer-token"))),
            ("DPoP abc", Err(Stop::NoEvidence("not-a-bearer-token"))),
        ] {
            assert_eq!(token(&HeaderValue::from_static(value)), expected, "{value}");
        }
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN + 1));
        assert_eq!(token(&long.parse().unwrap()), Err(Stop::InvalidToken("token-too-long")));
    }
}
