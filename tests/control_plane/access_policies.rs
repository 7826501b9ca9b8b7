//! Rules said once for several servers: they reach all whom they govern and nobody else, the last that make sense stay in
//! force, and the policy says what became of them.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::{McpAccessPolicy, McpAccessPolicyStatus};
use cardea_operator::children::Kind;
use cardea_tests::audit::AuditLog;
use cardea_tests::cluster::eventually;
use cardea_tests::operator::Operator;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, OPERATOR_NAMESPACE, Place, apply, condition, objects, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "access_policies":
        it_reaches_whom_it_names_or_selects_and_nobody_else,
        a_server_comes_under_it_and_leaves_it_by_its_labels,
        what_makes_no_sense_leaves_the_last_that_did_in_force,
        what_never_made_sense_leaves_servers_as_they_are,
        after_a_restart_nothing_is_lost_of_what_makes_no_sense,
        it_reaches_servers_that_are_left_as_they_are,
        its_status_says_whom_it_governs_and_what_has_no_effect,
        nothing_is_written_at_rest,
    ]
}

fn policies(client: &Client, namespace: &str) -> Api<McpAccessPolicy> {
    Api::namespaced(client.clone(), namespace)
}

async fn say(client: &Client, namespace: &str, name: &str, spec: Value) -> anyhow::Result<McpAccessPolicy> {
    let body = json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": name}, "spec": spec,
    });
    Ok(policies(client, namespace).patch(name, &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?)
}

/// Anybody may use one tool.
fn rule(tool: &str) -> Value {
    json!({"name": tool, "principals": [{"anyAuthenticated": true}], "tools": [tool]})
}

/// A rule that no schema refuses, and that does not compile.
fn senseless() -> Value {
    json!({"name": "bad", "principals": [{"anyAuthenticated": true}], "tools": ["*"], "when": "args.size( >"})
}

fn named(servers: &[&str], rules: &[Value]) -> Value {
    let references: Vec<Value> = servers.iter().map(|name| json!({"name": name})).collect();
    json!({"targetRefs": references, "rules": rules})
}

fn selected(team: &str, rules: &[Value]) -> Value {
    json!({"selector": {"matchLabels": {"team": team}}, "rules": rules})
}

/// Waits until the proxies of a server are told these rules.
async fn ruled(client: &Client, namespace: &str, server: &str, wanted: &[&str]) -> anyhow::Result<()> {
    let maps = objects(client, namespace, Kind::ConfigMap);
    let last = std::cell::RefCell::new(Vec::new());
    eventually(&format!("{server} has the rules {wanted:?}"), async || {
        let Some(map) = maps.get_opt(&format!("{server}-proxy")).await? else { return Ok(None) };
        let file: Value = serde_json::from_str(map.data["data"]["proxy.json"].as_str().context("proxy.json")?)?;
        let rules = file["rules"].as_array().into_iter().flatten();
        let names: Vec<String> = rules.filter_map(|rule| Some(rule["name"].as_str()?.to_owned())).collect();
        let fits = names == wanted;
        last.replace(names);
        Ok(fits.then_some(()))
    })
    .await
    .with_context(|| format!("last seen: {:?}", last.borrow()))
}

async fn label(place: &Place<'_>, server: &str, team: Value) -> anyhow::Result<()> {
    let body = json!({"metadata": {"labels": {"team": team}}});
    place.servers().patch(server, &PatchParams::default(), &Patch::Merge(&body)).await?;
    Ok(())
}

/// Waits for a status of a policy.
async fn told(
    client: &Client,
    namespace: &str,
    name: &str,
    what: &str,
    holds: impl Fn(&McpAccessPolicyStatus) -> bool,
) -> anyhow::Result<McpAccessPolicyStatus> {
    let policies = policies(client, namespace);
    let last = std::cell::RefCell::new(None);
    eventually(what, async || {
        let status = policies.get(name).await?.status;
        last.replace(status.clone());
        Ok(status.filter(|status| holds(status)))
    })
    .await
    .with_context(|| format!("last seen: {:?}", last.borrow()))
}

