//! What a tool is: its definition as the server lists it, in a form that two looks can be compared by, and what is
//! suspicious in it (E24).
//!
//! Does not know how a list was come by, nor whether a tool is one that somebody has approved.

mod canonical;
mod mirrors;
mod schema;
mod warnings;

use std::fmt::{self, Write as _};

use cardea_contract::ToolFlag;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use self::canonical::Canonical;
pub use self::mirrors::Mirror;
pub use self::warnings::rule_warnings;

/// Longest definition that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// What of a definition is not part of it: it is neither shown to a model nor about what the tool takes or does.
const META: &str = "_meta";

/// A tool as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolDefinition {
    /// Its name, as it stands there.
    pub name: String,
    /// `sha256:` and the lower-case hex SHA-256 of its definition: of the whole object that the server lists, but for the
    /// member `_meta` and nothing else, written as RFC 8785 says, so that neither white space nor the order of members
    /// counts. Beyond that RFC, whole numbers that a floating-point number cannot hold are written out, and members of one
    /// name, which some readers take the first of and some the last, stay in their order.
    pub digest: String,
    /// What is suspicious in what the digest is of, in their order.
    pub flags: Vec<ToolFlag>,
    /// In JSON, if there is one.
    input_schema: Option<Box<str>>,
}

impl ToolDefinition {
    /// Reads an element of `tools/list`, in JSON. None if it has no name or two, or is not JSON, or of more than a definition
    /// ever is: 1 MiB, 20,000 values.
    pub fn read(listed: &str) -> Option<Self> {
        if listed.len() > MAX_BYTES {
            return None;
        }
        let Members(members) = serde_json::from_str(listed).ok()?;
        let form = Canonical::default();
        let counted = members.iter().filter(|(name, _)| name != META);
        let written = counted.map(|(name, value)| {
            form.look(name);
            Some((name.clone(), form.value(value.get())?))
        });
        let digest = digest(&canonical::object(written.collect::<Option<_>>()?));
        let only = |wanted: &str| {
            let mut found = members.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.get());
            found.next().filter(|_| found.next().is_none())
        };
        Some(Self {
            name: serde_json::from_str(only("name")?).ok()?,
            digest,
            flags: form.flags(),
            input_schema: only("inputSchema").map(Into::into),
        })
    }

    /// What it takes, as JSON Schema; null if it does not say, or says it twice.
    pub fn input_schema(&self) -> Value {
        self.input_schema.as_deref().and_then(|schema| serde_json::from_str(schema).ok()).unwrap_or_default()
    }

    /// The arguments that clients send in headers too.
    pub fn mirrors(&self) -> Vec<Mirror> {
        // Few tools have any, and a schema may be long.
        let has_any = self.input_schema.as_deref().is_some_and(|schema| schema.contains(mirrors::MARK));
        if has_any { mirrors::of_schema(&self.input_schema()) } else { Vec::new() }
    }

    /// All tools of a server, one of each name, in the order of names. Several of one name become one that is none of them:
    /// its digest is of all of theirs, and what it takes is not known.
    pub fn together(mut all: Vec<Self>) -> Vec<Self> {
        all.sort_by(|one, other| (&one.name, &one.digest).cmp(&(&other.name, &other.digest)));
        all.chunk_by(|one, other| one.name == other.name).map(Self::of_one_name).collect()
    }

    fn of_one_name(same: &[Self]) -> Self {
        let of_any = |flag: &ToolFlag| same.iter().any(|tool| tool.flags.contains(flag));
        match same {
            [tool] => tool.clone(),
            _ => Self {
                name: same.first().map(|tool| tool.name.clone()).unwrap_or_default(),
                digest: digest(&same.iter().map(|tool| tool.digest.as_str()).collect::<Vec<_>>().join(",")),
                flags: [ToolFlag::InvisibleText, ToolFlag::ControlCharacters]
                    .into_iter()
                    .filter(of_any)
                    .chain([ToolFlag::NameTwice])
                    .collect(),
                input_schema: None,
            },
        }
    }
}

fn digest(text: &str) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

/// The members of an object as they stand there, those of one name too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests;
