//! The arguments of a call as they may be shown: secrets cut out, and of bounded size whatever was sent.
//!
//! Does not know what counts as a secret ([`Redaction`]), nor where it is shown.

use std::borrow::Cow;
use std::fmt;

use cardea_policy::Redaction;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::given;

/// Longest string that is shown whole, in bytes.
const MAX_TEXT: usize = 1024;
/// All that is shown of one call's arguments, in bytes, a few for each value included.
const MAX_ALL: usize = 8 << 10;
/// What a value takes beside its text.
const EACH: usize = 8;

/// What may be shown.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Arguments {
    pub(crate) shown: Value,
    /// Whether something was left out for its size.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) truncated: bool,
}

/// Those of a message, if it has any. The message was read strictly before, so there is one way to read it.
pub(crate) fn of_message(body: &[u8], redaction: &Redaction) -> Option<Arguments> {
    Some(shown(given::arguments(body).ok()??.get(), redaction))
}

fn shown(json: &str, redaction: &Redaction) -> Arguments {
    let mut walk = Walk { redaction, place: Vec::new(), left: MAX_ALL, truncated: false };
    let value = walk.deserialize(&mut serde_json::Deserializer::from_str(json));
    // Nothing rather than something that was not understood.
    Arguments { shown: value.unwrap_or_else(|_| Value::from(Redaction::cut())), truncated: walk.truncated }
}

/// On the way down.
struct Walk<'w> {
    redaction: &'w Redaction,
    place: Vec<Cow<'static, str>>,
    left: usize,
    truncated: bool,
}

impl Walk<'_> {
    fn text(&mut self, text: &str) -> String {
        let text = self.redaction.text(text);
        let end = text.floor_char_boundary(MAX_TEXT.min(self.left));
        self.left -= end;
        let mut kept = text.get(..end).unwrap_or_default().to_owned();
        if end < text.len() {
            self.truncated = true;
            kept.push_str("[truncated]");
        }
        kept
    }

    /// Whether there is room for one more value.
    fn begin(&mut self) -> bool {
        let room = self.left >= EACH;
        self.left = self.left.saturating_sub(EACH);
        self.truncated |= !room;
        room
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.redaction.hides(&self.place) {
            deserializer.deserialize_ignored_any(IgnoredAny)?;
            return Ok(Redaction::cut().into());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(self.text(text).into())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while self.begin() {
            self.place.push(kept.len().to_string().into());
            let element = elements.next_element_seed(&mut *self)?;
            self.place.pop();
            match element {
                Some(element) => kept.push(element),
                None => return Ok(kept.into()),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while self.begin() {
            let Some(name) = members.next_key::<Cow<'de, str>>()? else { return Ok(kept.into()) };
            let shown = self.text(&name);
            self.place.push(name.into_owned().into());
            let value = members.next_value_seed(&mut *self)?;
            self.place.pop();
            kept.insert(shown, value);
        }
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(kept.into())
    }
}

#[cfg(test)]
mod tests {
    use cardea_contract::Redact;
    use serde_json::json;

    use super::*;

    fn of(arguments: &Value) -> Arguments {
        let redact = Redact { paths: vec!["/users/*/home".into()], ..Redact::default() };
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": arguments}});
        of_message(body.to_string().as_bytes(), &Redaction::compile(&redact).unwrap()).unwrap()
    }

    #[test]
    fn secrets_are_cut_out_by_name_place_and_shape_and_the_rest_stays() {
        let shown = of(&json!({
            "env": "production", "count": 3, "ratio": 0.5, "dry": true, "none": null,
            "apiKey": {"inner": "x"}, "users": [{"home": "street", "name": "a"}],
            "note": "with ghp_0123456789abcdef inside", "ghp_0123456789abcdef": 1
        }));
        assert_eq!(
            shown,
            Arguments {
                shown: json!({
                    "env": "production", "count": 3, "ratio": 0.5, "dry": true, "none": null,
                    "apiKey": "[redacted]", "users": [{"home": "[redacted]", "name": "a"}],
                    "note": "with [redacted] inside", "[redacted]": 1
                }),
                truncated: false
            }
        );
    }

    #[test]
    fn whatever_is_sent_what_is_shown_has_a_bound() {
        let mut deep = json!("x");
        for _ in 0..60 {
            deep = json!([deep, {"a": "y".repeat(100)}]);
        }
        for arguments in [
            json!({"a": "x".repeat(1 << 20)}),
            json!(vec![0; 100_000]),
            json!(vec![json!({}); 100_000]),
            Value::Object((0..50_000).map(|number| (number.to_string(), json!("x"))).collect()),
            Value::Object((0..100).map(|number| (format!("{number}{}", "k".repeat(2000)), json!(1))).collect()),
            deep,
        ] {
            let shown = of(&arguments);
            let text = serde_json::to_string(&shown.shown).unwrap();
            assert!(shown.truncated && text.len() < 2 * MAX_ALL, "{}", text.len());
        }
    }
}
