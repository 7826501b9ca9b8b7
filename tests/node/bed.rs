//! One node and one installation for all trials, as the demo makes it. Each trial has a namespace of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::McpServer;
use cardea_tests::cluster;
use cardea_tests::kubectl::{apply, helm};
use cardea_tests::operator::binary;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::agent::Agents;
use crate::pods;

pub(crate) const SYSTEM: &str = "cardea-system";
/// Where the demo has its servers.
pub(crate) const DEMO: &str = "demo";
/// Namespaces of the trials that make servers.
const PLACES: [&str; 11] = [
    "secrets",
    "images",
    "crashes",
    "rules",
    "rotation",
    "propagation",
    "tools",
    "egress",
    "ingress",
    "identities",
    "restart",
];
/// Namespaces of pods that are no servers: one that a server may declare, and one that none does.
pub(crate) const PEERS: [&str; 2] = ["declared", "undeclared"];

/// Until something has to have come about.
const LIMIT: Duration = Duration::from_secs(90);
/// Trials at once, at most.
const HANDS: u32 = 64;

pub(crate) struct Bed {
    made: OnceCell<Result<Made, String>>,
    hands: Semaphore,
}

/// What stands.
pub(crate) struct Made {
    /// A client with every right.
    pub(crate) client: Client,
    /// What the demo said, and whether it was content.
    pub(crate) demo: (String, bool),
    /// An authority that every server made here accepts client certificates of.
    pub(crate) agents: Agents,
    /// Image that serves `whoami`.
    pub(crate) whoami: Value,
    /// Image with an MCP server on Node.
    pub(crate) node: Value,
}

/// What one trial works with.
pub(crate) struct Place<'a> {
    pub(crate) made: &'a Made,
    pub(crate) namespace: &'static str,
    _hands: SemaphorePermit<'a>,
}

impl Default for Bed {
    fn default() -> Self {
        Self { made: OnceCell::new(), hands: Semaphore::new(HANDS as usize) }
    }
}

impl Bed {
    /// What stands, once the demo has run.
    pub(crate) async fn made(&self) -> anyhow::Result<&Made> {
        let made = self.made.get_or_init(async || make().await.map_err(|error| format!("{error:#}"))).await;
        made.as_ref().map_err(|error| anyhow::anyhow!("the installation failed: {error}"))
    }

    pub(crate) async fn place(&self, namespace: &'static str) -> anyhow::Result<Place<'_>> {
        Ok(Place { made: self.made().await?, namespace, _hands: self.hands.acquire().await? })
    }

    /// A place while no other trial runs.
    pub(crate) async fn alone(&self, namespace: &'static str) -> anyhow::Result<Place<'_>> {
        Ok(Place { made: self.made().await?, namespace, _hands: self.hands.acquire_many(HANDS).await? })
    }
}

async fn make() -> anyhow::Result<Made> {
    let client = cluster::client().await?;
    let demo = Command::new(binary("demo")?).output().context("cannot start the demo")?;
    let said = String::from_utf8_lossy(&demo.stdout).into_owned() + &String::from_utf8_lossy(&demo.stderr);

    let agents = Agents::new("agents.example")?;
    let mut objects = Vec::new();
    for name in PLACES.iter().chain(&PEERS) {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        objects.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}));
    }
    for name in PLACES {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "agents-ca", "namespace": name},
            "data": {"ca.crt": agents.certificate_pem()},
        }));
    }
    let image = async |name: &str| -> anyhow::Result<Value> {
        let server = Api::<McpServer>::namespaced(client.clone(), DEMO).get(name).await;
        let server = server.with_context(|| format!("the demo made no server {name}; it said:\n{said}"))?;
        Ok(json!(server.spec.source.image))
    };
    let (whoami, node) = (image("whoami").await?, image("everything").await?);
    objects.extend(PEERS.map(|namespace| pods::peer(namespace, &node)));
    apply(&objects)?;

    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/cardea");
    let namespaces = format!("namespaces={{{DEMO},{}}}", PLACES.join(","));
    let chart = chart.to_string_lossy();
    helm(&["upgrade", "cardea", &chart, "--namespace", SYSTEM, "--reuse-values", "--set", &namespaces])?;
    Ok(Made { client, demo: (said, demo.status.success()), agents, whoami, node })
}

