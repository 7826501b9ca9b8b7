//! The CRDs in `crds/` are those of the types, and keep the conventions of the Kubernetes API.

use std::path::Path;

use cardea_operator::manifests;
use serde_json::{Value, json};

#[test]
fn the_files_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for (file, crd) in manifests::crds() {
        let path = folder.join(file);
        let generated = manifests::yaml(&crd).unwrap();
        if super::golden::update() {
            std::fs::write(&path, &generated).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == generated, "crds/{file} is not what the types say: run `make update`");
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, manifests::crds().len(), "a file in crds/ belongs to no type");
}

/// Calls `check` with the path and the schema of every field.
fn each_field(schema: &Value, path: &str, check: &mut impl FnMut(&str, &Value)) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, field) in properties {
            let path = format!("{path}.{name}");
            check(&path, field);
            each_field(field, &path, check);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            each_field(&schema[inner], path, check);
        }
    }
}

fn fields(mut check: impl FnMut(&str, &Value)) {
    for (_, crd) in manifests::crds() {
        let schema = json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema);
        each_field(&schema["properties"]["spec"], ".spec", &mut check);
        each_field(&schema["properties"]["status"], ".status", &mut check);
    }
}

#[test]
fn every_field_is_described() {
    fields(|path, field| assert!(field["description"].as_str().is_some_and(|text| text.len() > 5), "{path}"));
}

#[test]
fn nothing_has_a_default_in_the_schema() {
    // A default of the API server shows as a difference in GitOps; resolved values stand in the status.
    fields(|path, field| {
        let is_ours = !path.contains(".env.") && !path.contains(".resources.") && !path.contains("[]");
        assert!(!is_ours || field.get("default").is_none(), "{path}");
    });
}

#[test]
fn names_follow_the_conventions() {
    fields(|path, field| {
        let name = path.rsplit('.').next().unwrap();
        assert!(name.starts_with(|letter: char| letter.is_ascii_lowercase()) && !name.contains(['_', '-']), "{path}");
        assert!(!name.ends_with("Reference"), "{path}: references end in Ref");
        assert_ne!(name, "phase", "{path}: conditions say it");
        assert!(field["format"] != "float" && field["format"] != "double", "{path}: no fractions in an API");
        assert!(field["format"] != "uint32" && field["format"] != "uint64", "{path}: unknown to the API server");
    });
}

#[test]
fn enumerations_are_pascal_case() {
    fields(|path, field| {
        for value in field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(value.starts_with(|letter: char| letter.is_ascii_uppercase()), "{path}: {value}");
        }
    });
}

#[test]
fn what_the_user_writes_is_bounded() {
    // Unbounded lists and strings make the cost of a rule unbounded, and etcd's objects large.
    let foreign = ["env", "resources", "from", "peers", "ports"];
    fields(|path, field| {
        let ours = path.starts_with(".spec") && !path.split('.').any(|part| foreign.contains(&part));
        assert!(!ours || field["type"] != "array" || field["maxItems"].is_number(), "{path} has no maxItems");
    });
}

#[test]
fn printer_columns_are_those_of_the_design() {
    let (_, crd) = manifests::crds().remove(0);
    let columns: Vec<(String, i32)> = crd.spec.versions[0]
        .additional_printer_columns
        .iter()
        .flatten()
        .map(|column| (column.name.clone(), column.priority.unwrap_or(0)))
        .collect();
    let expected = ["Ready", "Transport", "Auth", "Tools", "Posture", "Age"].map(|name| (name.to_owned(), 0));
    assert_eq!(columns[..6], expected);
    let wide = ["URL", "Cert-Expiry", "Image"].map(|name| (name.to_owned(), 1));
    assert_eq!(columns[6..], wide);
}
