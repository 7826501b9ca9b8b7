//! The schema of a CRD, closed as `kubectl` asks the API server to close it, and what it says in words that name the field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cardea_operator::manifests;
use jsonschema::JsonType;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::{CompiledSchema, compile_schema};
use serde_json::{Value, json};

use super::check::{By, Problem};
use super::examples;

/// What an API server knows of a kind.
pub(super) struct Schema {
    closed: Value,
    /// None, if it is no schema, which a test of the CRDs would tell.
    fields: Option<jsonschema::Validator>,
    /// Its validation rules.
    pub(super) rules: CompiledSchema,
}

/// By kind. Compiled once: a folder has many manifests.
static SCHEMAS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
    let crds = manifests::crds().into_iter().map(|(_, crd)| crd);
    let of_crd = |crd: CustomResourceDefinition| {
        let version = crd.spec.versions.into_iter().find(|version| version.name == "v1alpha1")?;
        Some((crd.spec.names.kind, Schema::of(&json!(version.schema?.open_api_v3_schema?))))
    };
    crds.filter_map(of_crd).collect()
});

impl Schema {
    /// That of a kind of ours.
    pub(super) fn of_kind(kind: &str) -> Option<&'static Self> {
        SCHEMAS.get(kind)
    }

    fn of(schema: &Value) -> Self {
        let mut closed = schema.clone();
        close(&mut closed);
        if let Some(Value::Object(members)) = closed.get_mut("properties") {
            members.extend(["apiVersion", "kind", "metadata"].map(|member| (member.to_owned(), json!(true))));
        }
        let fields = jsonschema::options().should_validate_formats(true).build(&closed).ok();
        Self { fields, closed, rules: compile_schema(schema) }
    }

    /// What of a document it does not permit.
    pub(super) fn problems(&self, document: &Value) -> Vec<Problem> {
        let Some(fields) = &self.fields else {
            return vec![problem(String::new(), "the schema cannot be used".to_owned())];
        };
        let mut problems = fields.iter_errors(document).flat_map(|error| said(&self.closed, &error)).collect();
        twins(&self.closed, document, "", &mut problems);
        problems
    }
}

/// Entries of a list that is a map by one of their members, and that have the same. JSON Schema knows no such thing.
fn twins(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let dot = if path.is_empty() { "" } else { "." };
                let schema = schema.get("properties").and_then(|properties| properties.get(name));
                if let Some(schema) = schema {
                    twins(schema, member, &format!("{path}{dot}{name}"), problems);
                }
            }
        }
        Value::Array(entries) => {
            let key = schema.pointer("/x-kubernetes-list-map-keys/0").and_then(Value::as_str);
            let mut known = BTreeSet::new();
            for (at, entry) in entries.iter().enumerate() {
                let path = format!("{path}[{at}]");
                if let Some((key, name)) = key.and_then(|key| Some((key, entry.get(key)?.as_str()?)))
                    && !known.insert(name)
                {
                    problems
                        .push(problem(format!("{path}.{key}"), format!("{name:?} is there twice: keep one of them")));
                }
                if let Some(schema) = schema.get("items") {
                    twins(schema, entry, &path, problems);
                }
            }
        }
        _ => {}
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
        Kind::MinItems { limit: 1 } | Kind::MinLength { limit: 1 } => "is empty".to_owned(),
        Kind::MinItems { limit } => format!("has fewer than {limit} entries"),
        Kind::MaxItems { limit } => format!("has more than {limit} entries"),
        Kind::MinLength { limit } => format!("{value} is shorter than {limit} characters"),
        Kind::MaxLength { limit } => format!("is longer than {limit} characters"),
        Kind::MinProperties { limit } => format!("{value} needs {limit} fields at least"),
        Kind::MaxProperties { limit } => format!("has more than {limit} fields"),
        Kind::Minimum { limit } => format!("{value} is less than {}", number(limit)),
        Kind::Maximum { limit } => format!("{value} is more than {}", number(limit)),
        Kind::Format { format } if format == "date-time" => {
            format!("{value} is not a moment as RFC 3339 writes it")
        }
        _ => error.to_string().chars().take(300).collect(),
    };
    vec![problem(path, message)]
}

/// A bound, which the schema has as a floating-point number.
fn number(limit: &Value) -> String {
    limit.as_f64().map_or_else(|| limit.to_string(), |limit| limit.to_string())
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