fn found<'s>(status: &'s McpAccessPolicyStatus, kind: &str) -> (&'s str, &'s str) {
    let found = status.conditions.iter().find(|found| found.type_ == kind);
    found.map_or(("", ""), |found| (&found.status, &found.message))
}

async fn it_reaches_whom_it_names_or_selects_and_nobody_else(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "platform", named(&["one", "two"], &[rule("read")])).await?;
    let own = json!({"access": {"rules": [rule("own")]}, "auth": {"clientCertificates": {}}});
    for server in ["one", "two", "three"] {
        place.apply(server, own.clone()).await?;
    }
    for server in ["one", "two"] {
        ruled(client, namespace, server, &["own", "platform/read"]).await?;
    }
    ruled(client, namespace, "three", &["own"]).await?;
    let before = place.exists(Kind::Deployment, "one").await?.metadata.generation;
    say(client, namespace, "platform", named(&["two", "three"], &[rule("write")])).await?;
    ruled(client, namespace, "one", &["own"]).await?;
    for server in ["two", "three"] {
        ruled(client, namespace, server, &["own", "platform/write"]).await?;
    }
    say(client, namespace, "all", json!({"selector": {}, "rules": [rule("list")]})).await?;
    ruled(client, namespace, "one", &["own", "all/list"]).await?;
    ruled(client, namespace, "two", &["own", "all/list", "platform/write"]).await?;
    policies(client, namespace).delete("platform", &DeleteParams::default()).await?;
    ruled(client, namespace, "two", &["own", "all/list"]).await?;
    ensure!(place.exists(Kind::Deployment, "one").await?.metadata.generation == before, "its pods are restarted");
    // One of another namespace is no business of it.
    let elsewhere = bed.place().await?;
    elsewhere.apply("one", own).await?;
    ruled(client, &elsewhere.namespace, "one", &["own"]).await
}

async fn a_server_comes_under_it_and_leaves_it_by_its_labels(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "press", selected("press", &[rule("read")])).await?;
    place.apply("one", json!({})).await?;
    ruled(client, namespace, "one", &[]).await?;
    label(&place, "one", json!("press")).await?;
    ruled(client, namespace, "one", &["press/read"]).await?;
    told(client, namespace, "press", "it governs one", |status| status.server_count == Some(1)).await?;
    label(&place, "one", Value::Null).await?;
    ruled(client, namespace, "one", &[]).await?;
    told(client, namespace, "press", "it governs none", |status| status.server_count == Some(0)).await?;
    Ok(())
}

async fn what_makes_no_sense_leaves_the_last_that_did_in_force(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "good", named(&["one"], &[rule("list")])).await?;
    say(client, namespace, "platform", named(&["one"], &[rule("read")])).await?;
    place.apply("one", json!({})).await?;
    ruled(client, namespace, "one", &["good/list", "platform/read"]).await?;
    say(client, namespace, "platform", named(&["one"], &[senseless()])).await?;
    let status = told(client, namespace, "platform", "it is not accepted", |status| {
        status.observed_generation == Some(2) && found(status, "Accepted").0 == "False"
    })
    .await?;
    let message = found(&status, "Accepted").1;
    for part in ["spec.rules: rule \"platform/bad\": when: line 1, column", "generation 1 stays in force"] {
        ensure!(message.contains(part), "{message}");
    }
    ensure!(found(&status, "InForce").0 == "False", "{status:?}");
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    eventually("an event tells of it", async || {
        let all = events.list(&Default::default()).await?;
        Ok(all.items.into_iter().find(|event| {
            event.involved_object.name.as_deref() == Some("platform") && event.reason.as_deref() == Some("Invalid")
        }))
    })
    .await?;
    // All else goes on: the server's own change, and what another policy takes back.
    place.apply("one", json!({"access": {"rules": [rule("own")]}, "auth": {"clientCertificates": {}}})).await?;
    ruled(client, namespace, "one", &["own", "good/list", "platform/read"]).await?;
    say(client, namespace, "good", named(&["one"], &[])).await?;
    ruled(client, namespace, "one", &["own", "platform/read"]).await?;
    place.condition("one", "PolicyReady", "True", "Compiled").await?;
    say(client, namespace, "platform", named(&["one"], &[rule("write")])).await?;
    ruled(client, namespace, "one", &["own", "platform/write"]).await?;
    told(client, namespace, "platform", "it is accepted", |status| found(status, "Accepted").0 == "True").await?;
    Ok(())
}

