//! The `McpSecretStore`: how a store of secrets is reached, and as whom, said once for several servers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{LocalRef, PolicyUser, SecretKeyRef};

/// How a store of secrets is reached, and as whom: exactly one of the stores. Whoever asks is the ServiceAccount of a server's
/// pods, except at 1Password Connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "cardea.dev",
    version = "v1alpha1",
    kind = "McpSecretStore",
    namespaced,
    status = "McpSecretStoreStatus",
    derive = "PartialEq",
    shortname = "cmss",
    category = "cardea",
    doc = "How a store of secrets is reached, and as whom, for every McpServer of the namespace that names it in spec.secrets[].storeRef.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Servers", type_ = "integer", json_path = ".status.serverCount"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.vault), has(self.awsSecretsManager), has(self.gcpSecretManager), has(self.azureKeyVault), has(self.onePasswordConnect)].filter(set, set).size() == 1").message("spec needs exactly one of vault, awsSecretsManager, gcpSecretManager, azureKeyVault and onePasswordConnect"))]
#[x_kube(validation = Rule::new("[has(self.vault) ? [self.vault.address] : [], has(self.awsSecretsManager) && has(self.awsSecretsManager.endpoint) ? [self.awsSecretsManager.endpoint] : [], has(self.gcpSecretManager) && has(self.gcpSecretManager.endpoint) ? [self.gcpSecretManager.endpoint] : [], has(self.azureKeyVault) ? [self.azureKeyVault.vaultUrl] : [], has(self.azureKeyVault) && has(self.azureKeyVault.authorityHost) ? [self.azureKeyVault.authorityHost] : [], has(self.onePasswordConnect) ? [self.onePasswordConnect.url] : []].all(one, one.all(url, url.matches('^https?://([A-Za-z0-9.-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[0-9]{1,5})?$')))").message("spec: an address is https:// with a host and perhaps a port, without a path and a slash at the end, as in https://vault.example.com:8200"))]
#[x_kube(validation = Rule::new("has(self.insecureHttp) && self.insecureHttp || [has(self.vault) ? [self.vault.address] : [], has(self.awsSecretsManager) && has(self.awsSecretsManager.endpoint) ? [self.awsSecretsManager.endpoint] : [], has(self.gcpSecretManager) && has(self.gcpSecretManager.endpoint) ? [self.gcpSecretManager.endpoint] : [], has(self.azureKeyVault) ? [self.azureKeyVault.vaultUrl] : [], has(self.azureKeyVault) && has(self.azureKeyVault.authorityHost) ? [self.azureKeyVault.authorityHost] : [], has(self.onePasswordConnect) ? [self.onePasswordConnect.url] : []].all(one, one.all(url, !url.startsWith('http://')))").message("spec: over http:// whoever is on the way reads the secrets: write https://, or set insecureHttp: true where that is no harm"))]
pub struct McpSecretStoreSpec {
    /// HashiCorp Vault or OpenBao.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultStore>,

    /// AWS Secrets Manager, by web identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_secrets_manager: Option<AwsStore>,

    /// Google Cloud Secret Manager, by workload identity federation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp_secret_manager: Option<GcpStore>,

    /// Azure Key Vault, by workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_key_vault: Option<AzureStore>,

    /// A 1Password Connect server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_password_connect: Option<OnePasswordStore>,

    /// ConfigMap in the same namespace with further authorities of the store's certificate (key `ca.crt`, PEM). Default: the
    /// public ones alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<LocalRef>,

    /// Permits addresses that begin with http://, so that whoever is on the way reads the secrets and the identity that gets them.
    /// Shows in the posture of every server that uses the store. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_http: Option<bool>,
}

/// A Vault or OpenBao, and how to log in there: exactly one of `kubernetes` and `jwt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kubernetes) != has(self.jwt)").message("spec.vault needs exactly one of kubernetes and jwt, as in {kubernetes: {role: web}}: the method by which its ServiceAccount logs in"))]
#[x_kube(validation = Rule::new("!has(self.__namespace__) || self.__namespace__.matches('^[^/?#%[:cntrl:]]+(/[^/?#%[:cntrl:]]+)*/?$') && !self.__namespace__.matches('(^|/)[.][.]?(/|$)')").message("spec.vault.namespace is a path of names, as in team/apps"))]
pub struct VaultStore {
    /// Base URL, for example `https://vault.example.com:8200`.
    #[schemars(length(min = 1, max = 512))]
    pub address: String,

    /// Namespace of Vault Enterprise or OpenBao. Default: the root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub namespace: Option<String>,

    /// Login method `kubernetes`: Vault asks the cluster about the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<VaultLogin>,

