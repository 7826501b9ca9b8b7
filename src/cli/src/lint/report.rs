//! Findings for people, and for programs.

use serde_json::{Value, json};

use super::finding::{Finding, Severity};
use crate::shown::shown;

/// A line each, as compilers write them: editors jump by it.
pub(super) fn text(files: &[String], findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let Finding { place, severity, message, path, .. } = finding;
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let file = name(files, finding);
        shown(&format!("{file}:{}:{}: {}: {path}{message}", place.line, place.column, severity.word())) + "\n"
    });
    lines.collect()
}

/// All of them, with how many there are.
pub(super) fn document(files: &[String], findings: &[Finding]) -> Value {
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let all: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "file": name(files, finding),
                "line": finding.place.line,
                "column": finding.place.column,
                "severity": finding.severity.word(),
                "id": finding.id.name(),
                "path": finding.path,
                "message": finding.message,
            })
        })
        .collect();
    json!({"findings": all, "errors": count(Severity::Error), "warnings": count(Severity::Warning)})
}

pub(super) fn name<'f>(files: &'f [String], finding: &Finding) -> &'f str {
    match files.get(finding.file).map_or("-", String::as_str) {
        "-" => "<stdin>",
        name => name,
    }
}
