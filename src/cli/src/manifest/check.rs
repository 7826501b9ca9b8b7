//! What an API server says of a manifest at apply: no unknown field, types and bounds of the schema, validation rules.

use std::fmt;

use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpSecretStore, McpServer};
use kube::core::cel::Validator;
use serde::Deserialize as _;
use serde_json::Value;

use super::schema::Schema;

/// Something that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Who says so.
    pub(crate) by: By,
    /// The field, as a person writes it: `spec.access.rules[0].tools`. Empty, if it is about the whole.
    pub(crate) path: String,
    /// What is wrong, and what would be right.
    pub(crate) message: String,
}

/// Who says that something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The types and bounds of the schema.
    Schema,
    /// A validation rule.
    Rule,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => formatter.write_str(&self.message),
            path => write!(formatter, "{path}: {}", self.message),
        }
    }
}

/// Everything that its CRD says of a manifest of ours.
pub(crate) fn check(document: &Value) -> Vec<Problem> {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (text("/kind"), text("/apiVersion"));
    if version != "cardea.dev/v1alpha1" {
        return vec![Problem {
            by: By::Schema,
            path: "apiVersion".into(),
            message: format!("{version:?} is not known: write cardea.dev/v1alpha1"),
        }];
    }
    if text("/metadata/name").is_empty() {
        let message = format!("is missing: give the {kind} a name");
        return vec![Problem { by: By::Schema, path: "metadata.name".into(), message }];
    }
    let Some(schema) = Schema::of_kind(kind) else {
        let message = format!("{kind:?} is none of {}", super::KINDS.join(", "));
        return vec![Problem { by: By::Schema, path: "kind".into(), message }];
    };
    let problems = schema.problems(document);
    if !problems.is_empty() {
        return problems;
    }
    match Validator::new().validate_compiled(&schema.rules, document, None) {
        Ok(()) => unreadable(kind, document).into_iter().collect(),
        Err(broken) => broken.as_slice().iter().map(|error| of_rule(&error.field_path, &error.message)).collect(),
    }
}

/// What the schema takes, and the types do not: the end of the year 9999, say.
fn unreadable(kind: &str, document: &Value) -> Option<Problem> {
    let error = match kind {
        "McpAccessPolicy" => McpAccessPolicy::deserialize(document).err(),
        "McpAuthPolicy" => McpAuthPolicy::deserialize(document).err(),
        "McpSecretStore" => McpSecretStore::deserialize(document).err(),
        _ => McpServer::deserialize(document).err(),
    };
    error.map(|error| Problem { by: By::Schema, path: String::new(), message: format!("cannot be read: {error}") })
}

/// A message of a validation rule begins with the field that it is about, seen from the object that keeps the list:
/// `rules[].tools: a glob is ...`. The path leads to the entry, `spec.access.rules[0]`, or to what keeps the list.
fn of_rule(path: &str, message: &str) -> Problem {
    let named = message.find([' ', ':']).and_then(|end| message.get(..end)).unwrap_or_default();
    let rest = message.get(named.len()..).unwrap_or_default();
    let own = |name: &str| !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphabetic());
    let (beyond, message) = match beyond(path, named) {
        Some(beyond) => (beyond, rest.trim_start_matches([':', ' '])),
        None if rest.starts_with(": ") && own(named) => (format!(".{named}"), rest.trim_start_matches([':', ' '])),
        None => (String::new(), message),
    };
    Problem { by: By::Rule, path: format!("{path}{beyond}"), message: message.to_owned() }
}

/// What a name like `rules[].tools` has beyond a path like `spec.access.rules[0]`; nothing, if they do not go together.
fn beyond(path: &str, named: &str) -> Option<String> {
    let mut anonymous = String::new();
    for part in path.split_inclusive(['[', ']']) {
        anonymous.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    let ends = named.match_indices(['.', '[']).map(|(at, _)| at).chain([named.len()]);
    let fits = |head: &str| !head.is_empty() && (anonymous == head || anonymous.ends_with(&format!(".{head}")));
    let splits: Vec<&str> = ends.filter_map(|end| named.get(..end)).filter(|head| fits(head)).collect();
    let longest = splits.iter().max_by_key(|head| head.len())?;
    named.get(longest.len()..).filter(|rest| !rest.contains("[]")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_that_a_message_names_is_found() {
        for (path, named, expected) in [
            ("spec.access.rules[3]", "rules[].tools", Some(".tools")),
            ("spec.rules[3]", "rules[]", Some("")),
            ("spec.access.rules[0].arguments[12]", "rules[].arguments[].path", Some(".path")),
            ("spec.access", "rules", None),
            ("spec.transport", "spec.transport.path", Some(".path")),
            ("spec", "spec", Some("")),
            ("spec.access.rules[0].principals[1]", "two", None),
        ] {
            assert_eq!(beyond(path, named).as_deref(), expected, "{path} {named}");
        }
    }
}
