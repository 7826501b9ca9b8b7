//! The members of a JSON object as values: strings as they are, anything else as JSON without white space, spelled as it
//! stands. What they are read from is borrowed, so that no copies are left but those that are wiped.
//!
//! Does not know where the object comes from.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::value::Value;

/// Why a text has no members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoMembers {
    /// Not JSON, or no object.
    #[error("it is no JSON object")]
    NoObject,
    /// Two readers could read two things.
    #[error("it is a JSON object that names a member twice")]
    Twice,
}

/// The members of an object.
pub(crate) fn parse(text: &[u8]) -> Result<BTreeMap<String, Value>, NoMembers> {
    let members: Members<'_> = serde_json::from_slice(text).map_err(|_| NoMembers::NoObject)?;
    members.values()
}

/// An object as it stands in a larger document.
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl Members<'_> {
    pub(crate) fn values(self) -> Result<BTreeMap<String, Value>, NoMembers> {
        let mut values = BTreeMap::new();
        for (name, raw) in self.0 {
            if values.insert(name, value(raw)?).is_some() {
                return Err(NoMembers::Twice);
            }
        }
        Ok(values)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

/// Most members of one secret.
const MAX_MEMBERS: usize = 1024;

/// One value as it stands in a larger document.
pub(crate) fn value(raw: &RawValue) -> Result<Value, NoMembers> {
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).map_err(|_| NoMembers::NoObject)?;
        return Ok(Value::new(text.into_bytes()));
    }
    Ok(Value::new(compact(raw.get())))
}

/// JSON without the white space between its parts.
fn compact(json: &str) -> Vec<u8> {
    let mut compact = Vec::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for &byte in json.as_bytes() {
        if in_text {
            (in_text, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else {
            if byte.is_ascii_whitespace() {
                continue;
            }
            in_text = byte == b'"';
        }
        compact.push(byte);
    }
    compact
}
