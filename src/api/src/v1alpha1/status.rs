//! What the operator answers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RuleWarning;

/// What became of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpServerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, CertificateReady, SecretsReady, NetworkIsolated, PolicyReady, WorkloadAvailable, Verified,
    /// LoginReady, ToolsPinned, Hardened, and the summary Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Where clients reach the server. Appears once an MCP handshake through the proxy has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,

    /// How the server introduced itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,

    /// Tools of the server, the first 100 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tools: Vec<Tool>,

    /// Number of tools of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_count: Option<i32>,

    /// Proxies of the server, the first 100 by pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pod".into()]))]
    pub proxies: Vec<ProxyStatus>,

    /// McpAccessPolicies that govern the server, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_policies: Vec<String>,

    /// What of `spec.access.rules` does not fit the tools that the server has, the first 100. What of a policy does not stands
    /// in the policy's status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<RuleWarning>,

    /// The certificate in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,

    /// Secrets given to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub secrets: Vec<SecretStatus>,

    /// How the pod is isolated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatus>,

    /// Openings that make the server less than closed, one word each. Empty is best.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub posture: Vec<String>,

    /// Transport in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,

    /// Ways in which a caller can prove who it is, in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,

    /// Authorization servers, as they describe themselves to the clients that shall log in there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub issuers: Vec<IssuerStatus>,

    /// Number of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,

    /// Selector of the pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// Where clients reach the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// URL of the MCP endpoint.
    pub url: String,
    /// ConfigMap in the same namespace whose key `ca.crt` (PEM) verifies it.
    pub ca_bundle: String,
}

/// How the server introduced itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// MCP revision that it agreed to.
    pub protocol_version: String,
}

/// A tool of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name.
    pub name: String,

    /// SHA-256 of its definition (name, title, description, schemas, annotations), as `spec.tools.pinning.digests` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,

    /// What makes its definition suspicious.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<ToolFlag>,
}

/// What makes a tool's definition suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ToolFlag {
    /// It holds characters that nobody sees, which a model reads all the same.
    InvisibleText,
    /// It holds control characters, as terminal escapes begin with.
    ControlCharacters,
    /// Another tool of the server bears the same name.
    NameTwice,
}

/// A proxy of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyStatus {
    /// Its pod.
    pub pod: String,

    /// Generation of the spec that it enforces. None: it does not answer the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,

    /// Whether it enforces everything that the spec and the policies say now.
    pub current: bool,
}

/// The certificate in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// Its end.
    pub not_after: Time,
    /// Its serial number, hexadecimal.
    pub serial: String,
}

/// A secret given to the server. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretStatus {
    /// Name of the entry in the spec.
    pub name: String,

    /// Kind of store.
    pub store: String,

    /// The McpSecretStore, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<String>,

    /// The newest version that a pod was given: the store's own word for it, or a code of the values that only this server's
    /// key makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// When a pod was first given that version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotated: Option<Time>,
}

/// An authorization server, as its metadata describes it (RFC 8414, OpenID Connect Discovery). Whether it honours the
/// `resource` of RFC 8707 no metadata says: the audience of the first token does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// Its name in the spec or the policy.
    pub name: String,
    /// Its issuer identifier.
    pub url: String,
    /// What came of reading its metadata.
    pub metadata: IssuerMetadata,
    /// Ways in which a client makes itself known without an administrator. None: clients must be registered by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_registration: Vec<ClientRegistration>,
    /// Whether it takes PKCE with S256, without which clients of MCP refuse to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkce_s256: Option<bool>,
    /// Whether its answers to a login name the issuer (RFC 9207), which keeps several of them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_parameter: Option<bool>,
}

/// What came of reading an authorization server's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IssuerMetadata {
    /// It was read.
    Read,
    /// It names another issuer than the configured one, so nothing of it counts.
    OtherIssuer,
    /// It could not be had. Tokens are judged all the same as long as the keys can.
    Unreadable,
    /// No proxy has told yet.
    Pending,
}

/// How a client makes itself known without an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientRegistration {
    /// It registers itself (RFC 7591).
    Dynamic,
    /// Its id is the URL of a document about it.
    ClientIdMetadataDocument,
}

/// How the pod is isolated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// What isolates it: `NetworkPolicy`.
    pub level: String,
}
