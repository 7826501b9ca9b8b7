//! Manifests that must be refused, for the tests of our rules, of `cardea lint` and of the API server: `cases/refused.yaml`,
//! and `cases/malformed-rules.yaml` with every way in which a rule can make no sense.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

/// One manifest that must be refused.
#[derive(Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub name: String,
    /// Who refuses it.
    pub by: By,
    /// The manifest.
    pub manifest: Value,
    /// The field that `cardea lint` names, if the file says it.
    pub path: Option<String>,
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
    /// The operator, after the API server took it.
    Operator,
}

/// All cases of `cases/refused.yaml`, and the base that none of them is wrong with.
///
/// # Errors
/// When the file cannot be read.
pub fn cases() -> anyhow::Result<(Value, Vec<Refused>)> {
    read(include_str!("../cases/refused.yaml")).context("cases/refused.yaml cannot be read")
}

/// All cases of `cases/malformed-rules.yaml`.
///
/// # Errors
/// When the file cannot be read.
pub fn malformed_rules() -> anyhow::Result<(Value, Vec<Refused>)> {
    read(include_str!("../cases/malformed-rules.yaml")).context("cases/malformed-rules.yaml cannot be read")
}

fn read(text: &str) -> anyhow::Result<(Value, Vec<Refused>)> {
    #[derive(Deserialize)]
    struct File {
        base: Value,
        /// What a rule is without what is wrong with it.
        #[serde(default)]
        rule: Value,
        cases: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        name: String,
        by: By,
        #[serde(default = "nothing")]
        merge: Value,
        rule: Option<Value>,
        path: Option<String>,
        says: String,
    }
    let file: File = serde_yaml::from_str(text)?;
    let cases = file.cases.into_iter().map(|case| {
        let mut manifest = file.base.clone();
        if let Some(patch) = case.rule {
            let mut rule = file.rule.clone();
            merge(&mut rule, patch);
            merge(&mut manifest, json!({"spec": {"access": {"rules": [rule]}}}));
        }
        merge(&mut manifest, case.merge);
        Refused { name: case.name, by: case.by, manifest, path: case.path, says: case.says }
    });
    let cases = cases.collect();
    Ok((file.base, cases))
}

fn nothing() -> Value {
    json!({})
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
