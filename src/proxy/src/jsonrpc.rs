//! The strict reader: what a JSON-RPC message asks, from one pass over exactly the bytes that go upstream. Whatever two
//! parsers could read in two ways is refused: duplicate names at any depth, names that fold to reserved ones, trailing
//! bytes, batches, depth (row 70, CVE-2026-27896).
//!
//! Does not know what a method means ([`crate::mcp`]), and keeps nothing of the arguments.

mod strict;

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

pub(crate) use self::strict::{Member, Name};
use self::strict::{Names, Skip, Text};
pub(crate) use crate::reply::Id;

/// Members of a message. There are no others: an extension lives in `params` and `_meta`.
const TOP: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// Members of `params` that a decision may rest on, here or in the server.
const PARAMS: [&str; 11] = [
    "name",
    "arguments",
    "uri",
    "taskId",
    "_meta",
    "cursor",
    "notifications",
    "task",
    "ref",
    "requestState",
    "inputResponses",
];
/// The member of `_meta` that names the revision since 2026-07-28.
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The member of `_meta` that says what the client can do.
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Members of `_meta` that a decision may rest on.
const META: [&str; 4] =
    [META_VERSION, META_CAPABILITIES, "io.modelcontextprotocol/clientInfo", "io.modelcontextprotocol/logLevel"];
/// What `subscriptions/listen` may name: notifications that say no more than "a list has changed", and URIs.
const LISTENS: [&str; 4] = ["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"];
/// Members of a reference.
const REFERENCE: [&str; 3] = ["type", "name", "uri"];

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) params: Params,
}

/// What kind of message it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request {
        id: Id,
        method: String,
    },
    Notification {
        method: String,
    },
    /// An answer to a request of the server's.
    Answer,
}

/// What of `params` decides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Params {
    pub(crate) name: Member,
    pub(crate) uri: Member,
    pub(crate) task_id: Member,
    /// Revision in `_meta`.
    pub(crate) version: Member,
    /// The client's capabilities in `_meta`.
    pub(crate) capabilities: Member,
    /// What is to be completed.
    pub(crate) reference: Reference,
    /// What `subscriptions/listen` asks to hear of.
    pub(crate) listens: Listens,
}

/// `ref` of `completion/complete`: a prompt's `name` or a template's `uri`, by `type`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) kind: Member,
    pub(crate) name: Member,
    pub(crate) uri: Member,
}

/// `notifications` of `subscriptions/listen`, beside changes of lists.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listens {
    /// `resourceSubscriptions`.
    pub(crate) resources: Vec<String>,
    /// Whether there is anything else.
    pub(crate) further: bool,
}

/// Why a body is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No JSON: -32700.
    Syntax,
    /// JSON, but not one JSON-RPC message that can be read in one way only: -32600.
    Invalid,
}

/// Reads one message.
pub(crate) fn read(body: &[u8]) -> Result<Message, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::Syntax)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let top = deserializer.deserialize_map(Top).and_then(|top| deserializer.end().map(|()| top)).map_err(|error| {
        // What the visitors below refuse is of category Data.
        if error.is_data() { Malformed::Invalid } else { Malformed::Syntax }
    })?;
    top.message().ok_or(Malformed::Invalid)
}

/// The members of a message as they stand there.
#[derive(Default)]
struct TopMembers {
    version: bool,
    id: Option<Id>,
    method: Option<String>,
    params: Option<Params>,
    result: bool,
    error: bool,
}

impl TopMembers {
    fn message(self) -> Option<Message> {
        let answers = self.result || self.error;
        let kind = match (self.version, self.method, self.id) {
            (true, Some(method), Some(id)) if !answers => Kind::Request { id, method },
            (true, Some(method), None) if !answers => Kind::Notification { method },
            (true, None, Some(_)) if self.result != self.error && self.params.is_none() => Kind::Answer,
            _ => return None,
        };
        Some(Message { kind, params: self.params.unwrap_or_default() })
    }
}

struct Top;

