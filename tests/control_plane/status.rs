//! What the status says, and that it is written no more than it must be.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_operator::children::Kind;
use cardea_tests::audit::AuditLog;
use cardea_tests::cluster::eventually;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, Place, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "status":
        every_condition_is_there_and_of_this_generation,
        an_image_that_cannot_be_pulled_is_named_once,
        openings_show_in_the_posture,
        a_server_nobody_answers_for_is_not_ready_and_has_no_address,
        suspended_means_left_alone,
    ]
}

async fn conditions(place: &Place<'_>, server: &str) -> anyhow::Result<Vec<(String, String, Option<i64>)>> {
    let status = place.servers().get(server).await?.status.context("no status")?;
    Ok(status
        .conditions
        .into_iter()
        .map(|condition| (condition.type_, condition.status, condition.observed_generation))
        .collect())
}

async fn every_condition_is_there_and_of_this_generation(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    place.condition("web", "WorkloadAvailable", "False", "Progressing").await?;
    place.apply("web", json!({"transport": {"port": 3000}})).await?;
    eventually("the second generation is observed", async || {
        let status = place.servers().get("web").await?.status;
        Ok(status.filter(|status| status.observed_generation == Some(2)))
    })
    .await?;
    let found = conditions(&place, "web").await?;
    let kinds: Vec<&str> = found.iter().map(|(kind, _, _)| kind.as_str()).collect();
    let expected = [
        "Ready",
        "Accepted",
        "CertificateReady",
        "SecretsReady",
        "NetworkIsolated",
        "PolicyReady",
        "WorkloadAvailable",
        "Verified",
        "LoginReady",
        "ToolsPinned",
        "Hardened",
        "Reconciling",
        "Stalled",
    ];
    ensure!(kinds == expected, "{kinds:?}");
    ensure!(found.iter().all(|(_, _, generation)| *generation == Some(2)), "{found:?}");
    Ok(())
}

/// Plays the kubelet: says of the server's one pod what a kubelet would.
async fn kubelet_says(place: &Place<'_>, server: &str, waiting: &Value) -> anyhow::Result<()> {
    let pods = Api::<Pod>::namespaced(place.client.clone(), &place.namespace);
    let ours = ListParams::default().labels(&format!("cardea.dev/server={server}"));
    let pod = eventually("a pod", async || Ok(pods.list(&ours).await?.items.pop())).await?;
    let name = pod.metadata.name.context("name")?;
    let status = json!({"status": {"phase": "Pending", "containerStatuses": [{
        "name": "server", "image": "registry.example/server:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": waiting},
    }]}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn an_image_that_cannot_be_pulled_is_named_once(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    kubelet_says(&place, "web", &json!({"reason": "ErrImagePull", "message": "try 1"})).await?;
    let message = place.condition("web", "WorkloadAvailable", "False", "ImagePullFailed").await?;
    ensure!(message.contains("registry.example/server:1") && message.contains("pullSecrets"), "{message}");
    place.condition("web", "Ready", "False", "ImagePullFailed").await?;
    // The kubelet goes back and forth between its two words for it; the status does not.
    let log = AuditLog::from_env()?;
    let mark = log.mark()?;
    for attempt in 0..5 {
        let reason = if attempt % 2 == 0 { "ImagePullBackOff" } else { "ErrImagePull" };
        kubelet_says(&place, "web", &json!({"reason": reason, "message": format!("try {attempt}")})).await?;
    }
    kubelet_says(&place, "web", &json!({"reason": "CrashLoopBackOff"})).await?;
    place.condition("web", "WorkloadAvailable", "False", "CrashLoop").await?;
    let writes = log
        .since(mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.is_operators() && request.namespace() == place.namespace)
        .count();
    ensure!(writes == 1, "{writes} writes for one change");
    Ok(())
}

async fn openings_show_in_the_posture(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    place.condition("web", "Hardened", "True", "Closed").await?;
    let rules = json!([{"name": "all", "principals": [{"anyAuthenticated": true}], "tools": ["*"]}]);
    place.apply("web", json!({"audit": {"level": "None"}, "access": {"rules": rules}})).await?;
    let message = place.condition("web", "Hardened", "False", "Opened").await?;
    ensure!(message.contains("AuditOff") && message.contains("EveryToolToAll"), "{message}");
    Ok(())
}

async fn a_server_nobody_answers_for_is_not_ready_and_has_no_address(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    place.condition("web", "Verified", "False", "Pending").await?;
    let status = place.servers().get("web").await?.status.context("status")?;
    ensure!(status.address.is_none() && status.certificate.is_some(), "{status:?}");
    Ok(())
}

async fn suspended_means_left_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    let before = place.exists(Kind::Deployment, "web").await?.metadata.generation;
    place.apply("web", json!({"suspend": true, "workload": {"args": ["--new"]}})).await?;
    place.condition("web", "Ready", "False", "Suspended").await?;
    ensure!(place.exists(Kind::Deployment, "web").await?.metadata.generation == before, "it was changed");
    place.apply("web", json!({"workload": {"args": ["--new"]}})).await?;
    eventually("it is changed now", async || {
        Ok((place.exists(Kind::Deployment, "web").await?.metadata.generation != before).then_some(()))
    })
    .await
}
