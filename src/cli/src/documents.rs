//! From YAML to documents, each with the place in the text at which every one of its fields stands.
//!
//! Does not know what a document is about.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::{Location, Spanned};

/// Largest file. An object in a cluster is no larger.
const MAX_BYTES: u64 = 3 << 20;

/// Reads a file of at most [`MAX_BYTES`]; `-` is the standard input.
///
/// # Errors
/// When it cannot be read or is too large.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    ensure!(text.len() as u64 <= MAX_BYTES, "{} is larger than {MAX_BYTES} bytes", path.display());
    Ok(text)
}

/// A file, or those of a folder and the folders in it that are named like YAML, by name.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn files(place: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let unreadable = || format!("{} cannot be read", place.display());
    let entries = std::fs::read_dir(place).and_then(Iterator::collect::<Result<Vec<_>, _>>).with_context(unreadable)?;
    let mut files = Vec::new();
    for entry in entries {
        let (path, hidden) = (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b"."));
        // A link to a folder could lead back.
        if entry.file_type().with_context(unreadable)?.is_dir() {
            files.extend(if hidden { Vec::new() } else { self::files(&path)? });
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A place in a text, both numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Place {
    /// Where a text begins.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    fn of(location: Location) -> Self {
        Self { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// One document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// By the path of the field, as in `spec.access.rules[0].tools`; that of the whole is empty.
    places: HashMap<String, Place>,
}

impl Document {
    /// Where the field of this path stands, or what it is missing in.
    pub(crate) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            match (self.places.get(path), path.rfind(['.', '['])) {
                (Some(place), _) => return *place,
                (None, Some(end)) => path = path.get(..end).unwrap_or_default(),
                (None, None) if path.is_empty() => return Place::START,
                (None, None) => path = "",
            }
        }
    }
}

/// What an API server gave has no places.
impl From<Value> for Document {
    fn from(value: Value) -> Self {
        Self { value, places: HashMap::new() }
    }
}

/// Text that is no YAML.
#[derive(Debug, thiserror::Error)]
#[error("not YAML: line {}, column {}: {problem}", place.line, place.column)]
pub(crate) struct NotYaml {
    /// Where.
    pub(crate) place: Place,
    /// What is wrong there.
    pub(crate) problem: String,
}

/// Every document of a text that is not empty.
///
/// # Errors
/// When it is not YAML, a member stands twice, or it grows beyond measure when read.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, NotYaml> {
    let options = serde_saphyr::options! { with_snippet: false };
    let read: Vec<Spanned<Node>> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        NotYaml { place: error.location().map_or(Place::START, Place::of), problem: sentence(&error.to_string()) }
    })?;
    Ok(read.into_iter().map(document).collect())
}

/// The problem without the place, which stands beside it.
fn sentence(error: &str) -> String {
    let first = error.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or_default().to_owned()
}

fn document(root: Spanned<Node>) -> Document {
    let mut places = HashMap::from([(String::new(), Place::of(root.referenced))]);
    let value = root.value.value(&mut String::new(), &mut places);
    Document { value, places }
}

/// A value of which every part knows where it stands.
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Object(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    /// The value alone. Puts down where each of its fields stands, members at their names.
    fn value(self, path: &mut String, places: &mut HashMap<String, Place>) -> Value {
        let dot = if path.is_empty() { "" } else { "." };
        let mut within = |step: String, place: Location, node: Self| {
            let length = path.len();
            path.push_str(&step);
            places.insert(path.clone(), Place::of(place));
            let value = node.value(path, places);
            path.truncate(length);
            value
        };
        match self {
            Self::Scalar(value) => value,
            Self::List(elements) => {
                let elements = elements.into_iter().enumerate();
                elements.map(|(at, node)| within(format!("[{at}]"), node.referenced, node.value)).collect()
            }
            Self::Object(members) => {
                let members = members.into_iter().map(|(name, node)| {
                    let value = within(format!("{dot}{}", name.value), name.referenced, node.value);
                    (name.value, value)
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value that JSON has too")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that JSON has not"))?;
        Ok(Node::Scalar(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            all.push(element);
        }
        Ok(Node::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Node::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str =
        "# first\na: &one [x, {b: 1}]\n\"c\":\n  d: 1.5\n  e: |\n    long\n---\n---\n- f: ~\n- *nothing\n";

    #[test]
    fn every_field_knows_where_it_stands() {
        let text = TEXT.replace("- *nothing", "- true");
        let documents = read(&text).unwrap();
        let [first, second] = &documents[..] else { panic!("{documents:?}") };
        assert_eq!(first.value, json!({"a": ["x", {"b": 1}], "c": {"d": 1.5, "e": "long\n"}}));
        assert_eq!(second.value, json!([{"f": null}, true]));
        for (document, path, line, column) in [
            (first, "", 2, 1),
            (first, "a", 2, 1),
            (first, "a[0]", 2, 10),
            (first, "a[1].b", 2, 14),
            (first, "c", 3, 1),
            (first, "c.e", 5, 3),
            (first, "c.x.y[3]", 3, 1),
            (first, "nowhere", 2, 1),
            (second, "[0].f", 9, 3),
            (second, "[1]", 10, 3),
        ] {
            assert_eq!(document.place(path), Place { line, column }, "{path}");
        }
    }

    #[test]
    fn what_an_alias_brings_stands_where_it_is_used() {
        let documents = read("a: &it\n  b: 1\nc: *it\nd:\n  <<: *it\n  e: 2\n").unwrap();
        assert_eq!(documents[0].value, json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}));
        assert_eq!(documents[0].place("c.b").line, 3);
        assert_eq!(documents[0].place("d.b").line, 5);
        assert_eq!(documents[0].place("d.e").line, 6);
    }

    #[test]
    fn what_is_no_yaml_is_said_with_its_place() {
        for (text, line) in [("a: 1\nb: [\n", 2), ("a: 1\na: 2\n", 2), ("a: 1\n  b: 2\n", 2), (TEXT, 10)] {
            let error = read(text).unwrap_err();
            assert_eq!(error.place.line, line, "{error}");
            assert!(!error.problem.is_empty() && !error.problem.contains("line"), "{error}");
        }
    }
}
