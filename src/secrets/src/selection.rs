//! What of a secret's values is asked for by a key.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::value::{Value, Values};

/// Largest value that is delivered, in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// Why a value cannot be had. Names the key, and nothing of the values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is no such member.
    #[error("the secret has no key {0}: add it in the store, or name another one")]
    NoKey(String),
    /// A member of something that has none.
    #[error("key {0} is asked for, but the secret is one text and no JSON object: leave `key` out, or store an object")]
    NoObject(String),
    /// All of something that is no text.
    #[error("the secret has several keys: say with `key` which one is meant")]
    Several,
    /// Too large.
    #[error("the value of {0} is larger than 1 MiB: keep it elsewhere, or in parts")]
    TooLarge(String),
}

impl Values {
    /// The value of this key; without one, all of a secret that is one text. Of a member of a JSON object that is no
    /// string its JSON is the value.
    ///
    /// # Errors
    /// When there is no such value, or it is too large.
    pub fn select(&self, key: Option<&str>) -> Result<Value, Unfit> {
        let value = match (self, key) {
            (Self::Text(text), None) => text.clone(),
            (Self::Members(_), None) => return Err(Unfit::Several),
            (Self::Text(text), Some(key)) => member(text.expose(), key)?,
            (Self::Members(members), Some(key)) => {
                members.get(key).cloned().ok_or_else(|| Unfit::NoKey(key.to_owned()))?
            }
        };
        if value.expose().len() > MAX_VALUE {
            return Err(Unfit::TooLarge(key.unwrap_or("the secret").to_owned()));
        }
        Ok(value)
    }
}

fn member(text: &[u8], key: &str) -> Result<Value, Unfit> {
    // What is not asked for is not copied.
    let members: BTreeMap<String, &RawValue> =
        serde_json::from_slice(text).map_err(|_| Unfit::NoObject(key.to_owned()))?;
    let raw = members.get(key).ok_or_else(|| Unfit::NoKey(key.to_owned()))?.get();
    let value = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    Ok(Value::new(Zeroizing::new(value).as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Values {
        Values::Text(Value::new(text.as_bytes().to_vec()))
    }

    fn members() -> Values {
        Values::Members([("token".to_owned(), Value::new(b"value".to_vec()))].into())
    }

    fn selected(values: &Values, key: Option<&str>) -> Result<String, Unfit> {
        values.select(key).map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_value_is_found_by_its_key() {
        let object = text(r#"{"token": "a\nb", "port": 5432, "more": {"x": [1]}}"#);
        for (values, key, expected) in [
            (&members(), Some("token"), "value"),
            (&text("all of it"), None, "all of it"),
            (&object, None, r#"{"token": "a\nb", "port": 5432, "more": {"x": [1]}}"#),
            (&object, Some("token"), "a\nb"),
            (&object, Some("port"), "5432"),
            (&object, Some("more"), r#"{"x": [1]}"#),
        ] {
            assert_eq!(selected(values, key).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let named = |key: &str| key.to_owned();
        assert_eq!(selected(&members(), Some("other")), Err(Unfit::NoKey(named("other"))));
        assert_eq!(selected(&text("{}"), Some("token")), Err(Unfit::NoKey(named("token"))));
        assert_eq!(selected(&text("hunter2"), Some("token")), Err(Unfit::NoObject(named("token"))));
        assert_eq!(selected(&members(), None), Err(Unfit::Several));
        let large = Values::Text(Value::new(vec![b'x'; MAX_VALUE + 1]));
        assert_eq!(large.select(None).err(), Some(Unfit::TooLarge("the secret".to_owned())));
        assert!(Values::Text(Value::new(vec![b'x'; MAX_VALUE])).select(None).is_ok());
    }
}
