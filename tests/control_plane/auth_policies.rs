//! What counts as evidence, said once for several servers: it reaches all of them, and stays while one of them uses it.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::{McpAuthPolicy, McpAuthPolicyStatus};
use cardea_operator::children::Kind;
use cardea_operator::hold::FINALIZER;
use cardea_tests::audit::AuditLog;
use cardea_tests::cluster::eventually;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, Patch, PatchParams};
use kube::{ResourceExt as _, api::DeleteParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, Place, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "auth_policies":
        a_change_reaches_every_server_that_uses_it,
        who_uses_it_is_told_and_nothing_written_at_rest,
        it_stays_until_the_last_server_lets_it_go,
        one_that_nobody_uses_goes_at_once,
        a_missing_one_is_awaited,
        a_server_whose_policy_is_gone_is_left_alone,
        what_is_wrong_with_it_is_told_by_its_own_fields,
        callers_without_credential_show_in_the_posture,
    ]
}

fn policies(place: &Place<'_>) -> Api<McpAuthPolicy> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

async fn say(place: &Place<'_>, name: &str, spec: Value) -> anyhow::Result<McpAuthPolicy> {
    let body =
        json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpAuthPolicy", "metadata": {"name": name}, "spec": spec});
    Ok(policies(place).patch(name, &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?)
}

fn using(policy: &str) -> Value {
    json!({"auth": {"policyRef": {"name": policy}}})
}

fn issuer(name: &str) -> Value {
    json!({"issuers": [{"name": name, "url": format!("https://{name}.example.com")}]})
}

/// Waits for a status of a policy.
async fn told(
    place: &Place<'_>,
    name: &str,
    what: &str,
    holds: impl Fn(&McpAuthPolicyStatus) -> bool,
) -> anyhow::Result<McpAuthPolicyStatus> {
    eventually(what, async || Ok(policies(place).get(name).await?.status.filter(|status| holds(status)))).await
}

fn users(status: &McpAuthPolicyStatus) -> Vec<&str> {
    status.servers.iter().map(|server| server.name.as_str()).collect()
}

/// Waits until the proxies of a server are told to trust this issuer and no other.
async fn trusts(place: &Place<'_>, server: &str, issuer: &str) -> anyhow::Result<()> {
    let maps = place.objects(Kind::ConfigMap);
    eventually(&format!("{server} trusts {issuer}"), async || {
        let Some(map) = maps.get_opt(&format!("{server}-proxy")).await? else { return Ok(None) };
        let file: Value = serde_json::from_str(map.data["data"]["proxy.json"].as_str().context("proxy.json")?)?;
        let names: Vec<&str> = file["authentication"]["issuers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|known| known["name"].as_str())
            .collect();
        Ok((names == [issuer]).then_some(()))
    })
    .await
}

async fn a_change_reaches_every_server_that_uses_it(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", issuer("first")).await?;
    for server in ["one", "two"] {
        place.apply(server, using("corp")).await?;
        trusts(&place, server, "first").await?;
        place.condition(server, "PolicyReady", "True", "Compiled").await?;
    }
    place.apply("three", json!({"auth": issuer("own")})).await?;
    let before = place.exists(Kind::Deployment, "one").await?.metadata.generation;
    say(&place, "corp", issuer("second")).await?;
    for server in ["one", "two"] {
        trusts(&place, server, "second").await?;
    }
    trusts(&place, "three", "own").await?;
    ensure!(place.exists(Kind::Deployment, "one").await?.metadata.generation == before, "its pods are restarted");
    // And another policy, by the server's own change.
    say(&place, "other", issuer("third")).await?;
    place.apply("two", using("other")).await?;
    trusts(&place, "two", "third").await?;
    trusts(&place, "one", "second").await
}

async fn who_uses_it_is_told_and_nothing_written_at_rest(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", issuer("corp")).await?;
    let status = told(&place, "corp", "nobody uses it", |status| status.server_count == Some(0)).await?;
    ensure!(status.observed_generation == Some(1) && status.conditions[0].type_ == "Accepted", "{status:?}");
    for server in ["two", "one"] {
        place.apply(server, using("corp")).await?;
    }
    let status = told(&place, "corp", "two use it", |status| status.server_count == Some(2)).await?;
    ensure!(users(&status) == ["one", "two"], "{status:?}");
    for server in ["one", "two"] {
        place.condition(server, "WorkloadAvailable", "False", "Progressing").await?;
        eventually("its pod is in its status", async || {
            let status = place.servers().get(server).await?.status;
            Ok(status.and_then(|status| status.replicas).filter(|count| *count == 1))
        })
        .await?;
    }
    // Everyone is looked at again, and nobody has anything to write.
    let log = AuditLog::from_env()?;
    let mark = log.mark()?;
    let label = json!({"metadata": {"labels": {"looked": "at"}}});
    policies(&place).patch("corp", &PatchParams::default(), &Patch::Merge(&label)).await?;
    say(&place, "another", json!({})).await?;
    told(&place, "another", "the one said later is told of", |status| status.server_count == Some(0)).await?;
    let writes: Vec<String> = log
        .since(mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.uri.contains("fieldManager=cardea"))
        .filter(|request| request.namespace() == place.namespace)
        .map(|request| format!("{} {}", request.verb, request.uri))
        .filter(|request| !request.contains("/another"))
        .collect();
    ensure!(writes.is_empty(), "{writes:#?}");
    place.servers().delete("one", &DeleteParams::default()).await?;
    let status = told(&place, "corp", "one uses it", |status| status.server_count == Some(1)).await?;
    ensure!(users(&status) == ["two"], "{status:?}");
    Ok(())
}

async fn it_stays_until_the_last_server_lets_it_go(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", issuer("corp")).await?;
    for server in ["one", "two"] {
        place.apply(server, using("corp")).await?;
    }
    told(&place, "corp", "two use it", |status| status.server_count == Some(2)).await?;
    policies(&place).delete("corp", &DeleteParams::default()).await?;
    let held = |status: &McpAuthPolicyStatus| {
        let found = status.conditions.iter().find(|found| found.type_ == "DeletionHeld")?;
        (found.status == "True" && found.reason == "InUse").then(|| found.message.clone())
    };
    let status = told(&place, "corp", "its deletion is held", |status| held(status).is_some()).await?;
    let message = held(&status).context("held")?;
    ensure!(message.contains("one, two") && message.contains("policyRef"), "{message}");
    let events = Api::<Event>::namespaced(place.client.clone(), &place.namespace);
    eventually("an event names the users", async || {
        let all = events.list(&Default::default()).await?.items;
        Ok(all.into_iter().find(|event| {
            event.reason.as_deref() == Some("InUse")
                && event.message.as_deref().is_some_and(|note| note.contains("one, two"))
        }))
    })
    .await?;
    // Meanwhile it holds for whoever uses it.
    trusts(&place, "one", "corp").await?;
    place.apply("one", json!({"auth": issuer("own")})).await?;
    told(&place, "corp", "one uses it", |status| users(status) == ["two"]).await?;
    ensure!(policies(&place).get("corp").await?.finalizers() == [FINALIZER], "it is let go too early");
    place.servers().delete("two", &DeleteParams::default()).await?;
    eventually("it is gone", async || Ok(policies(&place).get_opt("corp").await?.is_none().then_some(()))).await
}

async fn one_that_nobody_uses_goes_at_once(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", issuer("corp")).await?;
    place.apply("web", using("corp")).await?;
    told(&place, "corp", "web uses it", |status| status.server_count == Some(1)).await?;
    eventually("it is held", async || Ok(policies(&place).get("corp").await?.finalizers().first().cloned())).await?;
    place.apply("web", json!({})).await?;
    eventually("it is held no more", async || {
        Ok(policies(&place).get("corp").await?.finalizers().is_empty().then_some(()))
    })
    .await?;
    policies(&place).delete("corp", &DeleteParams::default()).await?;
    ensure!(policies(&place).get_opt("corp").await?.is_none(), "it waits for somebody");
    Ok(())
}

async fn a_missing_one_is_awaited(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.apply("web", using("corp")).await?;
    let message = place.condition("web", "PolicyReady", "False", "PolicyNotFound").await?;
    ensure!(message.contains("\"corp\"") && message.contains("create it"), "{message}");
    place.condition("web", "Ready", "False", "PolicyNotFound").await?;
    ensure!(place.objects(Kind::Deployment).get_opt("web").await?.is_none(), "it was built all the same");
    say(&place, "corp", issuer("corp")).await?;
    place.condition("web", "PolicyReady", "True", "Compiled").await?;
    trusts(&place, "web", "corp").await
}

async fn a_server_whose_policy_is_gone_is_left_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", issuer("corp")).await?;
    place.served("web", using("corp")).await?;
    let before = place.exists(Kind::ConfigMap, "web-proxy").await?.metadata.resource_version;
    place.apply("web", using("none")).await?;
    place.condition("web", "PolicyReady", "False", "PolicyNotFound").await?;
    ensure!(place.exists(Kind::ConfigMap, "web-proxy").await?.metadata.resource_version == before, "it was changed");
    Ok(())
}

async fn what_is_wrong_with_it_is_told_by_its_own_fields(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", json!({"clientCertificates": {}})).await?;
    let mut spec = using("corp");
    spec["tls"] = json!({"clientAuth": "None"});
    place.apply("bare", spec).await?;
    let message = place.condition("bare", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("McpAuthPolicy \"corp\": spec.clientCertificates"), "{message}");
    let mut spec = using("corp");
    spec["access"] = json!({"rules": [{"name": "r", "principals": [{"group": "ops"}], "tools": ["*"]}]});
    place.apply("grouped", spec).await?;
    let message = place.condition("grouped", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("McpAuthPolicy \"corp\": spec.issuers"), "{message}");
    // The policy is put right, and both are looked at again without a word.
    let mut right = issuer("corp");
    right["kubernetesServiceAccounts"] = json!({});
    say(&place, "corp", right).await?;
    for server in ["bare", "grouped"] {
        place.condition(server, "Accepted", "True", "Accepted").await?;
    }
    Ok(())
}

async fn callers_without_credential_show_in_the_posture(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "corp", json!({"insecureAnonymous": true})).await?;
    let mut spec = using("corp");
    spec["access"] = json!({"rules": [{"name": "r", "principals": [{"anonymous": true}], "tools": ["get_*"]}]});
    place.apply("web", spec).await?;
    let message = place.condition("web", "Hardened", "False", "Opened").await?;
    ensure!(message.contains("InsecureAnonymous"), "{message}");
    let status = place.servers().get("web").await?.status.context("status")?;
    ensure!(status.auth.as_deref() == Some("Anonymous") && status.posture == ["InsecureAnonymous"], "{status:?}");
    say(&place, "corp", json!({"clientCertificates": {}})).await?;
    let message = place.condition("web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("spec.insecureAnonymous"), "{message}");
    Ok(())
}
