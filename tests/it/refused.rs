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

/// The messages of all validation rules in a schema.
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

#[test]
fn every_rule_has_a_case() {
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

#[test]
fn a_store_is_one_store_at_an_address_of_https() {
    let schema = schema_of("McpSecretStore");
    let says = |spec: &Value| {
        let store = json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpSecretStore", "metadata": {"name": "s"}, "spec": spec});
        let errors = Validator::new().validate(&schema, &store, None).err()?;
        Some(errors.as_slice().iter().map(|error| error.message.clone()).collect::<String>())
    };
    let merged = |base: &Value, pointer: &str, value: Value| {
        let mut spec = base.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[member] = value;
        spec
    };
    let vault = json!({"vault": {"address": "https://vault.example:8200", "kubernetes": {"role": "web"}}});
    let aws =
        json!({"awsSecretsManager": {"region": "eu-central-1", "roleArn": "arn:aws:iam::123456789012:role/a/web"}});
    let provider = "projects/12/locations/global/workloadIdentityPools/pool/providers/kind";
    let gcp = json!({"gcpSecretManager": {"project": "apps-1", "workloadIdentityProvider": provider}});
    let azure =
        json!({"azureKeyVault": {"vaultUrl": "https://apps.vault.azure.net", "tenantId": "a-1", "clientId": "b-2"}});
    let connect =
        json!({"onePasswordConnect": {"url": "https://[::1]:8443", "tokenSecretRef": {"name": "a", "key": "b"}}});
    for right in [&vault, &aws, &gcp, &azure, &connect] {
        assert_eq!(says(right), None, "{right}");
    }
    let plain = merged(&vault, "/vault/address", json!("http://vault.vault.svc:8200"));
    assert_eq!(says(&merged(&plain, "/insecureHttp", json!(true))), None);
    let mut refused = vec![
        (json!({}), "exactly one of vault"),
        (merged(&vault, "/awsSecretsManager", aws["awsSecretsManager"].clone()), "exactly one of vault"),
        (plain.clone(), "insecureHttp: true"),
        (merged(&plain, "/insecureHttp", json!(false)), "insecureHttp: true"),
        (merged(&vault, "/vault/jwt", json!({"role": "web"})), "exactly one of kubernetes and jwt"),
        (merged(&vault, "/vault/kubernetes/mount", json!("../sys")), "the mount of a login method"),
        (merged(&vault, "/vault/namespace", json!("a/../b")), "spec.vault.namespace"),
        (merged(&aws, "/awsSecretsManager/region", json!("eu.example.com/")), "awsSecretsManager.region"),
        (merged(&aws, "/awsSecretsManager/roleArn", json!("role/web")), "awsSecretsManager.roleArn"),
        (merged(&aws, "/awsSecretsManager/endpoint", json!("http://sts.example")), "insecureHttp: true"),
        (merged(&gcp, "/gcpSecretManager/project", json!("../other")), "gcpSecretManager.project"),
        (merged(&gcp, "/gcpSecretManager/workloadIdentityProvider", json!("pool")), "workloadIdentityProvider"),
        (merged(&gcp, "/gcpSecretManager/serviceAccount", json!("web")), "gcpSecretManager.serviceAccount"),
        (merged(&gcp, "/gcpSecretManager/endpoint", json!("https://a/b")), "without a path"),
        (merged(&azure, "/azureKeyVault/tenantId", json!("a/b")), "azureKeyVault: tenantId"),
        (merged(&azure, "/azureKeyVault/authorityHost", json!("http://login.example")), "insecureHttp: true"),
        (merged(&connect, "/onePasswordConnect/url", json!("connect:8080")), "without a path"),
    ];
    for address in [
        "https://vault.example/",
        "https://vault.example/v1",
        "https://u:p@vault.example",
        "vault",
        "https://",
        "https://a b",
    ] {
        refused.push((merged(&vault, "/vault/address", json!(address)), "without a path"));
    }
    let mut said = String::new();
    for (wrong, message) in &refused {
        let refusal = says(wrong).unwrap_or_default();
        assert!(refusal.contains(message), "{wrong}: {refusal}");
        said.push_str(&refusal);
    }
    let mut messages = Vec::new();
    rules(&schema, &mut messages);
    assert!(messages.len() >= 12);
    for message in messages {
        assert!(said.contains(&message), "nothing is refused by: {message}");
    }
}
