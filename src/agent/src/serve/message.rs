//! One JSON-RPC message as text: what kind it is, and the same text with an id or a token replaced. Everything else stays
//! byte for byte, but for white space outside of strings (row 61).
//!
//! Does not know what methods mean, nor who sends.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A message, borrowed from its text. Parts of it (`id`, `params` and so on) are slices of that text.
pub(crate) struct Message<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind<'a>,
}

/// What kind of message it is.
pub(crate) enum Kind<'a> {
    /// Wants an answer.
    Request { id: &'a str, method: Cow<'a, str>, params: Option<&'a str> },
    /// Wants none.
    Notification { method: Cow<'a, str>, params: Option<&'a str> },
    /// An answer.
    Response { id: &'a str, outcome: Result<&'a str, &'a str> },
}

/// Why a text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No JSON.
    Syntax,
    /// JSON, but not one JSON-RPC message.
    Invalid,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// `null` is a value, not an absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Reads one message.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let text = str::from_utf8(bytes).map_err(|_| Malformed::Syntax)?;
        let envelope: Envelope<'a> = serde_json::from_str(text)
            .map_err(|error| if error.is_data() { Malformed::Invalid } else { Malformed::Syntax })?;
        let (id, params) = (envelope.id.map(RawValue::get), envelope.params.map(RawValue::get));
        let outcome = (envelope.result.map(RawValue::get), envelope.error.map(RawValue::get));
        let kind = match (envelope.method, id, outcome) {
            (Some(method), Some(id), (None, None)) if is_id(id) => Kind::Request { id, method, params },
            (Some(method), None, (None, None)) => Kind::Notification { method, params },
            (None, Some(id), (Some(result), None)) if is_id(id) => Kind::Response { id, outcome: Ok(result) },
            (None, Some(id), (None, Some(error))) if is_id(id) => Kind::Response { id, outcome: Err(error) },
            _ => return Err(Malformed::Invalid),
        };
        if envelope.jsonrpc != "2.0" {
            return Err(Malformed::Invalid);
        }
        Ok(Self { text, kind })
    }

    /// The text with each of `edits` (a slice of the text and what replaces it) made, in one line.
    pub(crate) fn rewritten(&self, edits: &[(&str, &str)]) -> Vec<u8> {
        let mut places: Vec<_> =
            edits.iter().map(|(part, with)| (offset(self.text, part), part.len(), *with)).collect();
        places.sort_unstable_by_key(|(start, ..)| *start);
        let mut bytes =
            Vec::with_capacity(self.text.len() + edits.iter().map(|(_, with)| with.len()).sum::<usize>() + 1);
        let mut from = 0;
        for (start, length, with) in places {
            bytes.extend_from_slice(self.text.as_bytes().get(from..start).unwrap_or_default());
            bytes.extend_from_slice(with.as_bytes());
            from = start + length;
        }
        bytes.extend_from_slice(self.text.as_bytes().get(from..).unwrap_or_default());
        compact(&mut bytes);
        bytes
    }
}

/// A string or a number.
fn is_id(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// An id in the one spelling that others are compared with.
pub(crate) fn normal(id: &str) -> Cow<'_, str> {
    if !id.contains('\\') {
        return Cow::Borrowed(id);
    }
    let text: Option<String> = serde_json::from_str(id).ok();
    text.and_then(|text| serde_json::to_string(&text).ok()).map_or(Cow::Borrowed(id), Cow::Owned)
}

/// Where a slice of `text` begins in it.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// Takes out white space that stands between the tokens of JSON.
fn compact(json: &mut Vec<u8>) {
    if memchr::memchr3(b' ', b'\n', b'\r', json).is_none() && memchr::memchr(b'\t', json).is_none() {
        return;
    }
    let (mut quoted, mut escaped) = (false, false);
    json.retain(|byte| {
        if quoted {
            if escaped {
                escaped = false;
            } else if *byte == b'\\' {
                escaped = true;
            } else if *byte == b'"' {
                quoted = false;
            }
            return true;
        }
        quoted = *byte == b'"';
        !matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
    });
}

/// The value at a path of member names, as a slice of `json`. None: there is none, or more than one.
pub(crate) fn member<'a>(json: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(json, |json, name| {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        deserializer.deserialize_map(Only(name)).ok().flatten()
    })
}

