//! Tools of a server that runs: what is approved may be used, and what rules get wrong about them is told.

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::{McpAccessPolicy, McpServerStatus, RuleWarning};
use cardea_tests::cluster::eventually;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::agent::Caller;
use crate::bed::{Bed, Place, rule};

async fn told(
    place: &Place<'_>,
    what: &str,
    holds: impl Fn(&McpServerStatus) -> bool,
) -> anyhow::Result<McpServerStatus> {
    eventually(what, async || {
        let server = place.servers().get("web").await?;
        let status = server.status.unwrap_or_default();
        Ok((status.observed_generation == server.metadata.generation && holds(&status)).then_some(status))
    })
    .await
}

pub(crate) async fn what_is_not_as_it_was_approved_is_refused_until_it_is_approved(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("tools").await?;
    let rules = json!({"rules": [rule("planner", "whoami"), rule("other", "whoamy")]});
    let spec = |digest: Option<&str>| {
        let pinning = match digest {
            None => json!({"mode": "Warn"}),
            Some(digest) => json!({"mode": "Enforce", "digests": [{"name": "whoami", "digest": digest}]}),
        };
        place.whoami(json!({"access": rules, "tools": {"pinning": pinning}}))
    };
    let pod = place.served("web", spec(None)).await?;
    let policies = Api::<McpAccessPolicy>::namespaced(place.made.client.clone(), place.namespace);
    let shared = json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": "shared"},
        "spec": {"targetRefs": [{"name": "web"}], "rules": [rule("third", "whoaim")]},
    });
    policies.patch("shared", &PatchParams::apply("a-person").force(), &Patch::Apply(&shared)).await?;
    let planner = Caller::new(&place, "web", Some(&place.made.agents.agent("planner")?)).await?;
    ensure!(planner.call("whoami").await?.status == 200, "a warning refuses nothing");
    place.condition("web", "ToolsPinned", "False", "ToolsChanged").await?;
    place.warned("web", "ToolsChanged").await?;
    let status = told(&place, "its tools and the slip in a rule are told", |status| {
        !status.tools.is_empty() && !status.warnings.is_empty()
    })
    .await?;
    let warning = status.warnings.first().context("a warning")?;
    ensure!(warning.rule.as_deref() == Some("other") && warning.message.contains("\"whoamy\""), "{warning:?}");
    eventually("the slip in a policy stands in its status", async || {
        let warnings = policies.get("shared").await?.status.unwrap_or_default().warnings;
        let told = |warning: &RuleWarning| {
            (warning.server.as_deref(), warning.rule.as_deref()) == (Some("web"), Some("third"))
                && warning.message.contains("\"whoaim\"")
        };
        Ok(warnings.iter().any(told).then_some(()))
    })
    .await?;
    let whoami = status.tools.iter().find(|tool| tool.name == "whoami").context("the tool")?;
    let digest = whoami.digest.clone().context("its digest")?;

    place.apply("web", spec(Some(&format!("sha256:{}", "0".repeat(64))))).await?;
    eventually("another tool than was approved is refused", async || {
        Ok((planner.call("whoami").await?.status == 403).then_some(()))
    })
    .await?;
    place.apply("web", spec(Some(&digest))).await?;
    eventually("the approved tool is used", async || Ok((planner.call("whoami").await?.status == 200).then_some(())))
        .await?;
    place.condition("web", "ToolsPinned", "True", "AsApproved").await?;
    place.is_untouched("web", &pod).await
}
