//! Bearer tokens (RFC 6750): from the header to a [`Principal`], by the kind of token. Each token is shown to at most one
//! authorization server: the one that it names or, if it names none, the only one that is asked about such tokens.
//!
//! Does not know how any one kind is checked.

use std::sync::Arc;

use cardea_policy::Principal;
use http::HeaderValue;

use super::certificate::Presented;
use super::introspection::{self, Answer};
use super::static_tokens::{self, StaticTokens};
use super::{Stop, TrustedIssuer, claims, jwt};
use crate::identity::unix_now;

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 << 10;

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

/// Who bears this token. `presented` is the certificate of the connection, for tokens that are bound to one.
pub(super) async fn principal(
    token: &str,
    presented: Option<&Presented>,
    issuers: &[Arc<TrustedIssuer>],
    static_tokens: Option<&StaticTokens>,
) -> Result<Principal, Stop> {
    if static_tokens::is_one(token) {
        static_tokens.ok_or(Stop::InvalidToken("token-unknown"))?.principal(token)
    } else if jwt::is_one(token) {
        of_jwt(token, presented, issuers).await
    } else {
        of_opaque(token, presented, issuers).await
    }
}

/// Verified here, then asked about too if its issuer is.
async fn of_jwt(token: &str, presented: Option<&Presented>, issuers: &[Arc<TrustedIssuer>]) -> Result<Principal, Stop> {
    let (issuer, claims) = jwt::verify(token, issuers).await?;
    claims::bound(&claims, presented)?;
    let end = claims::end(&claims).ok_or(Stop::InvalidToken("token-without-end"))?;
    // The moment from which it is refused: what is accepted until then must not be cut off before.
    let mut principal = claims::principal(&claims, &issuer.config, end.saturating_add(claims::LEEWAY))?;
    if let Some(introspection) = &issuer.introspection {
        let Answer::Active(known) = introspection.answer(token, &issuer.keys).await? else {
            return Err(Stop::InvalidToken("token-inactive"));
        };
        // The signature vouches for the claims; the answer may leave any out, but contradict none.
        let or_absent =
            |name: &str, holds: &dyn Fn(&serde_json::Value) -> bool| known.claims.get(name).is_none_or(holds);
        let agrees = introspection::agrees(&known.claims, &issuer.config, unix_now())
            && or_absent("aud", &|aud| introspection::is_for(aud, &issuer.config.audiences))
            && or_absent("sub", &|sub| Some(sub) == claims.get("sub"));
        if !agrees {
            return Err(Stop::InvalidToken("token-contradicted"));
        }
        claims::bound(&known.claims, presented)?;
        principal.expires_at = principal.expires_at.min(claims::end(&known.claims).unwrap_or(claims::NO_END));
    }
    Ok(principal)
}

/// Known to its authorization server alone.
async fn of_opaque(
    token: &str,
    presented: Option<&Presented>,
    issuers: &[Arc<TrustedIssuer>],
) -> Result<Principal, Stop> {
    let (issuer, introspection) = issuers
        .iter()
        .find_map(|issuer| Some((issuer, issuer.introspection.as_ref()?)))
        .ok_or(Stop::InvalidToken("token-malformed"))?;
    let Answer::Active(known) = introspection.answer(token, &issuer.keys).await? else {
        return Err(Stop::InvalidToken("token-inactive"));
    };
    // Without an audience it could have been made for anybody (RFC 8707 section 2, row 44).
    let is_ours = known.claims.get("aud").is_some_and(|aud| introspection::is_for(aud, &issuer.config.audiences));
    if !is_ours || !introspection::agrees(&known.claims, &issuer.config, unix_now()) {
        return Err(Stop::InvalidToken("token-not-for-here"));
    }
    claims::bound(&known.claims, presented)?;
    claims::principal(&known.claims, &issuer.config, claims::end(&known.claims).unwrap_or(claims::NO_END))
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
