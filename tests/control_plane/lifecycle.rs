//! The operator itself: started, stopped, twice at once, and behind the times.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::McpServer;
use cardea_operator::authority::read_or_create;
use cardea_operator::children::Kind;
use cardea_pki::TrustDomain;
use cardea_tests::audit::AuditLog;
use cardea_tests::cluster::{self, eventually};
use cardea_tests::operator::Operator;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use libtest_mimic::Trial;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bed::{Bed, OPERATOR_NAMESPACE, apply, children_of, condition, install_crds, manifest, objects, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "lifecycle":
        a_restarted_operator_writes_nothing,
        what_was_changed_meanwhile_is_set_right,
        a_second_operator_stands_by_and_takes_over,
        an_authority_is_made_once,
        a_malformed_object_does_not_stop_the_others,
        the_admin_endpoints_answer,
    ]
}

async fn all_exist(client: &kube::Client, namespace: &str, server: &str) -> anyhow::Result<()> {
    for (kind, name) in children_of(server) {
        let api = objects(client, namespace, kind);
        eventually(&format!("{name} exists"), async || Ok(api.get_opt(&name).await?)).await?;
    }
    Ok(())
}

/// Waits until a server's status tells all there is to tell without a node: its one pod is wanted and does not run.
async fn at_rest(client: &kube::Client, namespace: &str, server: &str) -> anyhow::Result<()> {
    let servers = Api::<McpServer>::namespaced(client.clone(), namespace);
    eventually(&format!("{server}'s pod is in its status"), async || {
        Ok(servers.get(server).await?.status.and_then(|status| status.replicas).filter(|count| *count == 1))
    })
    .await?;
    condition(client, namespace, server, "WorkloadAvailable", "False", "Progressing").await?;
    Ok(())
}

async fn a_restarted_operator_writes_nothing(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, mut operator) = bed.alone().await?;
    for number in 0..5 {
        apply(&client, &namespace, &format!("web{number}"), json!({})).await?;
    }
    for number in 0..5 {
        let server = format!("web{number}");
        all_exist(&client, &namespace, &server).await?;
        at_rest(&client, &namespace, &server).await?;
    }
    operator.take().context("an operator")?.stop()?;
    let log = AuditLog::from_env()?;
    let mark = log.mark()?;
    let next = Operator::start(OPERATOR_NAMESPACE, "restarted").await?;
    next.leads().await?;
    // A server made after the start is served after those that were there: then they have been looked at.
    apply(&client, &namespace, "last", json!({})).await?;
    all_exist(&client, &namespace, "last").await?;
    at_rest(&client, &namespace, "last").await?;
    operator.replace(next);
    let writes: Vec<String> = log
        .since(mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.is_operators())
        .filter(|request| !request.uri.contains("/last"))
        .map(|request| format!("{} {}", request.verb, request.uri))
        .collect();
    ensure!(writes.is_empty(), "{writes:#?}");
    Ok(())
}

async fn what_was_changed_meanwhile_is_set_right(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, mut operator) = bed.alone().await?;
    apply(&client, &namespace, "web", json!({})).await?;
    all_exist(&client, &namespace, "web").await?;
    operator.take().context("an operator")?.stop()?;
    let policies = objects(&client, &namespace, Kind::NetworkPolicy);
    let opened = json!({"spec": {"ingress": [{}]}});
    policies.patch("web", &PatchParams::default(), &Patch::Merge(&opened)).await?;
    objects(&client, &namespace, Kind::Service).delete("web", &Default::default()).await?;
    let next = Operator::start(OPERATOR_NAMESPACE, "later").await?;
    next.leads().await?;
    operator.replace(next);
    eventually("the policy is closed again", async || {
        Ok(policies.get("web").await?.data["spec"]["ingress"][0].get("from").cloned())
    })
    .await?;
    all_exist(&client, &namespace, "web").await
}

async fn a_second_operator_stands_by_and_takes_over(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, mut operator) = bed.alone().await?;
    let second = Operator::start(OPERATOR_NAMESPACE, "second").await?;
    apply(&client, &namespace, "web", json!({})).await?;
    all_exist(&client, &namespace, "web").await?;
    ensure!(!second.log_has("\"leads\"")?, "two operators lead");
    // The first gives its lease back, so the second need not wait for it to run out.
    operator.take().context("an operator")?.stop()?;
    second.leads().await?;
    operator.replace(second);
    apply(&client, &namespace, "web2", json!({})).await?;
    all_exist(&client, &namespace, "web2").await
}

async fn an_authority_is_made_once(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let trust_domain = TrustDomain::parse("cluster.local")?;
    let racers = (0..16).map(|_| read_or_create(&place.client, &place.namespace, &trust_domain, Timestamp::now()));
    let ids: Vec<String> = try_join_all(racers).await?.iter().map(|authority| authority.id().to_owned()).collect();
    ensure!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    Ok(())
}

async fn a_malformed_object_does_not_stop_the_others(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, operator) = bed.alone().await?;
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    let name = "mcpservers.cardea.dev";
    // Another version of the product may have left something that this one cannot read.
    let loose = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema",
        "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}]);
    crds.patch(name, &PatchParams::default(), &Patch::<()>::Json(serde_json::from_value(loose)?)).await?;
    let resource = ApiResource::erase::<McpServer>(&());
    let servers = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
    let malformed = serde_json::from_value::<DynamicObject>(manifest("malformed", json!({"source": 5})))?;
    eventually("the API server takes it", async || Ok(servers.create(&PostParams::default(), &malformed).await.ok()))
        .await?;
    install_crds(&client).await?;
    apply(&client, &namespace, "web", json!({})).await?;
    all_exist(&client, &namespace, "web").await?;
    let leader = operator.as_ref().context("an operator")?;
    eventually("the log names it", async || Ok(leader.log_has("malformed")?.then_some(()))).await?;
    let events = Api::<Event>::namespaced(client.clone(), &namespace);
    eventually("an event says so", async || {
        let all = events.list(&Default::default()).await?.items;
        Ok(all.into_iter().find(|event| {
            event.involved_object.name.as_deref() == Some("malformed") && event.reason.as_deref() == Some("Invalid")
        }))
    })
    .await?;
    servers.delete("malformed", &Default::default()).await?;
    Ok(())
}

async fn the_admin_endpoints_answer(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, operator) = bed.alone().await?;
    apply(&client, &namespace, "web", json!({})).await?;
    all_exist(&client, &namespace, "web").await?;
    let admin = operator.as_ref().context("an operator")?.admin()?;
    let get = async |path: &str| cluster::http_get(&admin, path).await;
    ensure!(get("/healthz").await?.starts_with("HTTP/1.1 200"));
    ensure!(get("/readyz").await?.starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics").await?;
    for name in [
        "cardea_operator_writes_total{kind=\"Deployment\",verb=\"apply\"}",
        "cardea_operator_leader 1",
        "cardea_operator_reconciles_total",
    ] {
        ensure!(metrics.contains(name), "no {name} in {metrics}");
    }
    ensure!(get("/debug").await?.starts_with("HTTP/1.1 404"));
    Ok(())
}
