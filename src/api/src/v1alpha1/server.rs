//! The `McpServer` itself.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Access, Audit, Auth, Limits, McpServerStatus, Network, Secret, Source, Tls, Tools, Transport, Workload};

/// What an MCP server is and who may use it. Whatever is left out is closed: without `access` no tool may be called,
/// without `auth` nobody is known, without `network` nobody gets in or out.
#[derive(Clone, Debug, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "cardea.dev",
    version = "v1alpha1",
    kind = "McpServer",
    namespaced,
    status = "McpServerStatus",
    derive = "PartialEq",
    shortname = "cmcp",
    category = "cardea",
    doc = "An MCP server that is reached through an authenticating, authorizing, auditing proxy, and in no other way.",
    scale(
        spec_replicas_path = ".spec.workload.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Transport", type_ = "string", json_path = ".status.transport"),
    printcolumn(name = "Auth", type_ = "string", json_path = ".status.auth"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.toolCount"),
    printcolumn(name = "Posture", type_ = "string", json_path = r#".status.conditions[?(@.type=="Hardened")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.address.url", priority = 1),
    printcolumn(name = "Cert-Expiry", type_ = "string", json_path = ".status.certificate.notAfter", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.source.image.ref", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 57 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 57 lower-case letters, digits or '-' and begin with a letter, since the Service and the other children are named after it: choose a shorter or simpler name"),
    validation = Rule::new("!(has(self.spec.tls) && has(self.spec.tls.clientAuth) && self.spec.tls.clientAuth == 'None' && has(self.spec.auth) && has(self.spec.auth.clientCertificates))")
        .message("spec.auth.clientCertificates needs certificates, but spec.tls.clientAuth is None: set it to Required or Optional")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.secrets) || self.secrets.all(s, self.secrets.exists_one(o, o.name == s.name))")
        .message("spec.secrets: two entries have the same name: give each its own"),
    validation = Rule::new("!(has(self.transport) && has(self.transport.type) && self.transport.type == 'Stdio' && has(self.workload) && (has(self.workload.command) || has(self.workload.args)))")
        .message("spec.workload.command and args are not for a stdio server: say its program and arguments in spec.transport.stdio.command"),
    validation = Rule::new("!has(self.secrets) || (has(self.transport) && has(self.transport.type) && self.transport.type == 'Stdio') || (has(self.workload) && has(self.workload.command) && self.workload.command.size() > 0) || self.secrets.all(s, !has(s.storeRef) || (!(has(s.onRotation) && s.onRotation == 'Signal') && s.keys.all(k, !has(k.env))))")
        .message("spec.workload.command is needed for secrets with a storeRef that go to env or have onRotation: Signal, since the server is started with them and the image's entrypoint is not known here: set it, or let the keys go to file, which needs no command")
)]
pub struct McpServerSpec {
    /// Where the server comes from.
    pub source: Source,

    /// How the server speaks MCP. Default: streamable HTTP on port 8080 at `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,

    /// How its pods run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,

    /// Secrets that the server needs, as files or environment variables of its container alone. The proxy and the
    /// callers never see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub secrets: Vec<Secret>,

    /// Certificates: the server's own and its clients'. Default: the built-in authority, client certificates required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// What counts as evidence of who is calling. Default: nothing does, so every call is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// Who may use which tools, prompts and resources, beside what McpAccessPolicies say of this server. Default: nobody any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// What its tools must be like. Default: whatever the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,

    /// Who reaches the proxy over the network and what the pod reaches. Default: nobody and nothing, but for cluster
    /// DNS, the operator, and the issuers in `auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// Bounds of a single request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// What is written to the audit log. Default: every decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,

    /// Leave everything as it is: while true the operator changes none of the children and renews no certificate. What
    /// McpAccessPolicies say reaches the proxy all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}
