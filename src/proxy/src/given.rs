//! The arguments of a call as rules see them: read when a rule first asks, and within bounds.
//!
//! Does not know what rules ask. What audit lines show is another matter ([`crate::arguments`]).

use std::cell::{Cell, OnceCell};
use std::fmt;

use cardea_policy::Arguments;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Most values that are read. A number of two bytes takes fifty in memory.
const MAX_VALUES: usize = 20_000;

/// Those of a message that was read strictly before, so there is one way to read it.
pub(crate) struct Given<'b> {
    body: &'b [u8],
    read: OnceCell<Option<Value>>,
}

impl<'b> Given<'b> {
    /// Of a message with this body; none if it was too long to be kept.
    pub(crate) fn new(body: Option<&'b [u8]>) -> Self {
        let read = OnceCell::new();
        if body.is_none() {
            let _ = read.set(None);
        }
        Self { body: body.unwrap_or_default(), read }
    }
}

impl Arguments for Given<'_> {
    fn value(&self) -> Option<&Value> {
        self.read.get_or_init(|| read(self.body)).as_ref()
    }
}

/// The arguments in a message, as they stand there; none if it has none.
///
/// # Errors
/// When it is no message.
pub(crate) fn arguments(body: &[u8]) -> serde_json::Result<Option<&RawValue>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        params: Option<Params<'a>>,
    }
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        arguments: Option<&'a RawValue>,
    }
    let message: Message<'_> = serde_json::from_slice(body)?;
    Ok(message.params.and_then(|params| params.arguments))
}

/// None of more values than are read.
fn read(body: &[u8]) -> Option<Value> {
    let given = if body.is_empty() { None } else { arguments(body).ok()? };
    let Some(given) = given else { return Some(Value::Object(Map::new())) };
    let left = Cell::new(MAX_VALUES);
    Counted(&left).deserialize(&mut serde_json::Deserializer::from_str(given.get())).ok()
}

/// A value, as long as some are left.
#[derive(Clone, Copy)]
struct Counted<'c>(&'c Cell<usize>);

impl Counted<'_> {
    fn one<T, E: Error>(self, value: impl Into<T>) -> Result<T, E> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| E::custom("more values than are read"))?;
        self.0.set(left);
        Ok(value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.one(text)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.one(value)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        self.one(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        self.one(number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        self.one(number)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.one(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            all.push(element);
        }
        self.one(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            all.insert(name, members.next_value_seed(self)?);
        }
        self.one(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(arguments: &Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": arguments}});
        Given::new(Some(body.to_string().as_bytes())).value().cloned()
    }

    #[test]
    fn what_is_given_is_what_rules_see() {
        for arguments in [json!({"a": [1, -2, 1.5, true, null, "x", {"b": {}}]}), json!({}), json!([1]), json!("x")] {
            assert_eq!(given(&arguments), Some(arguments));
        }
        let without = [&b""[..], br#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, br#"{"params":{"name":"a"}}"#];
        for body in without {
            assert_eq!(Given::new(Some(body)).value(), Some(&json!({})));
        }
        assert_eq!(Given::new(None).value(), None);
    }

    #[test]
    fn e27_of_more_values_than_are_read_none_is_known() {
        assert!(given(&json!(vec![0; MAX_VALUES - 1])).is_some());
        assert_eq!(given(&json!(vec![0; MAX_VALUES])), None);
        assert_eq!(given(&json!(vec![json!([]); MAX_VALUES])), None);
        assert!(given(&json!({"a": "x".repeat(1 << 20)})).is_some());
    }
}
