//! Looking from inside of a pod, and making the kubelet look at one.

use std::time::Duration;

use anyhow::Context as _;
use cardea_tests::kubectl::kubectl;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Port on which a peer accepts connections.
pub(crate) const PEER_PORT: u16 = 7000;

/// A pod that is no server: others may try to reach it, and it tries to reach others.
pub(crate) fn peer(namespace: &str, image: &Value) -> Value {
    let listen = format!("require('net').createServer(peer => peer.end()).listen({PEER_PORT})");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "peer", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "server",
                "image": image["ref"],
                "imagePullPolicy": image["pullPolicy"],
                "command": ["/bin/node", "-e", listen],
                "readinessProbe": {"tcpSocket": {"port": PEER_PORT}, "periodSeconds": 1},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// Runs a script in the server's container. Gives the JSON that it prints.
pub(crate) fn node(namespace: &str, pod: &str, script: &str, arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command =
        vec!["exec", "--namespace", namespace, pod, "--container=server", "--", "/bin/node", "-e", script];
    command.extend(arguments);
    let printed = kubectl(&command)?;
    serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
}

/// Tries to connect from a pod to each of these (`ADDRESS:PORT`). Gives those that answered.
pub(crate) fn reached<'a>(namespace: &str, pod: &str, targets: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    let script = "
        const net = require('net');
        const attempt = target => new Promise(done => {
            const [host, port] = target.split(':');
            const socket = net.connect({host, port});
            const end = open => () => { socket.destroy(); done(open); };
            socket.setTimeout(2000, end(false)).on('connect', end(true)).on('error', end(false));
        });
        Promise.all(process.argv.slice(1).map(attempt)).then(open => console.log(JSON.stringify(open)));
    ";
    let open = node(namespace, pod, script, targets)?;
    let open = open.as_array().context("a list")?;
    anyhow::ensure!(open.len() == targets.len(), "{} answers to {} attempts", open.len(), targets.len());
    Ok(targets.iter().zip(open).filter(|(_, open)| **open == true).map(|(target, _)| *target).collect())
}

/// Asks again and again, and makes the kubelet bring a pod's files up to date each time: by itself it would take more
/// than a minute.
pub(crate) async fn once_synced<T>(
    pod: &Pod,
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    let mut beat = tokio::time::interval(Duration::from_millis(700));
    for nudge in 0..60 {
        beat.tick().await;
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        let nudge = format!("tests.cardea.dev/nudge={nudge}");
        kubectl(&["annotate", "pod", &name, "--namespace", &namespace, "--overwrite", &nudge])?;
    }
    anyhow::bail!("waited in vain, though the kubelet was made to look: {what}")
}
