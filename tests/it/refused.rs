//! Our validation rules, evaluated here as the API server evaluates them there.

use anyhow::Context as _;
use cardea_operator::manifests;
use cardea_tests::refused::{By, Refused, cases, malformed_rules};
use kube::core::cel::Validator;
use serde_json::{Value, json};

fn schema() -> Value {
    let (_, crd) = manifests::crds().remove(0);
    json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
}

/// Those of both files.
fn all() -> Vec<Refused> {
    [cases().unwrap().1, malformed_rules().unwrap().1].into_iter().flatten().collect()
}

#[test]
fn the_base_of_all_cases_is_accepted() {
    for (base, _) in [cases().unwrap(), malformed_rules().unwrap()] {
        Validator::new().validate(&schema(), &base, None).unwrap();
    }
}

#[test]
fn each_rule_refuses_its_case_with_its_message() {
    let schema = schema();
    for case in all().iter().filter(|case| case.by == By::Rule) {
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
    let cases = all();
    for message in messages {
        assert!(cases.iter().any(|case| message.contains(&case.says)), "no case in refused.yaml for: {message}");
    }
}

fn schema_of(kind: &str) -> Value {
    let crds = manifests::crds();
    let (_, crd) = crds.iter().find(|(_, crd)| crd.spec.names.kind == kind).unwrap();
    json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema)
}

#[test]
fn an_access_policy_says_what_a_server_can_say_for_itself_and_by_the_same_rules() {
    let inline = schema()["properties"]["spec"]["properties"]["access"].take();
    let policy = schema_of("McpAccessPolicy")["properties"]["spec"].take();
    let rules = |schema: &Value| schema["x-kubernetes-validations"].as_array().unwrap().clone();
    assert!(rules(&inline).iter().all(|rule| rules(&policy).contains(rule)));
    for (member, schema) in inline["properties"].as_object().unwrap() {
        assert_eq!(policy["properties"][member], *schema, "{member}");
    }
    assert!(!policy.to_string().contains("spec.access"), "a policy's message names a field that it has not");
}

#[test]
fn an_access_policy_names_its_servers_or_selects_them() {
    let schema = schema_of("McpAccessPolicy");
    let says = |chosen: Value| {
        let policy = json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": "p"}, "spec": chosen});
        let errors = Validator::new().validate(&schema, &policy, None).err()?;
        Some(errors.as_slice().iter().map(|error| error.message.clone()).collect::<String>())
    };
    let expression = |operator: &str, values: Value| json!({"selector": {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}});
    for right in [
        json!({"targetRefs": [{"name": "a"}]}),
        json!({"selector": {}}),
        expression("In", json!(["x"])),
        expression("Exists", json!([])),
    ] {
        assert_eq!(says(right.clone()), None, "{right}");
    }
    for (wrong, message) in [
        (json!({}), "exactly one of targetRefs and selector"),
        (json!({"targetRefs": [{"name": "a"}], "selector": {}}), "exactly one of targetRefs and selector"),
        (expression("In", json!([])), "In and NotIn need values"),
        (expression("DoesNotExist", json!(["x"])), "In and NotIn need values"),
    ] {
        assert!(says(wrong.clone()).unwrap().contains(message), "{wrong}");
    }
}

#[test]
fn a_policy_says_what_a_server_can_say_for_itself_and_by_the_same_rules() {
    let mut inline = schema()["properties"]["spec"]["properties"]["auth"].take();
    let policy = schema_of("McpAuthPolicy")["properties"]["spec"].take();
    let excluded: Vec<String> = policy["properties"].as_object().unwrap().keys().cloned().collect();
    inline["properties"].as_object_mut().unwrap().remove("policyRef").unwrap();
    let rules = inline["x-kubernetes-validations"].as_array_mut().unwrap();
    let alone = rules.iter().position(|rule| rule["rule"].as_str().unwrap().contains("policyRef")).unwrap();
    let alone = rules.remove(alone);
    assert_eq!(inline["properties"], policy["properties"]);
    assert_eq!(inline["x-kubernetes-validations"], policy["x-kubernetes-validations"]);
    for member in excluded {
        let named = format!("has(self.{member})");
        assert!(alone["rule"].as_str().unwrap().contains(&named), "policyRef does not exclude {member}");
    }
}

#[test]
fn no_rule_of_a_policy_names_a_field_of_a_server() {
    assert!(
        !schema_of("McpAuthPolicy")["properties"]["spec"].to_string().contains("spec.auth."),
        "a policy's message names a field that it has not"
    );
}
