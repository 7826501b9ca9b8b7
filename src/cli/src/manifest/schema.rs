//! The schema of a CRD, closed as `kubectl` asks the API server to close it, and what it says in words that name the field.

use cardea_operator::manifests;
use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::{Value, json};

use super::check::{By, Problem};
use super::examples;

/// The schema of this kind, as the API server has it.
pub(super) fn of_kind(kind: &str) -> Option<Value> {
    let crds = manifests::crds();
    let (_, crd) = crds.iter().find(|(_, crd)| crd.spec.names.kind == kind)?;
    let version = crd.spec.versions.iter().find(|version| version.name == "v1alpha1")?;
    Some(json!(version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref())))
}

/// What of a document it does not permit.
pub(super) fn problems(schema: &Value, document: &Value) -> Vec<Problem> {
    let mut closed = schema.clone();
    close(&mut closed);
    if let Some(Value::Object(members)) = closed.get_mut("properties") {
        members.extend(["apiVersion", "kind", "metadata"].map(|member| (member.to_owned(), json!(true))));
    }
    match jsonschema::options().should_validate_formats(true).build(&closed) {
        Ok(validator) => validator.iter_errors(document).flat_map(|error| said(&closed, &error)).collect(),
        Err(error) => vec![problem(String::new(), format!("the schema cannot be used: {error}"))],
    }
}

/// Lets an object have the members that are described and no other.
fn close(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if members.contains_key("properties") && members.get("x-kubernetes-preserve-unknown-fields").is_none() {
        members.entry("additionalProperties").or_insert(json!(false));
    }
    for (keyword, inner) in members {
        match (keyword.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(close),
            ("items" | "additionalProperties", inner) => close(inner),
            _ => {}
        }
    }
}

fn problem(path: String, mut message: String) -> Problem {
    if let Some(example) = examples::of(&path) {
        message.push_str(&format!(", as in {example}"));
    }
    Problem { by: By::Schema, path, message }
}

fn said(closed: &Value, error: &jsonschema::ValidationError<'_>) -> Vec<Problem> {
    let path = dotted(&error.instance_path().to_string());
    let within = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let value: String = error.instance().to_string().chars().take(100).collect();
    let message = match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let described = error.schema_path().to_string();
            let described = described.rsplit_once('/').and_then(|(object, _)| closed.pointer(object));
            let known = described.and_then(|object| object.pointer("/properties")).and_then(Value::as_object);
            let known: Vec<&str> = known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
            let told = |name: &String| problem(within(name), format!("is not known: there are {}", known.join(", ")));
            return unexpected.iter().map(told).collect();
        }
        Kind::Required { property } => {
            return vec![problem(within(property.as_str().unwrap_or_default()), "is missing".into())];
        }
        Kind::Type { kind: TypeKind::Single(kind) } => format!("{value} is not {}", word(*kind)),
        Kind::Enum { options } => {
            let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("{value} is none of {}", options.join(", "))
        }
        Kind::MinItems { limit } => format!("{value} has fewer than {limit} entries"),
        Kind::MaxItems { limit } => format!("has more than {limit} entries"),
        Kind::MinLength { limit } => format!("{value} is shorter than {limit} characters"),
        Kind::MaxLength { limit } => format!("is longer than {limit} characters"),
        Kind::MinProperties { limit } => format!("{value} has fewer than {limit} fields"),
        Kind::MaxProperties { limit } => format!("has more than {limit} fields"),
        Kind::Minimum { limit } => format!("{value} is less than {limit}"),
        Kind::Maximum { limit } => format!("{value} is more than {limit}"),
        Kind::Format { format } if format == "date-time" => {
            format!("{value} is not a moment as RFC 3339 writes it")
        }
        _ => error.to_string().chars().take(300).collect(),
    };
    vec![problem(path, message)]
}

fn word(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

/// A pointer as a person writes it: `spec.access.rules[0].tools`.
fn dotted(pointer: &str) -> String {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            field.push_str(if field.is_empty() { "" } else { "." });
            field.push_str(&part.replace("~1", "/").replace("~0", "~"));
        }
    }
    field
}
