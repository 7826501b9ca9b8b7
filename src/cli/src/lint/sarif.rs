//! Findings as SARIF 2.1.0 (OASIS), which code hosts show beside the lines that they are about.

use serde_json::{Value, json};

use super::finding::{Finding, Id};
use super::report::name;

/// One log with one run.
pub(super) fn log(files: &[String], findings: &[Finding]) -> Value {
    let rules: Vec<Value> = Id::ALL
        .iter()
        .map(|id| {
            json!({
                "id": id.name(),
                "shortDescription": {"text": id.about()},
                "defaultConfiguration": {"level": id.severity().word()},
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(files, finding)).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "cardea",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(files: &[String], finding: &Finding) -> Value {
    let mut location = json!({"physicalLocation": {
        "artifactLocation": {"uri": uri(name(files, finding))},
        "region": {"startLine": finding.place.line, "startColumn": finding.place.column},
    }});
    let mut message = finding.message.clone();
    if !finding.path.is_empty() {
        message = format!("{}: {message}", finding.path);
        if let Some(members) = location.as_object_mut() {
            members.insert("logicalLocations".into(), json!([{"fullyQualifiedName": finding.path}]));
        }
    }
    json!({
        "ruleId": finding.id.name(),
        "ruleIndex": Id::ALL.iter().position(|id| *id == finding.id),
        "level": finding.severity.word(),
        "message": {"text": message},
        "locations": [location],
    })
}

/// A file's name as a URI, relative to where the command ran unless it is absolute.
fn uri(file: &str) -> String {
    let mut uri = String::from(if file.starts_with('/') { "file://" } else { "" });
    let file = file.strip_prefix("./").unwrap_or(file);
    for byte in file.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(char::from(byte)),
            letter if letter.is_ascii_alphanumeric() => uri.push(char::from(letter)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_a_uri() {
        assert_eq!(uri("deploy/a b.yaml"), "deploy/a%20b.yaml");
        assert_eq!(uri("./é:1.yaml"), "%C3%A9%3A1.yaml");
        assert_eq!(uri("/srv/a.yaml"), "file:///srv/a.yaml");
    }
}
