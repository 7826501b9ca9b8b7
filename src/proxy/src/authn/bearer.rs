//! JWT bearer tokens (RFC 6750, RFC 7519, RFC 8725, RFC 9068): the issuer is chosen by the `iss` that the token claims,
//! then everything, `iss` again included, is checked against that issuer alone.
//!
//! Does not know where keys come from ([`super::jwks`]); of a bad token no word goes into a log or an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_contract::TokenKind;
use cardea_policy::{Evidence, Principal};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::certificate::Presented;
use super::jwks::Found;
use super::key_set::Key;
use super::{Stop, TrustedIssuer};

/// Longest token that is looked at.
const MAX_TOKEN: usize = 16 << 10;
/// Seconds by which clocks may differ.
const LEEWAY: u64 = 30;
/// Most groups of one principal. A token with more is refused: dropping some could drop the one that a Deny names.
const MAX_GROUPS: usize = 1000;
/// Longest subject or group.
const MAX_NAME: usize = 1024;
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
    let claims = set
        .candidates(header.kid.as_deref(), header.algorithm)
        .find_map(|key| check(token, &header, key, issuer))
        .ok_or(Stop::InvalidToken("token-not-verified"))?;
    bound(&claims, presented)?;
    principal(&claims, issuer)
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

/// A token bound to a certificate is worth something on a connection with that certificate only (RFC 8705 section 3); one
/// bound to anything else cannot be proven here (RFC 9449 section 7.1).
fn bound(claims: &Map<String, Value>, presented: Option<&Presented>) -> Result<(), Stop> {
    let Some(confirmation) = claims.get("cnf") else {
        return Ok(());
    };
    let proven = confirmation.as_object().is_some_and(|confirmation| {
        let wanted = confirmation.get("x5t#S256").and_then(Value::as_str);
        let shown = presented.map(|presented| URL_SAFE_NO_PAD.encode(presented.thumbprint));
        confirmation.len() == 1 && wanted.is_some() && wanted == shown.as_deref()
    });
    if proven { Ok(()) } else { Err(Stop::InvalidToken("token-bound-elsewhere")) }
}

fn principal(claims: &Map<String, Value>, issuer: &TrustedIssuer) -> Result<Principal, Stop> {
    let expires_at = claims.get("exp").and_then(seconds).ok_or(Stop::InvalidToken("token-without-end"))?;
    match &issuer.config.kind {
        TokenKind::Oidc { subject_claim, groups_claim } => {
            let subject =
                claims.get(subject_claim).and_then(name).ok_or(Stop::InvalidToken("token-without-subject"))?;
            let groups = groups(claims.get(groups_claim)).ok_or(Stop::InvalidToken("token-with-odd-groups"))?;
            let scopes = scopes(claims).ok_or(Stop::InvalidToken("token-with-odd-scopes"))?;
            let evidence = Evidence::Token { issuer: issuer.config.name.clone() };
            Ok(Principal { subject, groups, scopes, attributes: BTreeMap::new(), expires_at, evidence })
        }
        TokenKind::KubernetesServiceAccount => {
            let subject = claims.get("sub").and_then(name).ok_or(Stop::InvalidToken("token-without-subject"))?;
            let evidence = service_account(&subject).ok_or(Stop::InvalidToken("token-of-no-service-account"))?;
            Ok(Principal::named(subject, expires_at, evidence))
        }
    }
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction: never later than it says.
fn seconds(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and less is earlier")]
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

/// `scope` (RFC 8693 section 4.2, RFC 9068 section 2.2.3), words with spaces between; some issuers write `scp`, or a list.
fn scopes(claims: &Map<String, Value>) -> Option<Vec<String>> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(words)) => Some(words.split(' ').filter(|word| is_name(word)).map(str::to_owned).collect()),
        list => groups(list),
    }
}

fn name(value: &Value) -> Option<String> {
    value.as_str().filter(|text| is_name(text)).map(str::to_owned)
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A string, or a list of strings; nothing else is taken for an empty list, since a Deny could be about what it says.
fn groups(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_GROUPS => list.iter().map(name).collect(),
        Some(single @ Value::String(_)) => Some(vec![name(single)?]),
        Some(_) => None,
    }
}

fn service_account(subject: &str) -> Option<Evidence> {
    let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let whole = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
    whole.then(|| Evidence::ServiceAccount { namespace: namespace.into(), name: name.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn groups_are_strings_or_refused() {
        for (value, expected) in [
            (json!(["a", "b"]), Some(2)),
            (json!("a"), Some(1)),
            (json!([]), Some(0)),
            (json!(null), Some(0)),
            (json!(["a", 1]), None),
            (json!({"a": 1}), None),
            (json!(1), None),
            (json!(["a\n"]), None),
            (json!([""]), None),
        ] {
            assert_eq!(groups(Some(&value)).map(|groups| groups.len()), expected, "{value}");
        }
        assert_eq!(groups(None), Some(vec![]));
    }

    #[test]
    fn service_accounts_have_two_names() {
        for (subject, expected) in [
            ("system:serviceaccount:ns:name", true),
            ("system:serviceaccount:ns:name:x", false),
            ("system:serviceaccount:ns", false),
            ("system:serviceaccount::name", false),
            ("system:node:a", false),
        ] {
            assert_eq!(service_account(subject).is_some(), expected, "{subject}");
        }
    }
}
