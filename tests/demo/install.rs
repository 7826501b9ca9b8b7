//! What stands before the first server: images on the node, closed namespaces, the charts, and an authority for agents.

use std::path::Path;

use anyhow::Context as _;
use cardea_pki::{Authority, LeafRequest, SpiffeId, TrustDomain};
use cardea_tests::cluster::setting;
use cardea_tests::images;
use cardea_tests::kubectl::{apply, helm};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::say;

pub(crate) const SYSTEM: &str = "cardea-system";
pub(crate) const SERVERS: &str = "demo";
pub(crate) const AGENTS: &str = "agents";
/// ServiceAccount of the agent in [`AGENTS`].
pub(crate) const AGENT: &str = "agent";
/// Secret in [`AGENTS`] with the agent's certificate.
pub(crate) const AGENT_CERTIFICATE: &str = "agent-cert";

/// Images of Cardea itself.
pub(crate) const CARDEA: [&str; 3] = ["cardea-operator", "cardea-proxy", "cardea-agent"];
/// Images of the two servers and of their clients.
pub(crate) const FIXTURES: [&str; 2] = ["mcp-client", "server-everything"];

/// Where the pods' images come from.
pub(crate) struct Images {
    prefix: String,
    tag: String,
    /// The node of the launcher's cluster, which takes images from files.
    node: Option<String>,
}

impl Images {
    pub(crate) fn from_env() -> Self {
        Self {
            prefix: setting("CARDEA_IMAGE_PREFIX").unwrap_or_else(|| "localhost".to_owned()),
            tag: setting("CARDEA_IMAGE_TAG").unwrap_or_else(|| "dev".to_owned()),
            node: setting("CARDEA_CONTAINERD_ADDRESS"),
        }
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}:{}", self.prefix, self.tag)
    }

    pub(crate) fn pull_policy(&self) -> &'static str {
        if self.node.is_some() { "Never" } else { "IfNotPresent" }
    }

    /// Brings images to the node, if it is the launcher's; any other cluster fetches them by itself.
    pub(crate) fn load(&self, names: &[&str]) -> anyhow::Result<()> {
        if self.node.is_none() {
            return Ok(());
        }
        images::load(names)
    }

    /// Says where they come from.
    pub(crate) fn announce(&self) {
        if self.node.is_some() {
            say("loading the images into the node");
            return;
        }
        say("this cluster pulls the images by itself; CARDEA_IMAGE_PREFIX and CARDEA_IMAGE_TAG say from where:");
        for name in CARDEA.iter().chain(&FIXTURES) {
            say(&format!("  {}", self.reference(name)));
        }
    }

    /// Lets a manifest's server come from where the images are.
    fn place(&self, server: &mut Value) -> anyhow::Result<()> {
        let image = server.pointer_mut("/spec/source/image").context("the manifest has no image")?;
        let written = image["ref"].as_str().unwrap_or_default();
        let name = written.rsplit('/').next().and_then(|rest| rest.split(':').next()).unwrap_or_default();
        *image = json!({"ref": self.reference(name), "pullPolicy": self.pull_policy()});
        Ok(())
    }
}

/// Makes the namespaces, installs both charts and gives the agent its certificate.
pub(crate) fn install(images: &Images) -> anyhow::Result<()> {
    say("making namespaces that admit restricted pods only");
    let namespaces = [SYSTEM, SERVERS, AGENTS].map(|name| {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    });
    apply(&namespaces)?;
    apply(&agent()?)?;

    say("helm install cardea-crds, cardea");
    helm(&["upgrade", "--install", "cardea-crds", &source("charts/cardea-crds")])?;
    let settings = [
        format!("namespaces={{{SERVERS}}}"),
        format!("image.registry={}", images.prefix),
        "image.repository=cardea-operator".to_owned(),
        format!("image.tag={}", images.tag),
        format!("image.pullPolicy={}", images.pull_policy()),
        format!("proxy.image.registry={}", images.prefix),
        "proxy.image.repository=cardea-proxy".to_owned(),
        format!("proxy.image.tag={}", images.tag),
        format!("proxy.image.pullPolicy={}", images.pull_policy()),
        format!("agent.image.registry={}", images.prefix),
        "agent.image.repository=cardea-agent".to_owned(),
        format!("agent.image.tag={}", images.tag),
        format!("agent.image.pullPolicy={}", images.pull_policy()),
    ];
    let chart = source("charts/cardea");
    let mut arguments = vec!["upgrade", "--install", "cardea", &chart, "--namespace", SYSTEM];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    helm(&arguments).map(drop)
}

/// An authority of the agents' own, the account of one agent, and its certificate.
fn agent() -> anyhow::Result<Vec<Value>> {
    let now = Timestamp::now();
    let domain = TrustDomain::parse("agents.example")?;
    let authority = Authority::create(&domain, now)?;
    let request = LeafRequest {
        dns_names: vec![],
        spiffe_id: SpiffeId::new(domain, AGENTS, AGENT),
        lifetime: SignedDuration::from_hours(24),
    };
    let leaf = authority.issue(&request, now)?;
    Ok(vec![
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "agent-ca", "namespace": SERVERS},
            "data": {"ca.crt": authority.certificate_pem()},
        }),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": AGENT, "namespace": AGENTS},
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": AGENT_CERTIFICATE, "namespace": AGENTS},
            "stringData": {"tls.crt": leaf.certificate_pem, "tls.key": leaf.key_pem.as_str()},
        }),
    ])
}

/// Applies the two servers of the demo.
pub(crate) fn apply_servers(images: &Images) -> anyhow::Result<()> {
    let mut servers = Vec::new();
    for file in ["everything.yaml", "whoami.yaml"] {
        say(&format!("applying tests/demo/{file}"));
        let text = std::fs::read_to_string(source(&format!("tests/demo/{file}")))?;
        let mut server = serde_yaml::from_str(&text).with_context(|| format!("{file} cannot be read"))?;
        images.place(&mut server)?;
        servers.push(server);
    }
    apply(&servers)
}

/// A path in the checkout that this program was built from.
fn source(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).to_string_lossy().into_owned()
}
