//! What the fetcher of a pod is told: which secrets, from which stores, for which files; and what it reports. The operator
//! puts [`SecretsConfig`] into the pod's template, so another one is another pod.
//!
//! Holds where secrets are and never what they are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that the fetcher is told, as JSON in [`pod::SECRETS_CONFIG`](crate::pod::SECRETS_CONFIG).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretsConfig {
    /// The stores, by the name under which secrets refer to them.
    pub stores: BTreeMap<String, Store>,
    /// The secrets, each in a folder of its own.
    pub secrets: Vec<Secret>,
    /// Whether the server runs as the fetcher's own user, so that files need be readable by nobody else (0400); otherwise
    /// its group reads them (0440).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_user: bool,
}

/// How a store is reached, and as whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Store {
    /// Which store, and its own settings.
    pub kind: StoreKind,
    /// Whether [`pod::STORES_DIR`](crate::pod::STORES_DIR)`/NAME/ca.crt` holds further authorities (PEM) beside the public ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ca_bundle: bool,
}

/// A store and its settings. The pod's identity is the token in [`pod::STORES_DIR`](crate::pod::STORES_DIR)`/NAME/token`:
/// that of its ServiceAccount for the store's audience, or for 1Password Connect its access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum StoreKind {
    /// HashiCorp Vault or OpenBao.
    Vault {
        /// Base URL, without a path.
        address: String,
        /// Namespace of Vault Enterprise or OpenBao.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Login with the ServiceAccount's token.
        login: VaultLogin,
        /// Path at which the login method is mounted, for example `kubernetes`.
        login_mount: String,
        /// Role of the login method.
        role: String,
    },
    /// AWS Secrets Manager, by web identity.
    AwsSecretsManager {
        /// Region.
        region: String,
        /// ARN of the role that is assumed.
        role_arn: String,
        /// Base URL of Secrets Manager and of STS in place of those of the region.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    },
    /// Google Cloud Secret Manager, by workload identity federation.
    GcpSecretManager {
        /// Project, id or number.
        project: String,
        /// The provider, as the audience of the exchange names it:
        /// `//iam.googleapis.com/projects/…/locations/global/workloadIdentityPools/…/providers/…`.
        provider: String,
        /// E-mail of a service account that is impersonated. None: the federated identity itself has the rights.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service_account: Option<String>,
        /// Base URL of Secret Manager, of STS and of IAM Credentials in place of Google's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    },
    /// Azure Key Vault, by workload identity.
    AzureKeyVault {
        /// URL of the vault, `https://NAME.vault.azure.net`.
        vault_url: String,
        /// Tenant of the identity.
        tenant_id: String,
        /// Client id of the identity.
        client_id: String,
        /// Base URL of Entra ID. None: `https://login.microsoftonline.com`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        authority_host: Option<String>,
    },
    /// 1Password Connect.
    OnePasswordConnect {
        /// Base URL of the Connect server.
        url: String,
    },
}

impl StoreKind {
    /// As a manifest spells the member of the union.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Vault { .. } => "vault",
            Self::AwsSecretsManager { .. } => "awsSecretsManager",
            Self::GcpSecretManager { .. } => "gcpSecretManager",
            Self::AzureKeyVault { .. } => "azureKeyVault",
            Self::OnePasswordConnect { .. } => "onePasswordConnect",
        }
    }
}

/// How to log in to Vault with a ServiceAccount's token. The two take the same request and check the token differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VaultLogin {
    /// Vault asks the cluster (TokenReview).
    Kubernetes,
    /// Vault checks the signature by itself.
    Jwt,
}

/// One secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Its name: that of its folder in [`pod::SECRETS_DIR`](crate::pod::SECRETS_DIR).
    pub name: String,
    /// Name of the store.
    pub store: String,
    /// Where in the store.
    pub at: Location,
    /// Which of its values go where.
    pub keys: Vec<Key>,
    /// Seconds between two looks at the store.
    pub refresh_seconds: u32,
    /// Seconds for which values count that could not be looked after.
    pub max_staleness_seconds: u32,
}

/// Where in a store a secret is; of the store's kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Location {
    /// In Vault.
    Vault {
        /// What is mounted there.
        engine: VaultEngine,
        /// Path of the mount, for example `secret`.
        mount: String,
        /// Path below it. With [`VaultEngine::Dynamic`] that which is read, for example `creds/readonly`.
        path: String,
        /// The version of KV version 2 to stay with. None: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// In AWS Secrets Manager.
    AwsSecretsManager {
        /// Name or ARN.
        secret_id: String,
        /// Staging label, for example `AWSPREVIOUS`. None: `AWSCURRENT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version_stage: Option<String>,
    },
    /// In Google Cloud Secret Manager.
    GcpSecretManager {
        /// Name of the secret.
        secret: String,
        /// The version to stay with. None: `latest`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// In Azure Key Vault.
    AzureKeyVault {
        /// Name of the secret.
        secret: String,
        /// The version to stay with. None: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// In 1Password.
    OnePasswordConnect {
        /// Name or id of the vault.
        vault: String,
        /// Title or id of the item.
        item: String,
    },
}

/// What is mounted in Vault at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VaultEngine {
    /// Key/value without versions.
    KvV1,
    /// Key/value with versions.
    KvV2,
    /// Credentials that are made when they are read and end with their lease.
    Dynamic,
}

/// One value of a secret and where it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Key {
    /// Member of the secret. None: all of a secret that is one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Where it goes.
    pub to: Destination,
}

/// Where a value goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Destination {
    /// The file of this name in the secret's folder.
    File(String),
    /// The environment variable of this name: the agent beside the server reads it from
    /// [`pod::VARIABLES_DIR`](crate::pod::VARIABLES_DIR).
    Env(String),
}

/// What became of a pod's secrets: in [`pod::SECRETS_REPORT`](crate::pod::SECRETS_REPORT), where its proxy reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretsReport {
    /// Each secret, in the order of names.
    pub secrets: Vec<SecretReport>,
    /// Each store.
    pub stores: Vec<StoreReport>,
}

/// What became of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretReport {
    /// Its name.
    pub name: String,
    /// Name of the store.
    pub store: String,
    /// The version that is delivered: the store's own word for it, or where it has none a code of the values with a key of
    /// the server's (`hmac:…`). None: nothing is delivered yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When that version was delivered, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<i64>,
    /// Whether another version was delivered before it to the same pod, so that what read it at its start has an old one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rotated: bool,
    /// Why the last look at the store failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<SecretTrouble>,
}

/// Why a secret could not be looked after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretTrouble {
    /// What kind of failure, for the condition's reason.
    pub kind: TroubleKind,
    /// What is wrong and what helps, one sentence; holds no value and nothing that the store sent but a status code.
    pub message: String,
    /// Since when, seconds since 1970.
    pub since: i64,
    /// Whether it has lasted longer than the values may go without a look.
    pub stale: bool,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TroubleKind {
    /// The store cannot be reached, does not answer in time, or answers with an error of its own.
    Unavailable,
    /// It refuses the identity, or what the identity asks for.
    Refused,
    /// There is no such secret, or no such key in it.
    NotFound,
    /// What it answered cannot be used.
    Unusable,
}

/// When a store was last reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreReport {
    /// Name of the store.
    pub name: String,
    /// When it last answered, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at: Option<i64>,
    /// Why the last attempt failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<SecretTrouble>,
}