async fn what_never_made_sense_leaves_servers_as_they_are(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "guard", selected("press", &[senseless()])).await?;
    place.apply("one", json!({})).await?;
    ruled(client, namespace, "one", &[]).await?;
    label(&place, "one", json!("press")).await?;
    let message = place.condition("one", "PolicyReady", "False", "PolicyNotAccepted").await?;
    ensure!(message.contains("\"guard\"") && message.contains("when: line 1"), "{message}");
    // It may refuse what others permit, so nothing more is permitted while nobody knows.
    say(client, namespace, "wide", json!({"selector": {}, "rules": [rule("everything")]})).await?;
    told(client, namespace, "wide", "it governs one", |status| status.server_count == Some(1)).await?;
    place.apply("two", json!({"workload": {"replicas": 1}})).await?;
    ruled(client, namespace, "two", &["wide/everything"]).await?;
    ruled(client, namespace, "one", &[]).await?;
    let status =
        told(client, namespace, "guard", "it says so", |status| found(status, "Accepted").0 == "False").await?;
    ensure!(found(&status, "Accepted").1.contains("left as they are"), "{status:?}");
    say(client, namespace, "guard", selected("press", &[rule("read")])).await?;
    ruled(client, namespace, "one", &["guard/read", "wide/everything"]).await?;
    place.condition("one", "PolicyReady", "True", "Compiled").await?;
    Ok(())
}

async fn after_a_restart_nothing_is_lost_of_what_makes_no_sense(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, mut operator) = bed.alone().await?;
    say(&client, &namespace, "guard", named(&["one"], &[rule("read")])).await?;
    apply(&client, &namespace, "one", json!({})).await?;
    ruled(&client, &namespace, "one", &["guard/read"]).await?;
    say(&client, &namespace, "guard", named(&["one"], &[senseless()])).await?;
    told(&client, &namespace, "guard", "it is not accepted", |status| found(status, "Accepted").0 == "False").await?;
    operator.take().context("an operator")?.stop()?;
    let next = Operator::start(OPERATOR_NAMESPACE, "after").await?;
    next.leads().await?;
    operator.replace(next);
    condition(&client, &namespace, "one", "PolicyReady", "False", "PolicyNotAccepted").await?;
    ruled(&client, &namespace, "one", &["guard/read"]).await
}

async fn it_reaches_servers_that_are_left_as_they_are(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "guard", json!({"selector": {}, "rules": [rule("read")]})).await?;
    let rules = json!({"access": {"rules": [rule("own")]}});
    let with = |members: Value| {
        let mut spec = rules.clone();
        spec.as_object_mut().into_iter().for_each(|spec| spec.extend(members.as_object().cloned().unwrap_or_default()));
        spec
    };
    for server in ["senseless", "suspended"] {
        place.apply(server, rules.clone()).await?;
        ruled(client, namespace, server, &["own", "guard/read"]).await?;
    }
    place.apply("senseless", with(json!({"transport": {"path": "/.cardea/x"}}))).await?;
    place.condition("senseless", "Accepted", "False", "Invalid").await?;
    place.apply("suspended", with(json!({"suspend": true, "transport": {"port": 3000}}))).await?;
    place.condition("suspended", "Ready", "False", "Suspended").await?;
    let before = place.exists(Kind::Deployment, "suspended").await?.metadata.generation;
    // Whoever writes servers keeps nothing out by that.
    let refusing =
        json!({"name": "stop", "effect": "Deny", "principals": [{"anyAuthenticated": true}], "tools": ["*"]});
    say(client, namespace, "guard", json!({"selector": {}, "rules": [refusing]})).await?;
    for server in ["senseless", "suspended"] {
        ruled(client, namespace, server, &["own", "guard/stop"]).await?;
    }
    ensure!(place.exists(Kind::Deployment, "suspended").await?.metadata.generation == before, "its pods are restarted");
    policies(client, namespace).delete("guard", &DeleteParams::default()).await?;
    for server in ["senseless", "suspended"] {
        ruled(client, namespace, server, &["own"]).await?;
    }
    Ok(())
}

