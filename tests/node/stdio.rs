//! The whole way of a secret: from Vault into a server that nobody here wrote, which speaks stdio and takes the token from
//! its environment; rotations while it is called; and that the value stands nowhere else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cardea_tests::cluster::eventually;
use cardea_tests::kubectl::apply;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::agent::{Caller, Session};
use crate::bed::{Bed, Place, rule};
use crate::leaks::Canaries;
use crate::vault::Vault;

/// Begins every value, with letters that base64 and URLs write otherwise.
const CANARY: &str = "c4n4ry/1f?";
const PLANTED: &str = "pl4nted/7b?";
const PATH: &str = "mcp/tracker";
/// The tool of the published server that tells its environment.
const TOOL: &str = "get-env";
const VARIABLE: &str = "TRACKER_TOKEN";
const ROTATIONS: u32 = 20;
/// Pause between two calls: about fifty a second.
const BEAT: Duration = Duration::from_millis(20);

fn value(version: u32) -> String {
    format!("{CANARY}{version:03}!")
}

fn spec(place: &Place<'_>) -> Value {
    let program = "/app/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    json!({
        "source": {"image": place.made.node},
        "transport": {"type": "Stdio", "stdio": {"command": ["/bin/node", program, "stdio"]}},
        "tls": {"clientCaRef": {"name": "agents-ca"}},
        "auth": {"clientCertificates": {}},
        "access": {"rules": [rule("planner", TOOL)]},
        "audit": {"level": "Full"},
        "secrets": [{
            "name": "tracker",
            "storeRef": {"name": "tracker"},
            "from": {"vault": {"mount": "secret", "path": PATH}},
            "keys": [{"key": "token", "env": VARIABLE}, {"key": "token", "file": "token"}],
            "refreshSeconds": 1,
        }],
    })
}

pub(crate) async fn a_token_reaches_the_server_follows_vault_and_stands_nowhere_else(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("stores").await?;
    let vault = Vault::start(&place).await?;
    vault.admit(&place, "tracker", PATH).await?;

    // No secret, no server; and it is said why.
    place.apply("tracker", spec(&place)).await?;
    place.condition("tracker", "SecretsReady", "False", "NotFound").await?;

    vault.put(PATH, json!({"token": value(1)})).await?;
    place.condition("tracker", "Ready", "True", "Ready").await?;
    place.condition("tracker", "SecretsReady", "True", "AllDelivered").await?;
    let pod = place.pod("tracker").await?;
    let caller = Caller::new(&place, "tracker", Some(&place.made.agents.agent("planner")?)).await?;
    let session = caller.open().await?;
    ensure!(token(&session).await? == value(1), "the server has another token");

    // Rotations under calls.
    let calls = Calls::start(caller.open().await?);
    for version in 2..=ROTATIONS + 1 {
        vault.put(PATH, json!({"token": value(version)})).await?;
        let since = Instant::now();
        eventually("the new token is in the server", async || {
            Ok((token(&session).await? == value(version)).then_some(()))
        })
        .await?;
        ensure!(since.elapsed() < Duration::from_secs(11), "it took {:?}", since.elapsed());
    }
    let seen = calls.end().await?;
    ensure!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "an older token after a newer one: {seen:?}");
    place.is_untouched("tracker", &pod).await?;
    let status = place.servers().get("tracker").await?.status.unwrap_or_default();
    let told = json!(status.secrets);
    eventually("the status names the version", async || {
        let status = place.servers().get("tracker").await?.status.unwrap_or_default();
        Ok((json!(status.secrets)[0]["version"] == (ROTATIONS + 1).to_string()).then_some(()))
    })
    .await
    .with_context(|| format!("it says {told}"))?;

    // A store that is down changes nothing for those who have what they need.
    vault.seal().await?;
    place.condition("tracker", "SecretsReady", "True", "StoreUnavailable").await?;
    ensure!(token(&session).await? == value(ROTATIONS + 1), "the outage took the token");
    ensure!(caller.call(TOOL).await?.status == 200, "the outage lets nobody in");

    let found = Canaries::new(&[CANARY])?.found(std::slice::from_ref(&pod)).await?;
    ensure!(found.is_empty(), "the token stands in {found:#?}");
    a_planted_leak_is_found(&place, &pod).await
}

/// What the server was given, as it tells itself.
async fn token(session: &Session) -> anyhow::Result<String> {
    let reply = session.call(TOOL).await?;
    ensure!(reply.status == 200, "{reply:?}");
    let text = reply.body.replace('\\', "");
    let start = text.find(CANARY).with_context(|| format!("no token in {text}"))?;
    Ok(text[start..].chars().take(CANARY.len() + 4).collect())
}

/// Calls that go on while tokens change. Each must succeed with a token that there was.
struct Calls {
    stop: CancellationToken,
    calls: tokio::task::JoinHandle<anyhow::Result<Vec<String>>>,
}

impl Calls {
    fn start(session: Session) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let calls = tokio::spawn(async move {
            let mut beat = tokio::time::interval(BEAT);
            let mut seen = Vec::new();
            while !stopped.is_cancelled() {
                beat.tick().await;
                let call = seen.len();
                let token = token(&session).await.with_context(|| format!("call {call}"))?;
                ensure!((1..=ROTATIONS + 1).any(|version| token == value(version)), "call {call}: {token}");
                seen.push(token);
            }
            Ok(seen)
        });
        Self { stop, calls }
    }

    async fn end(self) -> anyhow::Result<Vec<String>> {
        self.stop.cancel();
        let seen = self.calls.await??;
        ensure!(seen.len() > 100, "only {} calls were made meanwhile", seen.len());
        Ok(seen)
    }
}

/// The search finds what there is to find, or its silence would mean nothing.
async fn a_planted_leak_is_found(place: &Place<'_>, pod: &Pod) -> anyhow::Result<()> {
    let hex: String = PLANTED.bytes().map(|byte| format!("{byte:02x}")).collect();
    apply(&[json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "leak", "namespace": place.namespace},
        "data": {"state": format!("{{\"token\":\"{hex}\"}}")},
    })])?;
    let mut shell = tokio::process::Command::new("sleep")
        .arg("600")
        .env_clear()
        .arg0(format!("sleep token={PLANTED}"))
        .kill_on_drop(true)
        .spawn()?;
    let found = eventually("the leaks are found", async || {
        let found = Canaries::new(&[PLANTED])?.found(std::slice::from_ref(pod)).await?;
        let everywhere = ["objects: configmaps", "cmdline", "etcd"]
            .iter()
            .all(|place| found.iter().any(|found| found.contains(place)));
        Ok(everywhere.then_some(()))
    })
    .await;
    shell.kill().await?;
    found
}