    /// Login method `jwt`: Vault checks the token by the cluster's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<VaultLogin>,
}

/// How a ServiceAccount logs in to Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.mount) || self.mount.matches('^[^/?#%[:cntrl:]]+(/[^/?#%[:cntrl:]]+)*$') && !self.mount.matches('(^|/)[.][.]?(/|$)')").message("spec.vault: the mount of a login method is a path of names without '/' at either end, as in clusters/east"))]
pub struct VaultLogin {
    /// Path at which the method is mounted. Default: its name, `kubernetes` or `jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub mount: Option<String>,

    /// Role of the method.
    #[schemars(length(min = 1, max = 256))]
    pub role: String,

    /// Audience of the token. Default: `vault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
}

/// Secrets Manager of one region, and the role that is assumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.region.matches('^[a-z0-9]+(-[a-z0-9]+)+$')").message("spec.awsSecretsManager.region is the region's id, for example eu-central-1"))]
#[x_kube(validation = Rule::new("self.roleArn.matches('^arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')").message("spec.awsSecretsManager.roleArn is the ARN of an IAM role, as in arn:aws:iam::123456789012:role/web"))]
pub struct AwsStore {
    /// Region.
    #[schemars(length(min = 1, max = 64))]
    pub region: String,

    /// ARN of the role, whose trust policy names the cluster's issuer.
    #[schemars(length(min = 1, max = 2048))]
    pub role_arn: String,

    /// Audience of the token. Default: `sts.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,

    /// Base URL of Secrets Manager and of STS, for example of a VPC endpoint. Default: those of the region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub endpoint: Option<String>,
}

/// Secret Manager of one project, and the provider that vouches for the ServiceAccount there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.project.matches('^[a-z0-9][a-z0-9.:-]*$')").message("spec.gcpSecretManager.project is the project's id or number"))]
#[x_kube(validation = Rule::new("self.workloadIdentityProvider.matches('^projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]+/providers/[a-z0-9-]+$')").message("spec.gcpSecretManager.workloadIdentityProvider is the provider's resource name: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"))]
#[x_kube(validation = Rule::new("!has(self.serviceAccount) || self.serviceAccount.matches('^[a-z0-9.-]+@[a-z0-9.-]+$')").message("spec.gcpSecretManager.serviceAccount is the account's e-mail address, as in web@project.iam.gserviceaccount.com"))]
pub struct GcpStore {
    /// Project of the secrets, id or number.
    #[schemars(length(min = 1, max = 64))]
    pub project: String,

    /// Provider of a workload identity pool:
    /// `projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    #[schemars(length(min = 1, max = 512))]
    pub workload_identity_provider: String,

    /// E-mail address of a service account that is impersonated. Default: the federated identity itself has the rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub service_account: Option<String>,

    /// Audience of the token. Default: `//iam.googleapis.com/` and the provider, as the provider takes by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 768))]
    pub audience: Option<String>,

    /// Base URL of Secret Manager, STS and IAM Credentials, for example of a private endpoint. Default: Google's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub endpoint: Option<String>,
}

/// One key vault, and the identity that reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[self.tenantId, self.clientId].all(id, id.matches('^[0-9A-Za-z.-]+$'))").message("spec.azureKeyVault: tenantId and clientId are ids, as in 11111111-2222-4333-8444-555555555555"))]
pub struct AzureStore {
    /// URL of the vault, `https://NAME.vault.azure.net`.
    #[schemars(length(min = 1, max = 512))]
    pub vault_url: String,

    /// Tenant of the identity.
    #[schemars(length(min = 1, max = 128))]
    pub tenant_id: String,

    /// Client id of the application or managed identity with a federated credential for the ServiceAccount.
    #[schemars(length(min = 1, max = 128))]
    pub client_id: String,

    /// Base URL of Entra ID. Default: `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub authority_host: Option<String>,

    /// Audience of the token. Default: `api://AzureADTokenExchange`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub audience: Option<String>,
}

/// A 1Password Connect server, and its access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnePasswordStore {
    /// Base URL of the Connect server.
    #[schemars(length(min = 1, max = 512))]
    pub url: String,

    /// Kubernetes Secret with the access token. No server's container gets it.
    pub token_secret_ref: SecretKeyRef,
}

/// What became of the store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpSecretStoreStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Conditions: Accepted, Reached, the summary Ready, and DeletionHeld while the store shall go and servers still use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When the store last answered a server's pod, to within five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reached_time: Option<Time>,

    /// McpServers of this namespace that use the store, the first 100 by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub servers: Vec<PolicyUser>,

    /// Number of McpServers that use the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_count: Option<i32>,
}
