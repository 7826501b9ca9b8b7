//! What a tool's input schema (JSON Schema 2020-12) says of the place that a path leads to. It says less than JSON Schema
//! could: where parts are put together, or stand elsewhere (`$ref`, which is not followed), nothing.
//!
//! Does not judge values.

use cardea_contract::ValueKind;
use serde_json::Value;

use crate::pointer::Step;

/// How deep paths and schemas are followed.
pub(super) const MAX_DEPTH: usize = 32;
/// Keywords by which a schema says more than stands in it.
const COMPOSED: [&str; 14] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    "unevaluatedProperties",
];
/// All kinds, as JSON Schema calls them.
const KINDS: [(&str, ValueKind); 7] = [
    ("string", ValueKind::String),
    ("number", ValueKind::Number),
    ("integer", ValueKind::Integer),
    ("boolean", ValueKind::Boolean),
    ("array", ValueKind::Array),
    ("object", ValueKind::Object),
    ("null", ValueKind::Null),
];

/// Where a path leads.
#[derive(Debug, PartialEq)]
pub(super) enum Place<'s> {
    /// The schema does not say.
    Untold,
    /// To what this says.
    Of(&'s Value),
    /// To nothing: these are the members there, and none is of that name.
    NoneOf(Vec<&'s str>),
    /// To nothing: here is what has no such members or elements.
    Within(Vec<ValueKind>),
}

/// Follows a path.
pub(super) fn follow<'s>(schema: &'s Value, path: &[Step]) -> Place<'s> {
    let mut here = schema;
    for (depth, step) in path.iter().enumerate() {
        if depth == MAX_DEPTH || is_composed(here) {
            return Place::Untold;
        }
        match next(here, step) {
            Place::Of(schema) => here = schema,
            place => return place,
        }
    }
    Place::Of(here)
}

fn next<'s>(here: &'s Value, step: &Step) -> Place<'s> {
    let properties = here.get("properties").and_then(Value::as_object);
    let declared = match (kinds(here), properties) {
        (Some(declared), _) => declared,
        (None, Some(_)) => vec![ValueKind::Object],
        (None, None) => return Place::Untold,
    };
    let (object, array) = (declared.contains(&ValueKind::Object), declared.contains(&ValueKind::Array));
    match step {
        Step::Named(_) if object && array => Place::Untold,
        Step::Named(name) if object => match properties {
            None => Place::Untold,
            Some(properties) => match (properties.get(&**name), here.get("additionalProperties")) {
                (Some(schema), _) => Place::Of(schema),
                (None, None | Some(Value::Bool(false))) => {
                    Place::NoneOf(properties.keys().map(String::as_str).collect())
                }
                (None, Some(_)) => Place::Untold,
            },
        },
        Step::Named(name) if array && !name.bytes().all(|byte| byte.is_ascii_digit()) => Place::Within(declared),
        Step::Named(_) | Step::Any if array => match (here.get("items"), here.get("prefixItems")) {
            (Some(schema @ Value::Object(_)), None) => Place::Of(schema),
            _ => Place::Untold,
        },
        Step::Named(_) | Step::Any => Place::Within(declared),
    }
}

/// Whether a schema says more than can be read here.
pub(super) fn is_composed(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => COMPOSED.iter().any(|keyword| members.contains_key(*keyword)),
        _ => true,
    }
}

/// The kinds of values that a schema names. None if it names none, or some that are not known.
pub(super) fn kinds(schema: &Value) -> Option<Vec<ValueKind>> {
    let kind = |name: &Value| {
        let name = name.as_str()?;
        KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    };
    match schema.get("type")? {
        Value::Array(names) if names.is_empty() => None,
        Value::Array(names) => names.iter().take(KINDS.len() + 1).map(kind).collect(),
        name => kind(name).map(|kind| vec![kind]),
    }
}

/// What JSON Schema calls these kinds.
pub(super) fn names(kinds: &[ValueKind]) -> String {
    let names: Vec<&str> = KINDS.iter().filter(|(_, kind)| kinds.contains(kind)).map(|(name, _)| *name).collect();
    names.join(" or ")
}
