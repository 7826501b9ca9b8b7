//! Values, which are wiped when they are dropped and cannot be shown, and the one of them that a key names.

use std::collections::BTreeMap;

use cardea_contract::secrets::TroubleKind;
use zeroize::Zeroizing;

use crate::members;
use crate::store::StoreError;

/// One value.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes it over, so that no copy is left.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To hand it to whom it is for.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The values of one secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Values {
    /// One text, which may be a JSON object.
    Text(Value),
    /// Named members.
    Members(BTreeMap<String, Value>),
}

impl Values {
    /// The value that `key` names, or without a key the whole text. A text that is a JSON object has its members: strings as they
    /// are, anything else as JSON without white space.
    ///
    /// # Errors
    /// [`TroubleKind::NotFound`] with the key's name when there is none of it, [`TroubleKind::Unusable`] when the text is
    /// not such an object.
    pub fn value(&self, key: Option<&str>) -> Result<Value, StoreError> {
        match (self, key) {
            (Self::Text(text), None) => Ok(text.clone()),
            (Self::Members(members), Some(key)) => members.get(key).cloned().ok_or_else(|| no_such(key)),
            (Self::Text(text), Some(key)) => members::parse(text.expose())
                .map_err(|error| {
                    StoreError::new(
                        TroubleKind::Unusable,
                        format!("the secret has no key {key:?}, since {error}: leave the key out to get all of it"),
                    )
                })?
                .remove(key)
                .ok_or_else(|| no_such(key)),
            (Self::Members(_), None) => Err(StoreError::new(
                TroubleKind::NotFound,
                "the secret is no single text but has keys: say which one is wanted",
            )),
        }
    }
}

fn no_such(key: &str) -> StoreError {
    StoreError::new(
        TroubleKind::NotFound,
        format!(
            "the secret has no key {key:?}, or more than one: check how the store spells it (1Password: SECTION.LABEL)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Values {
        Values::Text(Value::new(text.into()))
    }

    fn get(values: &Values, key: Option<&str>) -> Result<String, StoreError> {
        values.value(key).map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_text_is_whole_without_a_key() {
        assert_eq!(get(&text("not { json"), None).unwrap(), "not { json");
        assert_eq!(get(&text(""), None).unwrap(), "");
    }

    #[test]
    fn a_text_that_is_an_object_has_members() {
        let values =
            text(r#"{"user": "a\"b\u00e9", "port": 5432, "deep": { "x" : [1, "two words", null] }, "none": null}"#);
        assert_eq!(get(&values, Some("user")).unwrap(), "a\"bé");
        assert_eq!(get(&values, Some("port")).unwrap(), "5432");
        assert_eq!(get(&values, Some("deep")).unwrap(), r#"{"x":[1,"two words",null]}"#);
        assert_eq!(get(&values, Some("none")).unwrap(), "null");
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let members = Values::Members([("a".to_owned(), Value::new(b"canary".into()))].into());
        for values in [text(r#"{"a":"canary"}"#), members] {
            let error = get(&values, Some("Password")).unwrap_err();
            assert_eq!(error.kind, TroubleKind::NotFound);
            assert!(error.message.contains("\"Password\""), "{error}");
            assert!(!error.message.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_text_that_is_no_object_has_no_keys() {
        for other in [
            "canary",
            "\"canary\"",
            "[\"canary\"]",
            r#"{"a":"canary""#,
            r#"{"a":"canary","a":"x"}"#,
            "{\"a\":\"canary\"} x",
        ] {
            let error = get(&text(other), Some("a")).unwrap_err();
            assert_eq!(error.kind, TroubleKind::Unusable, "{other}");
            assert!(error.message.contains("\"a\"") && !error.message.contains("canary"), "{error}");
        }
    }

    #[test]
    fn members_are_no_single_text() {
        let members = Values::Members([("a".to_owned(), Value::new(b"x".into()))].into());
        assert_eq!(get(&members, Some("a")).unwrap(), "x");
        let error = get(&members, None).unwrap_err();
        assert_eq!(error.kind, TroubleKind::NotFound);
        assert!(error.message.contains("say which"), "{error}");
    }
}
