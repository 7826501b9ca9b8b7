//! The operator is not in the way of a call.

use anyhow::{Context as _, ensure};
use cardea_tests::kubectl::kubectl;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::agent::{Caller, Traffic};
use crate::bed::{Bed, Place, SYSTEM, rule, spiffe_id};

pub(crate) async fn its_restart_is_not_noticed(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.alone("restart").await?;
    let pod = place.served("web", place.whoami(json!({}))).await?;
    let planner = Caller::new(&place, "web", Some(&place.made.agents.agent("planner")?)).await?;
    let traffic = Traffic::start(planner.open().await?, "whoami", spiffe_id("planner"));
    let since = ready_since(&place).await?;

    let label = "--selector=app.kubernetes.io/name=cardea-operator";
    kubectl(&["delete", "pods", "--namespace", SYSTEM, label, "--wait"])?;
    // A new operator is at work when it has answered a new spec, and knows what the proxy says.
    place.apply("web", place.whoami(json!({"access": {"rules": [rule("planner", "who*")]}}))).await?;
    place.condition("web", "Ready", "True", "Ready").await?;
    traffic.end().await?;
    ensure!(ready_since(&place).await? == since, "Ready turned meanwhile");
    place.is_untouched("web", &pod).await
}

async fn ready_since(place: &Place<'_>) -> anyhow::Result<Time> {
    let ready = place.condition("web", "Ready", "True", "Ready").await.context("not ready")?;
    Ok(ready.last_transition_time)
}
