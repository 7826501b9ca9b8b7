//! Where a secret is kept: in which store, and where in it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a secret is kept: exactly one of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.kubernetesSecret), has(self.vault), has(self.awsSecretsManager), has(self.gcpSecretManager), has(self.azureKeyVault), has(self.onePasswordConnect), has(self.externalSecret), has(self.csi)].filter(set, set).size() == 1").message("spec.secrets[].from needs exactly one member, as in {kubernetesSecret: {name: token}} or {vault: {mount: secret, path: apps/web}}"))]
pub struct SecretSource {
    /// A Kubernetes Secret. The operator never reads it: the kubelet gives it to the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_secret: Option<KubernetesSecret>,

    /// HashiCorp Vault or OpenBao. Never in etcd nor on a disk, as with every store that has a `storeRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultSecret>,

    /// AWS Secrets Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_secrets_manager: Option<AwsSecret>,

    /// Google Cloud Secret Manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp_secret_manager: Option<GcpSecret>,

    /// Azure Key Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_key_vault: Option<AzureSecret>,

    /// 1Password, through a Connect server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_password_connect: Option<OnePasswordItem>,

    /// Whatever External Secrets Operator reaches: an ExternalSecret is made, and the Kubernetes Secret that comes of it is
    /// given to the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_secret: Option<ExternalSecret>,

    /// Whatever a provider of the Secrets Store CSI driver reaches: a SecretProviderClass is made, and its files are mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<Csi>,
}

/// A Kubernetes Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSecret {
    /// Name of the Secret. While it or one of the keys is missing the server does not start, and `SecretsReady` says so.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A secret in Vault or OpenBao.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[self.mount, self.path].all(p, p.matches('^[^/?#%\\\\\\\\[:cntrl:]]+(/[^/?#%\\\\\\\\[:cntrl:]]+)*$') && !p.matches('(^|/)[.][.]?(/|$)'))").message("spec.secrets[].from.vault: mount and path are names with '/' between them, without '/' at either end, '.', '..' and any of ?#%\\, as in {mount: secret, path: apps/web}"))]
#[x_kube(validation = Rule::new("!has(self.version) || !has(self.engine) || self.engine == 'KvV2'").message("spec.secrets[].from.vault.version: only KvV2 has versions: remove it"))]
pub struct VaultSecret {
    /// What is mounted there. Default: KvV2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<VaultEngine>,

    /// Path at which the engine is mounted, for example `secret`.
    #[schemars(length(min = 1, max = 256))]
    pub mount: String,

    /// Path below the mount, without the `data/` of KvV2. With `Dynamic` what is read, for example `creds/readonly`.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,

    /// The version to stay with (KvV2). Default: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<i64>,
}

/// What is mounted in Vault at a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VaultEngine {
    /// Key/value with versions.
    #[default]
    KvV2,
    /// Key/value without versions.
    KvV1,
    /// Credentials that are made when they are read and end with their lease.
    Dynamic,
}

/// A secret in AWS Secrets Manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.secretId.matches('^[A-Za-z0-9/_+=.@:!-]+$')").message("spec.secrets[].from.awsSecretsManager.secretId is the secret's name or ARN: letters, digits and any of /_+=.@:!-"))]
#[x_kube(validation = Rule::new("!self.secretId.matches('(^|/)[.][.]?(/|$)')").message("spec.secrets[].from.awsSecretsManager.secretId: '.' and '..' are no parts of a name: write the name in full"))]
pub struct AwsSecret {
    /// Name or ARN.
    #[schemars(length(min = 1, max = 2048))]
    pub secret_id: String,

    /// Staging label, for example `AWSPREVIOUS`. Default: `AWSCURRENT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub version_stage: Option<String>,
}

/// A secret in Google Cloud Secret Manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.secret.matches('^[A-Za-z0-9_-]+$') && (!has(self.version) || self.version.matches('^[A-Za-z0-9_-]+$'))").message("spec.secrets[].from.gcpSecretManager: secret and version are letters, digits, '_' and '-': the secret's own name alone, the project stands in the McpSecretStore"))]
pub struct GcpSecret {
    /// Name of the secret in the store's project.
    #[schemars(length(min = 1, max = 255))]
    pub secret: String,

    /// The version to stay with, by number or alias. Default: `latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub version: Option<String>,
}

/// A secret in Azure Key Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.secret.matches('^[A-Za-z0-9-]+$') && (!has(self.version) || self.version.matches('^[A-Za-z0-9]+$'))").message("spec.secrets[].from.azureKeyVault: secret is letters, digits and '-', and version letters and digits: the names alone, the vault stands in the McpSecretStore"))]
pub struct AzureSecret {
    /// Name of the secret in the store's vault.
    #[schemars(length(min = 1, max = 127))]
    pub secret: String,

    /// The version to stay with. Default: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub version: Option<String>,
}

/// An item in 1Password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[self.vault, self.item].all(n, !n.matches('[[:cntrl:]]') && !n.matches('(^|/)[.][.]?(/|$)'))").message("spec.secrets[].from.onePasswordConnect: vault and item are names or ids, on one line and without '.' and '..' as parts"))]
pub struct OnePasswordItem {
    /// Name or id of the vault.
    #[schemars(length(min = 1, max = 256))]
    pub vault: String,

    /// Title or id of the item. Its fields are the keys.
    #[schemars(length(min = 1, max = 256))]
    pub item: String,
}

/// A secret that External Secrets Operator brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSecret {
    /// Its store.
    pub secret_store_ref: ExternalStoreRef,

    /// Where in that store, in the words of its provider. Keys are the properties there; all of it where there is none.
    #[schemars(length(min = 1, max = 1024))]
    pub remote_key: String,
}

/// A store of External Secrets Operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalStoreRef {
    /// Name of the store.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Its kind. Default: SecretStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ExternalStoreKind>,
}

/// Kind of a store of External Secrets Operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalStoreKind {
    /// One of the same namespace.
    #[default]
    SecretStore,
    /// One of the cluster.
    ClusterSecretStore,
}

impl ExternalStoreKind {
    /// As an ExternalSecret spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretStore => "SecretStore",
            Self::ClusterSecretStore => "ClusterSecretStore",
        }
    }
}

/// A secret that the Secrets Store CSI driver mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.provider.matches('^[A-Za-z0-9_.-]{0,30}$')").message("spec.secrets[].from.csi.provider is the provider's name, for example azure, gcp, vault or aws"))]
pub struct Csi {
    /// Provider of the driver, for example `vault`.
    #[schemars(length(min = 1, max = 30))]
    pub provider: String,

    /// What the provider is told. Which files there will be stands there, usually in `objects`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub parameters: BTreeMap<String, String>,
}