impl Place<'_> {
    /// The spec of a server that tells who is calling, with these members in place of its own.
    pub(crate) fn whoami(&self, members: Value) -> Value {
        let mut spec = json!({
            "source": {"image": self.made.whoami},
            "workload": {"args": ["whoami", "127.0.0.1:8080"]},
            "tls": {"clientCaRef": {"name": "agents-ca"}},
            "auth": {"clientCertificates": {}},
            "access": {"rules": [rule("planner", "*")]},
        });
        if let (Value::Object(spec), Value::Object(members)) = (&mut spec, members) {
            spec.extend(members);
        }
        spec
    }

    /// The spec of a server in whose container a script can be run, with these members beside its own.
    pub(crate) fn node(&self, members: Value) -> Value {
        let mut spec = json!({"source": {"image": self.made.node}});
        if let (Value::Object(spec), Value::Object(members)) = (&mut spec, members) {
            spec.extend(members);
        }
        spec
    }

    /// Applies a server, the way a person does.
    pub(crate) async fn apply(&self, name: &str, spec: Value) -> anyhow::Result<McpServer> {
        let body = json!({
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": name}, "spec": spec,
        });
        Ok(self.servers().patch(name, &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?)
    }

    /// Applies a server and waits until it can be used. Gives its one pod.
    pub(crate) async fn served(&self, name: &str, spec: Value) -> anyhow::Result<Pod> {
        self.apply(name, spec).await?;
        self.condition(name, "Ready", "True", "Ready").await?;
        self.pod(name).await
    }

    /// Waits until the current spec of a server has led to a condition.
    pub(crate) async fn condition(
        &self,
        server: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> anyhow::Result<Condition> {
        let found = |server: Option<&McpServer>| -> Option<Condition> {
            let conditions = &server?.status.as_ref()?.conditions;
            let found = conditions.iter().find(|condition| condition.type_ == kind)?;
            let fits = found.status == status && found.reason == reason;
            (fits && found.observed_generation == server?.metadata.generation).then(|| found.clone())
        };
        let waiting = await_condition(self.servers(), server, |server: Option<&McpServer>| found(server).is_some());
        let reached = match tokio::time::timeout(LIMIT, waiting).await {
            Ok(reached) => reached?,
            Err(_) => None,
        };
        if let Some(condition) = found(reached.as_ref()) {
            return Ok(condition);
        }
        let says = json!(self.servers().get(server).await?.status.unwrap_or_default().conditions);
        anyhow::bail!("{server}: waited in vain for {kind}={status} {reason}; it says {says}")
    }

    /// The warnings about a server with this reason.
    pub(crate) async fn warned(&self, server: &str, reason: &str) -> anyhow::Result<()> {
        let events = Api::<Event>::namespaced(self.made.client.clone(), self.namespace);
        let about = ListParams::default().fields(&format!("involvedObject.name={server},reason={reason},type=Warning"));
        cluster::eventually(&format!("a warning {reason} about {server}"), async || {
            Ok((!events.list(&about).await?.items.is_empty()).then_some(()))
        })
        .await
    }

    /// The one pod of a server.
    pub(crate) async fn pod(&self, server: &str) -> anyhow::Result<Pod> {
        let mut pods = self.pods_of(server).await?;
        ensure!(pods.len() == 1, "{server} has {} pods", pods.len());
        pods.pop().context("a pod")
    }

    /// The pods of a server that are not ending.
    pub(crate) async fn pods_of(&self, server: &str) -> anyhow::Result<Vec<Pod>> {
        let pods = Api::<Pod>::namespaced(self.made.client.clone(), self.namespace);
        let pods = pods.list(&ListParams::default().labels(&format!("cardea.dev/server={server}"))).await?;
        Ok(pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Whether a pod is still the one it was, and none of its containers was started again.
    pub(crate) async fn is_untouched(&self, server: &str, pod: &Pod) -> anyhow::Result<()> {
        let now = self.pod(server).await?;
        ensure!(now.uid() == pod.uid(), "{server} has another pod");
        let status = now.status.unwrap_or_default();
        let containers =
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
        let restarts: i32 = containers.map(|container| container.restart_count).sum();
        ensure!(restarts == 0, "{restarts} restarts in the pod of {server}");
        Ok(())
    }

    pub(crate) fn servers(&self) -> Api<McpServer> {
        Api::namespaced(self.made.client.clone(), self.namespace)
    }
}

/// A rule that lets an agent of the authority of [`Made::agents`] call a tool.
pub(crate) fn rule(agent: &str, tool: &str) -> Value {
    json!({"name": agent, "principals": [{"spiffeId": spiffe_id(agent)}], "tools": [tool]})
}

/// The SPIFFE id of such an agent.
pub(crate) fn spiffe_id(agent: &str) -> String {
    format!("spiffe://agents.example/ns/agents/sa/{agent}")
}
