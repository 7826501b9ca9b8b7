//! Who reaches a server's pod and what it reaches, as the cluster's network enforces it. Each denial has a control: another
//! pod, or the node, gets through to the same place.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cardea_tests::cluster::eventually;
use cardea_tests::kubectl::{kubectl, wait};
use cardea_tests::operator::binary;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;
use tokio::net::TcpStream;

use crate::bed::{Bed, PEERS};
use crate::pods::{self, PEER_PORT, reached};

/// Address outside of the cluster that the manifest opens, and one that it does not.
const OUTSIDE: [&str; 2] = ["198.51.100.7", "198.51.100.8"];
const API_SERVER: &str = "10.96.0.1:443";

/// Somebody outside of the cluster who accepts connections on a port of all addresses there.
struct Outsider(Child);

impl Outsider {
    fn listen(port: u16) -> anyhow::Result<Self> {
        let program = binary("mcp-client")?;
        let process = Command::new("ip")
            .args(["netns", "exec", "outside"])
            .arg(program)
            .args(["whoami", &format!("0.0.0.0:{port}")])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot listen outside of the cluster")?;
        Ok(Self(process))
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn the_server_reaches_what_the_manifest_opens(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("egress").await?;
    let _outsiders = [Outsider::listen(8080)?, Outsider::listen(8081)?];
    let opened = format!("{}:8080", OUTSIDE[0]);
    let egress = json!({"to": [{
        "peers": [{"ipBlock": {"cidr": format!("{}/32", OUTSIDE[0])}}],
        "ports": [{"port": 8080, "protocol": "TCP"}],
    }]});
    let pod = place.served("web", place.node(json!({"network": {"egress": egress}}))).await?.name_any();

    let peer = format!("{}:{PEER_PORT}", peer_address(PEERS[1])?);
    let (port, address) = (format!("{}:8081", OUTSIDE[0]), format!("{}:8080", OUTSIDE[1]));
    let targets = [opened.as_str(), &port, &address, API_SERVER, &peer];
    eventually("all can be reached by a pod without a policy", async || {
        Ok((reached(PEERS[0], "peer", &targets)? == targets).then_some(()))
    })
    .await?;
    let open = reached(place.namespace, &pod, &targets)?;
    ensure!(open == [opened.as_str()], "the server reaches {open:?}");

    let resolve = "require('dns').promises.resolve4('kubernetes.default.svc.cluster.local')
        .then(found => console.log(JSON.stringify(found)))";
    let found = pods::node(place.namespace, &pod, resolve, &[])?;
    ensure!(found == json!(["10.96.0.1"]), "the cluster's DNS says {found}");
    Ok(())
}

pub(crate) async fn the_proxy_alone_is_reached_and_by_declared_peers_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("ingress").await?;
    let declared = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": PEERS[0]}}});
    let open_to_all = json!({"args": ["whoami", "0.0.0.0:8080"]});
    let spec = place.whoami(json!({"workload": open_to_all, "network": {"ingress": {"from": [declared]}}}));
    let pod = place.served("web", spec).await?;
    let address = address(&pod)?;

    let targets = ["8443", "8080", "9090"].map(|port| format!("{address}:{port}"));
    let targets = targets.each_ref().map(String::as_str);
    for target in targets {
        TcpStream::connect(target).await.with_context(|| format!("the node cannot reach {target}: nobody listens"))?;
    }
    for namespace in PEERS {
        peer_address(namespace)?;
    }
    let open = reached(PEERS[0], "peer", &targets)?;
    ensure!(open == [targets[0]], "a declared peer reaches {open:?}");
    let open = reached(PEERS[1], "peer", &targets)?;
    ensure!(open.is_empty(), "a peer that is not declared reaches {open:?}");
    Ok(())
}

fn address(pod: &Pod) -> anyhow::Result<&str> {
    pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()).context("the pod has no address")
}

/// Address of a peer, once it is ready.
fn peer_address(namespace: &str) -> anyhow::Result<String> {
    wait(namespace, &["pod/peer"], "condition=Ready", Duration::from_secs(60), || ())?;
    kubectl(&["get", "pod/peer", "--namespace", namespace, "--output=jsonpath={.status.podIP}"])
}
