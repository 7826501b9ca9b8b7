//! Client certificates as identities.

use anyhow::ensure;
use serde_json::json;

use crate::agent::{Agents, Caller};
use crate::bed::{Bed, SYSTEM, rule, spiffe_id};

pub(crate) async fn a_foreign_authority_vouches_for_its_own_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("identities").await?;
    let agents = &place.made.agents;
    let within = "spiffe://cluster.local/ns/agents/sa/planner";
    let insider = json!({"name": "insider", "principals": [{"spiffeId": within}], "tools": ["*"]});
    place.served("web", place.whoami(json!({"access": {"rules": [rule("planner", "whoami"), insider]}}))).await?;

    let known = Caller::new(&place, "web", Some(&agents.agent("planner")?)).await?.call("whoami").await?;
    ensure!(known.status == 200 && known.body.contains(&spiffe_id("planner")), "its own agent: {known:?}");
    let other = Caller::new(&place, "web", Some(&agents.agent("other")?)).await?.call("whoami").await?;
    ensure!(other.status == 403, "an agent that no rule names: {other:?}");

    let evidence = agents.sign("cluster.local", "agents", "planner")?;
    let posing = Caller::new(&place, "web", Some(&evidence)).await?.call("whoami").await?;
    ensure!(posing.status == 401, "one that claims to be of the trust domain itself: {posing:?}");
    let evidence = agents.sign("cluster.local", SYSTEM, "cardea-operator")?;
    let posing = Caller::new(&place, "web", Some(&evidence)).await?.report().await?;
    ensure!([401, 403, 404].contains(&posing.status), "one that claims to be the operator: {posing:?}");

    let unknown = Agents::new("agents.example")?.agent("planner")?;
    let refused = Caller::new(&place, "web", Some(&unknown)).await?.call("whoami").await;
    ensure!(refused.is_err(), "the same name from an unknown authority: {refused:?}");
    let refused = Caller::new(&place, "web", None).await?.call("whoami").await;
    let why = refused.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(why.contains("CertificateRequired"), "no certificate at all: {refused:?}");
    Ok(())
}
