//! `cases/refused.yaml`: manifests that must be refused, for the unit test of our rules and for the API server.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

/// One manifest that must be refused.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub name: String,
    /// Who refuses it.
    pub by: By,
    /// The manifest.
    pub manifest: Value,
    /// What the refusal must say.
    pub says: String,
}

/// Who refuses a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A validation rule of ours.
    Rule,
    /// The types and bounds of the schema.
    Schema,
    /// Strict decoding, which `kubectl` asks for.
    Strict,
}

/// All cases, and the base that none of them is wrong with.
///
/// # Errors
/// When the file cannot be read.
pub fn cases() -> anyhow::Result<(Value, Vec<Refused>)> {
    #[derive(Deserialize)]
    struct File {
        base: Value,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        name: String,
        by: By,
        merge: Value,
        says: String,
    }
    let file: File =
        serde_yaml::from_str(include_str!("../cases/refused.yaml")).context("cases/refused.yaml cannot be read")?;
    let cases = file.cases.into_iter().map(|case| {
        let mut manifest = file.base.clone();
        merge(&mut manifest, case.merge);
        Refused { name: case.name, by: case.by, manifest, says: case.says }
    });
    let cases = cases.collect();
    Ok((file.base, cases))
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(&name);
                } else {
                    merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch,
    }
}