/// The string at a path of member names.
pub(crate) fn text_at(json: &str, path: &[&str]) -> Option<String> {
    serde_json::from_str(member(json, path)?).ok()
}

/// The one member of this name.
struct Only<'n>(&'n str);

impl<'de> Visitor<'de> for Only<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut count) = (None, 0);
        while let Some(is_it) = map.next_key_seed(Is(self.0))? {
            if is_it {
                found = Some(map.next_value::<&RawValue>()?.get());
                count += 1;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found.filter(|_| count == 1))
    }
}

/// Whether a name is this one.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// JSON-RPC's and MCP's codes of errors.
pub(crate) mod code {
    /// No JSON.
    pub(crate) const PARSE: i32 = -32700;
    /// JSON, but no request.
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    /// Nobody's fault but the server's.
    pub(crate) const INTERNAL: i32 = -32603;
    /// Codes that only 2026-07-28 knows, each a fault of the request.
    pub(crate) const MODERN: std::ops::RangeInclusive<i32> = -32022..=-32020;
}

/// A message that carries an error, to `id` as it was written.
pub(crate) fn error(id: &str, code: i32, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: i32,
        message: &'a str,
    }
    let error = serde_json::to_string(&Error { code, message }).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#).into_bytes()
}

/// A message that carries a result, both as they are written.
pub(crate) fn result(id: &str, result: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into_bytes()
}

/// A request of the bridge's own; `params` as they are written.
pub(crate) fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":0,"method":"{method}","params":{params}}}"#)
}

/// A notification without parameters, or with these as they are written.
pub(crate) fn notification(method: &str, params: Option<&str>) -> Vec<u8> {
    let params = params.map(|params| format!(r#","params":{params}"#)).unwrap_or_default();
    format!(r#"{{"jsonrpc":"2.0","method":"{method}"{params}}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> &'static str {
        match Message::read(text.as_bytes()).map(|message| message.kind) {
            Ok(Kind::Request { .. }) => "request",
            Ok(Kind::Notification { .. }) => "notification",
            Ok(Kind::Response { .. }) => "response",
            Err(Malformed::Syntax) => "syntax",
            Err(Malformed::Invalid) => "invalid",
        }
    }

    #[test]
    fn what_kind_of_message_it_is() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request"),
            (r#"{"jsonrpc":"2.0","id":"a","method":"ping","params":{}}"#, "request"),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification"),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "response"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#, "response"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, "invalid"),
            (r#"{"jsonrpc":"2.0","id":1,"result":1,"error":2}"#, "invalid"),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "invalid"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "invalid"),
            (r#"{"id":1,"method":"ping"}"#, "invalid"),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "invalid"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#, "syntax"),
            ("listening on port 8080", "syntax"),
            ("", "syntax"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        assert!(matches!(Message::read(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"), Err(Malformed::Syntax)));
    }

    #[test]
    fn only_what_is_edited_changes_and_all_stands_in_one_line() {
        let text = "{\r\n \"jsonrpc\": \"2.0\",\t\"id\": 7, \"method\": \"a b\", \"params\": {\"n\": 1.50e+3, \"t\": \" \\\" x\\\\\", \
                    \"_meta\": {\"progressToken\": \"p q\"}}}";
        let message = Message::read(text.as_bytes()).unwrap();
        let Kind::Request { id, params: Some(params), .. } = message.kind else { panic!("a request") };
        let token = member(params, &["_meta", "progressToken"]).unwrap();
        assert_eq!(token, "\"p q\"");
        let line = message.rewritten(&[(token, "12"), (id, "345")]);
        let expected = r#"{"jsonrpc":"2.0","id":345,"method":"a b","params":{"n":1.50e+3,"t":" \" x\\","_meta":{"progressToken":12}}}"#;
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn a_member_is_found_by_its_name_however_it_is_written_and_only_if_there_is_one() {
        assert_eq!(member(r#"{"b":1,"\u0061":{"c":[2]}}"#, &["a", "c"]), Some("[2]"));
        for json in [r#"{"a":1,"a":2}"#, r#"{"A":1}"#, "[]", "1", ""] {
            assert_eq!(member(json, &["a"]), None, "{json}");
        }
        assert_eq!(normal(r#""\u0061""#), "\"a\"");
        assert_eq!(normal("1"), "1");
    }
}
