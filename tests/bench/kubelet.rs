//! A stand-in for the kubelet: says of every pod that it runs and is ready, at an address where somebody accepts
//! connections and never says a word.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::net::TcpListener;

/// Address of every pod.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

/// Plays the kubelet until dropped.
pub(crate) async fn play(client: Client) -> anyhow::Result<()> {
    let silent = TcpListener::bind((ADDRESS, cardea_contract::pod::PROXY_PORT)).await.context("an address for pods")?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default().labels("cardea.dev/server"));
    pods.default_backoff()
        .applied_objects()
        .try_for_each_concurrent(16, |pod| {
            let client = client.clone();
            async move {
                if pod.status.as_ref().is_some_and(|status| status.pod_ip.is_none()) {
                    let pods = Api::<Pod>::namespaced(client, &pod.namespace().unwrap_or_default());
                    // A pod that was deleted meanwhile is nobody's concern.
                    let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(running())).await;
                }
                Ok(())
            }
        })
        .await?;
    Ok(())
}

fn running() -> serde_json::Value {
    let now = jiff::Timestamp::now().to_string();
    let container = |name: &str| {
        json!({"name": name, "image": "i", "imageID": "i", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": now}}})
    };
    json!({"status": {
        "phase": "Running",
        "podIP": ADDRESS.to_string(),
        "podIPs": [{"ip": ADDRESS.to_string()}],
        "startTime": now,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}],
        "initContainerStatuses": [container("cardea-proxy")],
        "containerStatuses": [container("server")],
    }})
}
