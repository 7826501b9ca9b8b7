//! Bad input, and what it gets.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::McpServer;
use cardea_operator::children::Kind;
use cardea_tests::refused::{By, Refused, cases, malformed_rules};
use kube::Client;
use kube::api::{Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, OPERATOR_NAMESPACE, apply, condition, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "refusal":
        each_case_is_refused_by_the_api_server,
        an_unknown_issuer_in_a_rule_is_named,
        two_secrets_for_one_variable_are_named,
        an_account_that_is_none_is_named_before_a_certificate_is_made,
        what_the_api_server_refuses_is_told_in_its_own_words,
        a_bad_change_leaves_the_server_alone,
        a_missing_authority_is_awaited,
        a_missing_secret_is_awaited,
        a_missing_secret_of_the_proxy_is_awaited,
        the_operators_namespace_is_closed,
    ]
}

/// Applies without an effect. The answer is the error's message, if any.
async fn refusal(client: &Client, manifest: &Value) -> anyhow::Result<Option<String>> {
    let (name, namespace) = (
        manifest["metadata"]["name"].as_str().context("name")?,
        manifest["metadata"]["namespace"].as_str().context("namespace")?,
    );
    let path = format!(
        "/apis/cardea.dev/v1alpha1/namespaces/{namespace}/mcpservers/{name}?fieldManager=a-person&force=true&fieldValidation=Strict&dryRun=All"
    );
    let request = http::Request::patch(path)
        .header("content-type", "application/apply-patch+yaml")
        .body(manifest.to_string().into_bytes())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

async fn each_case_is_refused_by_the_api_server(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    for (base, cases) in [cases()?, malformed_rules()?] {
        ensure!(refusal(&place.client, &base).await?.is_none(), "the base is refused");
        for case in cases {
            let message = refusal(&place.client, &case.manifest).await?;
            if case.by == By::Operator {
                ensure!(message.is_none(), "{}: {message:?}", case.name);
                continue;
            }
            let message = message.with_context(|| format!("{}: accepted", case.name))?;
            ensure!(message.contains(says(&case)), "{}: {message}", case.name);
        }
    }
    Ok(())
}

/// What the API server's answer to a case must hold. Where its schema refuses it has words of its own for what is wrong.
fn says(case: &Refused) -> &str {
    match (case.by, &case.path) {
        (By::Rule, _) | (By::Schema, None) => &case.says,
        (By::Strict, None) => "sorce",
        (By::Schema | By::Strict | By::Operator, Some(path)) => path.rsplit('.').next().unwrap_or_default(),
        (By::Operator, None) => "",
    }
}

fn rule(principal: &Value) -> Value {
    json!({"rules": [{"name": "r", "principals": [principal], "tools": ["*"]}]})
}

async fn an_unknown_issuer_in_a_rule_is_named(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.apply("web", json!({"access": rule(&json!({"group": "ops", "issuer": "corp"}))})).await?;
    let message = place.condition("web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("\"corp\"") && message.contains("spec.auth.issuers"), "{message}");
    place.condition("web", "Stalled", "True", "Invalid").await?;
    ensure!(place.objects(Kind::Deployment).get_opt("web").await?.is_none(), "it was built all the same");
    Ok(())
}

