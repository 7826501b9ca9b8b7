//! How a change of rules reaches the proxies that run: by the operator's word to the kubelet, since the kubelet's own next
//! look may be a minute and a half away.

use std::time::{Duration, Instant};

use anyhow::ensure;
use cardea_api::v1alpha1::McpAccessPolicy;
use cardea_operator::nudge::ANNOTATION;
use cardea_tests::cluster::eventually;
use kube::ResourceExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::agent::Caller;
use crate::bed::{Bed, Place, rule};

/// Changes that are timed.
const CHANGES: usize = 60;

async fn grant(place: &Place<'_>, agent: &str) -> anyhow::Result<i64> {
    let policies = Api::<McpAccessPolicy>::namespaced(place.made.client.clone(), place.namespace);
    let body = json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": "platform"},
        "spec": {"selector": {}, "rules": [rule(agent, "whoami")]},
    });
    let policy = policies.patch("platform", &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?;
    Ok(policy.metadata.generation.unwrap_or_default())
}

/// A server without rules of its own, and two who call it.
async fn callers(place: &Place<'_>) -> anyhow::Result<[Caller; 2]> {
    grant(place, "planner").await?;
    place.served("web", place.whoami(json!({"access": null}))).await?;
    let agents = &place.made.agents;
    let caller = async |name| Caller::new(place, "web", Some(&agents.agent(name)?)).await;
    Ok([caller("planner").await?, caller("other").await?])
}

pub(crate) async fn a_revoked_grant_is_refused_and_nothing_restarts(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("propagation").await?;
    let [planner, other] = callers(&place).await?;
    let pod = place.pod("web").await?;
    let mut generation = 0;
    for (agent, wanted) in [("planner", [200, 403]), ("other", [403, 200]), ("planner", [200, 403])] {
        generation = grant(&place, agent).await?;
        eventually(&format!("{agent} may, and nobody else"), async || {
            let statuses = [planner.call("whoami").await?.status, other.call("whoami").await?.status];
            Ok((statuses == wanted).then_some(()))
        })
        .await?;
    }
    let policies = Api::<McpAccessPolicy>::namespaced(place.made.client.clone(), place.namespace);
    let status = eventually("the policy says that it is in force", async || {
        let status = policies.get("platform").await?.status.unwrap_or_default();
        let in_force = |kind: &str| status.conditions.iter().any(|found| found.type_ == kind && found.status == "True");
        let current = status.observed_generation == Some(generation) && in_force("InForce");
        Ok((current && status.servers.iter().any(|server| server.generation == Some(generation))).then_some(status))
    })
    .await?;
    ensure!(status.server_count == Some(1) && status.warnings.is_empty(), "{status:?}");
    eventually("the server says that its proxy is up to date", async || {
        let status = place.servers().get("web").await?.status.unwrap_or_default();
        Ok((status.proxies.len() == 1 && status.proxies.iter().all(|proxy| proxy.current)).then_some(()))
    })
    .await?;
    ensure!(place.pod("web").await?.annotations().contains_key(ANNOTATION), "the kubelet was not told");
    place.is_untouched("web", &pod).await
}

/// `make bench-propagation`: time from the API server's answer to a change until the first call that is decided by it.
#[expect(clippy::print_stdout, reason = "printing figures is what it is for")]
pub(crate) async fn figures(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("propagation").await?;
    let [planner, other] = callers(&place).await?;
    let mut took = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let (agent, granted, revoked) =
            if change % 2 == 0 { ("other", &other, &planner) } else { ("planner", &planner, &other) };
        grant(&place, agent).await?;
        let since = Instant::now();
        while revoked.call("whoami").await?.status != 403 {
            ensure!(since.elapsed() < Duration::from_secs(120), "never revoked");
        }
        took.push(since.elapsed().as_secs_f64());
        ensure!(granted.call("whoami").await?.status == 200, "revoked, and not granted");
    }
    took.sort_by(f64::total_cmp);
    for (name, share) in [("p50", 0.50), ("p90", 0.90), ("p99", 0.99), ("max", 1.0)] {
        let index = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1;
        println!("bench: propagation_{name}={:.2} s", took[index]);
    }
    println!("bench: propagation_changes={} changes", took.len());
    Ok(())
}