async fn its_status_says_whom_it_governs_and_what_has_no_effect(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    let ops = json!({"name": "ops", "principals": [{"group": "ops"}], "tools": ["deploy"]});
    say(client, namespace, "platform", named(&["one", "nowhere"], &[ops])).await?;
    place.apply("one", json!({"auth": {"clientCertificates": {}}})).await?;
    let status = told(client, namespace, "platform", "both warnings", |status| status.warnings.len() == 2).await?;
    ensure!(status.server_count == Some(1) && status.servers[0].name == "one", "{status:?}");
    ensure!(found(&status, "Accepted").1.contains("2 warnings"), "{status:?}");
    let about = |server: &str| {
        status.warnings.iter().find(|warning| warning.server.as_deref() == Some(server)).context(server.to_owned())
    };
    let group = about("one")?;
    ensure!(group.rule.as_deref() == Some("ops"), "{group:?}");
    ensure!(group.message.contains("group never matches without spec.auth.issuers"), "{group:?}");
    ensure!(about("nowhere")?.message.contains("no such McpServer"), "{status:?}");
    // Nobody decides yet, so nobody decides by anything else.
    ensure!(found(&status, "InForce").0 == "True", "{status:?}");
    let server = place.servers().get("one").await?;
    ensure!(server.status.is_some_and(|status| status.access_policies == ["platform"]), "it names no policy");
    place.servers().delete("one", &DeleteParams::default()).await?;
    told(client, namespace, "platform", "it governs none", |status| status.server_count == Some(0)).await?;
    Ok(())
}

async fn nothing_is_written_at_rest(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (client, namespace) = (&place.client, &place.namespace);
    say(client, namespace, "platform", named(&["one"], &[rule("read")])).await?;
    place.apply("one", json!({})).await?;
    ruled(client, namespace, "one", &["platform/read"]).await?;
    place.condition("one", "WorkloadAvailable", "False", "Progressing").await?;
    eventually("its pod is in its status", async || {
        let status = place.servers().get("one").await?.status;
        Ok(status.and_then(|status| status.replicas).filter(|count| *count == 1))
    })
    .await?;
    told(client, namespace, "platform", "it governs one", |status| status.server_count == Some(1)).await?;
    let log = AuditLog::from_env()?;
    let mark = log.mark()?;
    let looked = json!({"metadata": {"labels": {"looked": "at"}}});
    policies(client, namespace).patch("platform", &PatchParams::default(), &Patch::Merge(&looked)).await?;
    label(&place, "one", json!("other")).await?;
    say(client, namespace, "another", named(&["two"], &[])).await?;
    told(client, namespace, "another", "the one said later is told of", |status| status.server_count == Some(0))
        .await?;
    let writes: Vec<String> = log
        .since(mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.uri.contains("fieldManager=cardea"))
        .filter(|request| request.namespace() == *namespace)
        .map(|request| format!("{} {}", request.verb, request.uri))
        .filter(|request| !request.contains("/another"))
        .collect();
    ensure!(writes.is_empty(), "{writes:#?}");
    Ok(())
}
