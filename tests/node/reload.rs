//! What the running proxy takes up without a restart.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use crate::agent::{Caller, Traffic};
use crate::bed::{Bed, rule, spiffe_id};
use crate::pods::once_synced;

pub(crate) async fn rules_change_in_the_running_proxy(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("rules").await?;
    let pod = place.served("web", place.whoami(json!({"access": {"rules": [rule("planner", "whoami")]}}))).await?;
    let planner = Caller::new(&place, "web", Some(&place.made.agents.agent("planner")?)).await?;
    let other = Caller::new(&place, "web", Some(&place.made.agents.agent("other")?)).await?;
    let statuses = async || anyhow::Ok([planner.call("whoami").await?.status, other.call("whoami").await?.status]);
    ensure!(statuses().await? == [200, 403], "before: {:?}", statuses().await?);

    place.apply("web", place.whoami(json!({"access": {"rules": [rule("other", "whoami")]}}))).await?;
    once_synced(&pod, "the new rules are enforced", async || Ok((statuses().await? == [403, 200]).then_some(())))
        .await?;
    place.condition("web", "PolicyReady", "True", "InForce").await?;
    place.is_untouched("web", &pod).await
}

pub(crate) async fn a_certificate_changes_under_load(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("rotation").await?;
    let pod = place.served("web", place.whoami(json!({}))).await?;
    let planner = Caller::new(&place, "web", Some(&place.made.agents.agent("planner")?)).await?;
    let told = async || {
        let status = place.servers().get("web").await?.status;
        anyhow::Ok(status.and_then(|status| status.certificate).context("no certificate in the status")?.serial)
    };
    let former = told().await?;
    let served = planner.call("whoami").await?.serial;
    ensure!(served == former, "the proxy serves {served}, the status says {former}");

    let traffic = Traffic::start(planner.open().await?, "whoami", spiffe_id("planner"));
    let secrets = Api::<Secret>::namespaced(place.made.client.clone(), place.namespace);
    secrets.delete("web-tls", &DeleteParams::default()).await?;
    once_synced(&pod, "another certificate is served, and the status says so", async || {
        let (served, told) = (planner.call("whoami").await?.serial, told().await?);
        Ok((served != former && served == told).then_some(()))
    })
    .await?;
    traffic.end().await?;
    place.is_untouched("web", &pod).await
}
