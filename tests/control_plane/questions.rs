//! `cardea can-i` and `cardea explain` about a server of the cluster, asked with the rights of whoever asks.

use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::ensure;
use cardea_api::v1alpha1::McpAuthPolicy;
use cardea_tests::cluster::setting;
use cardea_tests::operator::binary;
use kube::api::{Api, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bed::{Bed, Place, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![bed, runtime, "questions": what_the_cluster_holds_is_what_is_asked, a_server_that_is_not_there_is_named]
}

/// Exit status, and all that is said.
fn cardea(place: &Place<'_>, words: &[&str]) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(binary("cardea")?);
    let Output { status, stdout, stderr } = command.args(words).args(["-n", &place.namespace]).output()?;
    Ok((status.code(), String::from_utf8([stdout, stderr].concat())?))
}

async fn what_the_cluster_holds_is_what_is_asked(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let policy = json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAuthPolicy", "metadata": {"name": "corp"},
        "spec": {"issuers": [{"name": "corp", "url": "https://login.example.com"}]},
    });
    let policies = Api::<McpAuthPolicy>::namespaced(place.client.clone(), &place.namespace);
    policies.patch("corp", &PatchParams::apply("a-person").force(), &Patch::Apply(&policy)).await?;
    let rule = json!({
        "name": "staging", "principals": [{"group": "dev", "issuer": "corp"}], "tools": ["deploy"],
        "arguments": [{"path": "/env", "in": ["staging", "test"]}],
    });
    place.served("web", json!({"auth": {"policyRef": {"name": "corp"}}, "access": {"rules": [rule]}})).await?;

    let ask = ["can-i", "--server", "web", "--as", "alice", "--group", "dev", "deploy", "--args"];
    let (code, says) = cardea(&place, &[&ask[..], &[r#"{"env":"staging"}"#]].concat())?;
    ensure!(code == Some(0) && says == "yes: rule \"staging\" allows it\n", "{says}");
    let (code, says) = cardea(&place, &[&ask[..], &[r#"{"env":"production"}"#]].concat())?;
    ensure!(code == Some(1) && says.contains("nearest: rule \"staging\""), "{says}");
    let (code, says) = cardea(&place, &["explain", "--server", "web"])?;
    ensure!(code == Some(0) && says.contains("group dev of corp  if\n"), "{says}");

    // As a plugin it is told the same.
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(binary("cardea")?, folder.path().join("kubectl-cardea"))?;
    let path = format!("{}:{}", folder.path().display(), setting("PATH").unwrap_or_default());
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["cardea", "explain", "--server", "web", "-n", &place.namespace]).env("PATH", path);
    let told = kubectl.output()?;
    ensure!(told.stdout == says.as_bytes(), "{}", String::from_utf8_lossy(&told.stderr));
    Ok(())
}

async fn a_server_that_is_not_there_is_named(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let (code, says) = cardea(&place, &["can-i", "--server", "nothing", "--as", "alice", "deploy"])?;
    let named = says.contains("no McpServer \"nothing\" in the namespace") && says.contains(&place.namespace);
    ensure!(code == Some(2) && named, "{says}");
    Ok(())
}
