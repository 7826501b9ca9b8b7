//! From the claims of a token to a [`Principal`], the same whether a signature or the authorization server vouches for
//! them. What is odd refuses the token: nothing is dropped, since a Deny could be about it.
//!
//! Does not know how the claims were verified.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_contract::{AttributeClaim, Issuer, TokenKind};
use cardea_policy::{Evidence, Principal};
use serde_json::{Map, Value};

use super::Stop;
use super::certificate::Presented;

/// Seconds by which clocks may differ.
pub(super) const LEEWAY: u64 = 30;
/// The end of what has none: the last moment that dates are written for.
pub(super) const NO_END: u64 = 253_402_300_799;
/// Most groups of one principal, and most values of one attribute.
pub(super) const MAX_VALUES: usize = 1000;
/// Longest subject, group or value.
const MAX_NAME: usize = 1024;

/// A token bound to a certificate is worth something on a connection with that certificate only (RFC 8705 section 3); one
/// bound to anything else cannot be proven here (RFC 9449 section 7.1).
pub(super) fn bound(claims: &Map<String, Value>, presented: Option<&Presented>) -> Result<(), Stop> {
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

pub(super) fn principal(claims: &Map<String, Value>, issuer: &Issuer, expires_at: u64) -> Result<Principal, Stop> {
    match &issuer.kind {
        TokenKind::Oidc { subject_claim, groups_claim, attributes } => {
            let subject =
                at(claims, subject_claim).and_then(name).ok_or(Stop::InvalidToken("token-without-subject"))?;
            let groups = names(at(claims, groups_claim)).ok_or(Stop::InvalidToken("token-with-odd-groups"))?;
            let scopes = scopes(claims).ok_or(Stop::InvalidToken("token-with-odd-scopes"))?;
            let attributes =
                self::attributes(claims, attributes).ok_or(Stop::InvalidToken("token-with-odd-attributes"))?;
            let evidence = Evidence::Token { issuer: issuer.name.clone() };
            Ok(Principal { subject, groups, scopes, attributes, expires_at, evidence })
        }
        TokenKind::KubernetesServiceAccount => {
            let subject = claims.get("sub").and_then(name).ok_or(Stop::InvalidToken("token-without-subject"))?;
            let evidence = service_account(&subject).ok_or(Stop::InvalidToken("token-of-no-service-account"))?;
            Ok(Principal::named(subject, expires_at, evidence))
        }
    }
}

/// When the token ends, by its own account.
pub(super) fn end(claims: &Map<String, Value>) -> Option<u64> {
    claims.get("exp").and_then(seconds).map(|end| end.min(NO_END))
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction: never later than it says.
pub(super) fn seconds(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and less is earlier")]
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

/// `scope` (RFC 8693 section 4.2, RFC 9068 section 2.2.3), words with spaces between; some issuers write `scp`, or a list.
fn scopes(claims: &Map<String, Value>) -> Option<Vec<String>> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(words)) => Some(words.split(' ').filter(|word| is_name(word)).map(str::to_owned).collect()),
        list => names(list),
    }
}

/// The claim of this name or, beginning with `/`, at this JSON Pointer (RFC 6901).
fn at<'a>(claims: &'a Map<String, Value>, place: &str) -> Option<&'a Value> {
    let Some(pointer) = place.strip_prefix('/') else {
        return claims.get(place);
    };
    let (first, rest) = pointer.find('/').map_or((pointer, ""), |end| pointer.split_at(end));
    claims.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
}

fn attributes(claims: &Map<String, Value>, wanted: &[AttributeClaim]) -> Option<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    for AttributeClaim { name, claim } in wanted {
        let values = match at(claims, claim) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(list)) if list.len() <= MAX_VALUES => list.iter().map(scalar).collect::<Option<_>>()?,
            Some(single) => vec![scalar(single)?],
        };
        found.insert(name.clone(), values);
    }
    Some(found)
}

/// A value as a rule spells it.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        value => name(value),
    }
}

fn name(value: &Value) -> Option<String> {
    value.as_str().filter(|text| is_name(text)).map(str::to_owned)
}

pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A string, or a list of strings; nothing else is taken for an empty list, since a Deny could be about what it says.
fn names(value: Option<&Value>) -> Option<Vec<String>> {
    match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_VALUES => list.iter().map(name).collect(),
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

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "sub": "alice", "realm_access": {"roles": ["ops"]}, "https://example.com/team": "payments", "a/b~c": {"": 1},
            "verified": true, "level": 3, "ratio": 0.5, "tags": ["x", 7, false], "nested": {"deep": {}}, "none": null
        });
        claims.as_object().unwrap().clone()
    }

    #[test]
    fn a_claim_is_found_by_name_or_by_pointer() {
        for (place, expected) in [
            ("sub", Some(json!("alice"))),
            ("/sub", Some(json!("alice"))),
            ("/realm_access/roles", Some(json!(["ops"]))),
            ("/realm_access/roles/0", Some(json!("ops"))),
            ("https://example.com/team", Some(json!("payments"))),
            ("/a~1b~0c/", Some(json!(1))),
            ("realm_access.roles", None),
            ("/realm_access/groups", None),
            ("/sub/x", None),
            ("/", None),
        ] {
            assert_eq!(at(&claims(), place), expected.as_ref(), "{place}");
        }
    }

    #[test]
    fn attributes_are_text_or_the_token_is_refused() {
        let found = |claim: &str| {
            let wanted = [AttributeClaim { name: "it".into(), claim: claim.into() }];
            attributes(&claims(), &wanted).map(|mut found| found.remove("it"))
        };
        let text = |values: &[&str]| Some(Some(values.iter().map(ToString::to_string).collect::<Vec<_>>()));
        assert_eq!(found("https://example.com/team"), text(&["payments"]));
        assert_eq!(found("verified"), text(&["true"]));
        assert_eq!(found("tags"), text(&["x", "7", "false"]));
        assert_eq!(found("/realm_access/roles"), text(&["ops"]));
        assert_eq!(found("missing"), Some(None));
        assert_eq!(found("none"), Some(None));
        for odd in ["nested", "ratio", "realm_access"] {
            assert_eq!(found(odd), None, "{odd}");
        }
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
            assert_eq!(names(Some(&value)).map(|groups| groups.len()), expected, "{value}");
        }
        assert_eq!(names(None), Some(vec![]));
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
