//! Every way in which a rule can make no sense, and what its author is told: `tests/cases/malformed-rules.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use cardea_tests::cluster::setting;
use cardea_tests::refused::{By, Refused, malformed_rules};
use serde_json::{Value, json};

use crate::program::Folder;

/// What `cardea lint` finds in each of these manifests: severity, kind, field and message.
fn found(manifests: &[Value]) -> Vec<Vec<[String; 4]>> {
    let folder = Folder::with(&[]);
    for (number, manifest) in manifests.iter().enumerate() {
        folder.put(&format!("cases/{number:03}.yaml"), &manifest.to_string());
    }
    let answer = folder.cardea(&["lint", "cases", "-o", "json"]);
    let findings: Value = serde_json::from_str(&answer.says).expect(&answer.errors);
    let mut by_file: BTreeMap<String, Vec<[String; 4]>> = BTreeMap::new();
    for finding in findings["findings"].as_array().unwrap() {
        let part = |name: &str| finding[name].as_str().unwrap().to_owned();
        by_file.entry(part("file")).or_default().push(["severity", "id", "path", "message"].map(part));
    }
    (0..manifests.len()).map(|number| by_file.remove(&format!("cases/{number:03}.yaml")).unwrap_or_default()).collect()
}

#[test]
fn every_malformed_rule_is_told_with_its_field_and_an_example_of_right() {
    let (base, cases) = malformed_rules().unwrap();
    assert!(cases.len() >= 40 && found(&[base]) == [Vec::<[String; 4]>::new()]);
    let manifests: Vec<Value> = cases.iter().map(|case| case.manifest.clone()).collect();
    let found = found(&manifests);
    let mut told = Vec::new();
    for (Refused { name, by, .. }, findings) in cases.iter().zip(&found) {
        let [[severity, id, path, message]] = &findings[..] else { panic!("{name}: {findings:?}") };
        let expected = match by {
            By::Strict | By::Schema => "schema",
            By::Rule => "validation",
            By::Operator => "refused",
        };
        assert_eq!([severity, id], ["error", expected], "{name}: {message}");
        assert!(path.starts_with("spec.access."), "{name}: {path}");
        let remedy = [", as in ", ": add it", ": remove scopes"].iter().any(|remedy| message.contains(remedy));
        assert!(remedy, "{name}: {message}");
        told.push((path, message));
    }
    if setting("UPDATE").is_some() {
        return update(&told);
    }
    for (Refused { name, path, says, .. }, told) in cases.iter().zip(told) {
        assert_eq!((path.as_ref(), says), (Some(told.0), told.1), "{name}: run `make update`");
    }
}

/// Puts what is told into the file, and leaves the rest of it as it is.
fn update(told: &[(&String, &String)]) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/malformed-rules.yaml");
    let mut told = told.iter();
    let (mut updated, mut current) = (String::new(), None);
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        if line.starts_with("- name: ") {
            current = told.next();
        }
        match (current, line) {
            (Some((path, _)), line) if line.starts_with("  path: ") => updated.push_str(&format!("  path: {path}")),
            // JSON is YAML.
            (Some((_, says)), line) if line.starts_with("  says: ") => {
                updated.push_str(&format!("  says: {}", json!(says)));
            }
            _ => updated.push_str(line),
        }
        updated.push('\n');
    }
    std::fs::write(file, updated).unwrap();
}