async fn two_secrets_for_one_variable_are_named(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let secret = |name: &str| json!({"name": name, "from": {"kubernetesSecret": {"name": "s"}}, "keys": [{"key": "k", "env": "TOKEN"}]});
    place.apply("web", json!({"secrets": [secret("a"), secret("b")]})).await?;
    let message = place.condition("web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("TOKEN"), "{message}");
    Ok(())
}

async fn an_account_that_is_none_is_named_before_a_certificate_is_made(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.apply("web", json!({"workload": {"serviceAccountName": "../../cardea-system/sa/cardea-operator"}})).await?;
    let message = place.condition("web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("spec.workload.serviceAccountName"), "{message}");
    ensure!(place.objects(Kind::Secret).get_opt("web-tls").await?.is_none(), "a certificate was made");
    Ok(())
}

async fn what_the_api_server_refuses_is_told_in_its_own_words(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let peer = json!({"ipBlock": {"cidr": "10.0.0.0/99"}});
    place.apply("web", json!({"network": {"ingress": {"from": [peer]}}})).await?;
    let message = place.condition("web", "WorkloadAvailable", "False", "ApplyFailed").await?;
    ensure!(message.contains("NetworkPolicy") && message.contains("10.0.0.0/99"), "{message}");
    ensure!(!message.contains("Status {"), "the rest of the answer is in it: {message}");
    ensure!(place.objects(Kind::Deployment).get_opt("web").await?.is_none(), "the workload came without its policy");
    Ok(())
}

async fn a_bad_change_leaves_the_server_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    let deployment = place.exists(Kind::Deployment, "web").await?;
    let bad = rule(&json!({"subject": "alice", "issuer": "corp"}));
    place.apply("web", json!({"access": bad, "workload": {"args": ["--new"]}})).await?;
    place.condition("web", "Accepted", "False", "Invalid").await?;
    let after = place.exists(Kind::Deployment, "web").await?;
    ensure!(after.metadata.generation == deployment.metadata.generation, "the workload was changed");
    place.apply("web", json!({})).await?;
    place.condition("web", "Accepted", "True", "Accepted").await?;
    Ok(())
}

async fn a_missing_authority_is_awaited(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.apply("web", json!({"tls": {"clientCaRef": {"name": "agents"}}})).await?;
    let message = place.condition("web", "CertificateReady", "False", "CaNotFound").await?;
    ensure!(message.contains("\"agents\"") && message.contains("create it"), "{message}");
    place.condition("web", "Ready", "False", "CaNotFound").await?;
    let pem = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
    place.create(Kind::ConfigMap, "agents", json!({"metadata": {}, "data": {"ca.crt": pem}})).await?;
    place.condition("web", "CertificateReady", "True", "Issued").await?;
    let trust = place.exists(Kind::ConfigMap, "web-trust").await?;
    ensure!(trust.data["data"]["clients.crt"] == pem, "the proxy was not told");
    Ok(())
}

async fn a_missing_secret_is_awaited(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let secrets = json!([{"name": "forge", "from": {"kubernetesSecret": {"name": "forge-token"}}, "keys": [{"key": "token", "file": "token"}]}]);
    place.apply("web", json!({"secrets": secrets})).await?;
    let message = place.condition("web", "SecretsReady", "False", "SecretNotFound").await?;
    ensure!(message.contains("forge-token"), "{message}");
    let secret = json!({"metadata": {}, "stringData": {"token": "c4n4ry-value"}});
    place.create(Kind::Secret, "forge-token", secret).await?;
    place.condition("web", "SecretsReady", "True", "Mounted").await?;
    let server: McpServer = place.servers().get("web").await?;
    ensure!(!serde_json::to_string(&server)?.contains("c4n4ry"), "the value is in the status");
    Ok(())
}

async fn a_missing_secret_of_the_proxy_is_awaited(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let introspection = json!({"clientId": "web", "clientSecretRef": {"name": "web-client", "key": "secret"}});
    let auth = json!({
        "issuers": [{"name": "corp", "url": "https://login.example.com", "introspection": introspection}],
        "staticTokens": {"secretRef": {"name": "web-tokens"}}
    });
    place.apply("web", json!({"auth": auth})).await?;
    let message = place.condition("web", "SecretsReady", "False", "SecretNotFound").await?;
    ensure!(message.contains("web-client, web-tokens") && message.contains("spec.auth"), "{message}");
    for (name, key) in [("web-client", "secret"), ("web-tokens", "tokens.json")] {
        let secret = json!({"metadata": {}, "stringData": {(key): "c4n4ry-value"}});
        place.create(Kind::Secret, name, secret).await?;
    }
    place.condition("web", "SecretsReady", "True", "Mounted").await?;
    let pod = place.exists(Kind::Deployment, "web").await?.data["spec"]["template"]["spec"].clone();
    let mounts = |container: &Value| container["volumeMounts"].to_string().matches("credential-").count();
    ensure!(mounts(&pod["initContainers"][0]) == 2, "the proxy does not get both: {pod}");
    ensure!(mounts(&pod["containers"][0]) == 0, "the server gets what is the proxy's: {pod}");
    let server: McpServer = place.servers().get("web").await?;
    ensure!(!serde_json::to_string(&server)?.contains("c4n4ry"), "the value is in the status");
    Ok(())
}

async fn the_operators_namespace_is_closed(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    apply(&place.client, OPERATOR_NAMESPACE, "web", json!({"workload": {"serviceAccountName": "cardea-operator"}}))
        .await?;
    let message = condition(&place.client, OPERATOR_NAMESPACE, "web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("another namespace"), "{message}");
    let servers = kube::Api::<McpServer>::namespaced(place.client.clone(), OPERATOR_NAMESPACE);
    servers.patch("web", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await?;
    servers.delete("web", &Default::default()).await?;
    Ok(())
}
