//! Our validation rules, evaluated here as the API server evaluates them there.

use anyhow::Context as _;
use cardea_operator::manifests;
use cardea_tests::refused::{By, cases};
use kube::core::cel::Validator;
use serde_json::{Value, json};

fn schema() -> Value {
    let (_, crd) = manifests::crds().remove(0);
    json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
}

#[test]
fn the_base_of_all_cases_is_accepted() {
    let (base, _) = cases().unwrap();
    Validator::new().validate(&schema(), &base, None).unwrap();
}

#[test]
fn each_rule_refuses_its_case_with_its_message() {
    let schema = schema();
    let (_, cases) = cases().unwrap();
    for case in cases.iter().filter(|case| case.by == By::Rule) {
        let errors = Validator::new()
            .validate(&schema, &case.manifest, None)
            .err()
            .with_context(|| format!("{}: accepted", case.name))
            .unwrap();
        let messages: Vec<String> = errors.as_slice().iter().map(|error| error.message.clone()).collect();
        assert!(messages.iter().any(|message| message.contains(&case.says)), "{}: {messages:?}", case.name);
    }
}

#[test]
fn every_rule_has_a_case() {
    fn rules(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(members) => {
                for rule in members.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                    found.push(rule["message"].as_str().expect("every rule has a message").to_owned());
                }
                members.values().for_each(|member| rules(member, found));
            }
            Value::Array(elements) => elements.iter().for_each(|element| rules(element, found)),
            _ => {}
        }
    }
    let mut messages = Vec::new();
    rules(&schema(), &mut messages);
    let (_, cases) = cases().unwrap();
    for message in messages {
        assert!(cases.iter().any(|case| message.contains(&case.says)), "no case in refused.yaml for: {message}");
    }
}
