//! Secrets on their way into the server's container, and nowhere else.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::ensure;
use cardea_tests::kubectl::apply;
use kube::ResourceExt as _;
use serde_json::json;

use crate::bed::Bed;
use crate::pods::{self, once_synced};

/// Values that stand nowhere else on the node.
const FORMER: &str = "former-6f1d2b";
const LATTER: &str = "latter-9c3e4a";
const KEY: &str = "key-5a7d8e";

pub(crate) async fn they_reach_the_server_alone_and_follow_their_source(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("secrets").await?;
    let database = json!([{
        "name": "database",
        "from": {"kubernetesSecret": {"name": "notes"}},
        "keys": [{"key": "password", "file": "password"}, {"key": "api-key", "env": "API_KEY"}],
    }]);
    let secret = |password: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "notes", "namespace": place.namespace},
            "stringData": {"password": password, "api-key": KEY},
        })
    };
    place.apply("web", place.node(json!({"secrets": database}))).await?;
    let found = place.condition("web", "SecretsReady", "False", "SecretNotFound").await?;
    ensure!(found.message.contains("notes"), "the Secret is not named: {}", found.message);
    place.condition("web", "Ready", "False", "SecretNotFound").await?;
    place.warned("web", "SecretNotFound").await?;

    apply(&[secret(FORMER)])?;
    place.condition("web", "Ready", "True", "Ready").await?;
    let pod = place.pod("web").await?;
    let name = pod.name_any();
    let look = "
        const fs = require('fs'), file = '/run/secrets/database/password', stat = fs.statSync(file);
        const permissions = (stat.mode & 0o777).toString(8), kind = fs.statfsSync(file).type.toString(16);
        console.log(JSON.stringify({text: fs.readFileSync(file, 'utf8'), permissions, kind, env: process.env.API_KEY}));
    ";
    let seen = pods::node(place.namespace, &name, look, &[])?;
    const TMPFS: &str = "1021994";
    let expected = json!({"text": FORMER, "permissions": "440", "kind": TMPFS, "env": KEY});
    ensure!(seen == expected, "the server sees {seen}");
    let server = BTreeSet::from(["node".to_owned()]);
    let holders = processes("environ", &format!("API_KEY={KEY}"))?;
    ensure!(holders == server, "in the environment of {holders:?}");
    let holders = processes("mountinfo", "/run/secrets/database")?;
    ensure!(holders == server, "mounted for {holders:?}");

    apply(&[secret(LATTER)])?;
    once_synced(&pod, "the file follows the Secret", async || {
        let seen = pods::node(place.namespace, &name, look, &[])?;
        Ok((seen["text"] == LATTER).then_some(()))
    })
    .await?;
    place.is_untouched("web", &pod).await
}

/// The programs on this machine that have a text in a file of theirs under `/proc`.
fn processes(file: &str, text: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut proxies = 0;
    for process in std::fs::read_dir("/proc")? {
        let folder = process?.path();
        let Ok(program) = std::fs::read_link(folder.join("exe")) else { continue };
        // One that ended meanwhile has nothing any more.
        let Ok(content) = std::fs::read(folder.join(file)) else { continue };
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        proxies += usize::from(program == Path::new("/cardea-proxy"));
        if String::from_utf8_lossy(&content).contains(text) {
            found.insert(name);
        }
    }
    ensure!(proxies > 0, "the proxies cannot be looked into from here");
    Ok(found)
}