impl<'de> Visitor<'de> for Top {
    type Value = TopMembers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("one message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TopMembers, A::Error> {
        let mut names = Names::new(&TOP);
        let mut top = TopMembers::default();
        while let Some(name) = names.next(&mut map)? {
            match name.as_ref() {
                "jsonrpc" => top.version = map.next_value::<Cow<'_, str>>()? == "2.0",
                "id" => top.id = Some(map.next_value_seed(IdSeed)?),
                "method" => top.method = Some(map.next_value()?),
                "params" => top.params = Some(map.next_value_seed(ParamsSeed)?),
                "result" => {
                    map.next_value_seed(Skip { depth: 1 })?;
                    top.result = true;
                }
                "error" => {
                    map.next_value_seed(Skip { depth: 1 })?;
                    top.error = true;
                }
                _ => return Err(A::Error::custom("a member that no message has")),
            }
        }
        Ok(top)
    }
}

/// A string or an integer, never null (row 30).
struct IdSeed;

impl<'de> DeserializeSeed<'de> for IdSeed {
    type Value = Id;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Id, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for IdSeed {
    type Value = Id;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or an integer")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Id, E> {
        Ok(Id::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Id, E> {
        Ok(Id::Number(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Id, E> {
        i64::try_from(number).map(Id::Number).map_err(|_| E::custom("an integer that is too large"))
    }
}

struct ParamsSeed;

impl<'de> DeserializeSeed<'de> for ParamsSeed {
    type Value = Params;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Params, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed {
    type Value = Params;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
        let mut names = Names::new(&PARAMS);
        let mut params = Params::default();
        while let Some(name) = names.next(&mut map)? {
            match name.as_ref() {
                "name" => params.name = map.next_value_seed(Text { depth: 2 })?,
                "uri" => params.uri = map.next_value_seed(Text { depth: 2 })?,
                "taskId" => params.task_id = map.next_value_seed(Text { depth: 2 })?,
                "_meta" => (params.version, params.capabilities) = map.next_value_seed(Meta)?,
                "notifications" => params.listens = map.next_value_seed(ListensSeed)?,
                "ref" => params.reference = map.next_value_seed(ReferenceSeed)?,
                _ => map.next_value_seed(Skip { depth: 2 })?,
            }
        }
        Ok(params)
    }
}

/// The revision and the capabilities in `_meta`.
struct Meta;

impl<'de> DeserializeSeed<'de> for Meta {
    type Value = (Member, Member);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Meta {
    type Value = (Member, Member);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Names::new(&META);
        let (mut version, mut capabilities) = Default::default();
        while let Some(name) = names.next(&mut map)? {
            match name.as_ref() {
                META_VERSION => version = map.next_value_seed(Text { depth: 3 })?,
                META_CAPABILITIES => capabilities = map.next_value_seed(Text { depth: 3 })?,
                _ => map.next_value_seed(Skip { depth: 3 })?,
            }
        }
        Ok((version, capabilities))
    }
}

struct ListensSeed;

impl<'de> DeserializeSeed<'de> for ListensSeed {
    type Value = Listens;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Listens, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ListensSeed {
    type Value = Listens;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listens, A::Error> {
        let mut names = Names::new(&LISTENS);
        let mut listens = Listens::default();
        while let Some(name) = names.next(&mut map)? {
            match name.as_ref() {
                "resourceSubscriptions" => {
                    listens.resources = map.next_value::<Option<Vec<String>>>()?.unwrap_or_default();
                }
                name if LISTENS.contains(&name) => {
                    map.next_value::<Option<bool>>()?;
                }
                _ => {
                    listens.further = true;
                    map.next_value_seed(Skip { depth: 3 })?;
                }
            }
        }
        Ok(listens)
    }
}

struct ReferenceSeed;

impl<'de> DeserializeSeed<'de> for ReferenceSeed {
    type Value = Reference;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Reference, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReferenceSeed {
    type Value = Reference;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reference, A::Error> {
        let mut names = Names::new(&REFERENCE);
        let mut reference = Reference::default();
        while let Some(name) = names.next(&mut map)? {
            match name.as_ref() {
                "type" => reference.kind = map.next_value_seed(Text { depth: 3 })?,
                "name" => reference.name = map.next_value_seed(Text { depth: 3 })?,
                "uri" => reference.uri = map.next_value_seed(Text { depth: 3 })?,
                _ => map.next_value_seed(Skip { depth: 3 })?,
            }
        }
        Ok(reference)
    }
}

#[cfg(test)]
mod tests;
