//! The `McpAuthPolicy`: what counts as evidence, said once for several servers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClientCertificates, Issuer, KubernetesServiceAccounts, StaticTokens};

/// What counts as evidence of who is calling. Each member opens one way; a caller needs one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "cardea.dev",
    version = "v1alpha1",
    kind = "McpAuthPolicy",
    namespaced,
    status = "McpAuthPolicyStatus",
    derive = "PartialEq",
    shortname = "cmap",
    category = "cardea",
    doc = "What counts as evidence of who is calling, for every McpServer of the namespace that names it in spec.auth.policyRef.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Servers", type_ = "integer", json_path = ".status.serverCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.issuers) || self.issuers.all(i, self.issuers.exists_one(o, o.name == i.name) && self.issuers.exists_one(o, o.url == i.url))").message("issuers: two entries have the same name or url: give each its own"))]
#[x_kube(validation = Rule::new("!has(self.issuers) || self.issuers.filter(i, has(i.introspection)).size() <= 1").message("issuers: only one entry may have introspection, or a token would be shown to an authorization server that it is not of: remove it from the others"))]
pub struct McpAuthPolicySpec {
    /// OpenID Connect or OAuth 2.1 authorization servers whose JWT access tokens are accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub issuers: Vec<Issuer>,

    /// Tokens that a Secret knows by their digests, for callers that no authorization server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_tokens: Option<StaticTokens>,

    /// Tokens of Kubernetes ServiceAccounts of this cluster, made for this server's audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_service_accounts: Option<KubernetesServiceAccounts>,

    /// Client certificates as identities of their own, for callers that send no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,

    /// Let callers in who bring no credential at all. Rules know them as `anonymous: true` and as nothing else: what is
    /// allowed to `anyAuthenticated` is not allowed to them. A credential that does not convince is refused all the same.
    /// Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_anonymous: Option<bool>,
}

impl McpAuthPolicySpec {
    /// Names of the Secrets that credentials are checked with.
    pub fn secret_names(&self) -> impl Iterator<Item = &str> {
        let introspection = self.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref());
        let client_secrets = introspection.map(|introspection| introspection.client_secret_ref.name.as_str());
        client_secrets.chain(self.static_tokens.iter().map(|tokens| tokens.secret_ref.name.as_str()))
    }
}

/// What became of the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpAuthPolicyStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, and DeletionHeld while the policy shall go and servers still use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// McpServers of this namespace that use the policy, the first 100 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub servers: Vec<PolicyUser>,

    /// Number of McpServers that use the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_count: Option<i32>,
}

/// An McpServer that uses a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyUser {
    /// Its name.
    pub name: String,
}
