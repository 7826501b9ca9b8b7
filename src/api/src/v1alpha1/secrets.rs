//! Secrets that a server needs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, SecretSource};

/// One secret: where it is kept, and where the server finds its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("spec.secrets[].name must be lower-case letters, digits and '-': it names a folder and a volume"))]
#[x_kube(validation = Rule::new("self.keys.all(k, self.keys.exists_one(o, (has(o.env) ? 'env ' + o.env : 'file ' + o.file) == (has(k.env) ? 'env ' + k.env : 'file ' + k.file)))").message("spec.secrets[].keys: two keys go to the same env or file: give each its own"))]
#[x_kube(validation = Rule::new("has(self.storeRef) == (has(self.from.vault) || has(self.from.awsSecretsManager) || has(self.from.gcpSecretManager) || has(self.from.azureKeyVault) || has(self.from.onePasswordConnect))").message("spec.secrets[].storeRef names the McpSecretStore of vault, awsSecretsManager, gcpSecretManager, azureKeyVault and onePasswordConnect: set it for these, and for no other"))]
#[x_kube(validation = Rule::new("!(has(self.from.kubernetesSecret) || has(self.from.vault) || has(self.from.onePasswordConnect)) || self.keys.all(k, has(k.key))").message("spec.secrets[].keys[].key is needed here, since the secret has members: name the one that goes there"))]
#[x_kube(validation = Rule::new("!has(self.from.csi) || self.keys.all(k, has(k.file) && !has(k.key))").message("spec.secrets[].keys of csi are files as its parameters name them: give file alone, as in {file: token}"))]
#[x_kube(validation = Rule::new("has(self.storeRef) || !(has(self.onRotation) || has(self.maxStalenessSeconds))").message("spec.secrets[].onRotation and maxStalenessSeconds are for secrets with a storeRef, which Cardea fetches itself: remove them"))]
#[x_kube(validation = Rule::new("has(self.storeRef) || has(self.from.externalSecret) || !has(self.refreshSeconds)").message("spec.secrets[].refreshSeconds is for secrets with a storeRef and for externalSecret: remove it"))]
pub struct Secret {
    /// Name of this entry.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,

    /// Where the secret is kept: exactly one of its members.
    pub from: SecretSource,

    /// McpSecretStore of the namespace that says how the store is reached. Goes with `vault`, `awsSecretsManager`,
    /// `gcpSecretManager`, `azureKeyVault` and `onePasswordConnect`, which need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<LocalRef>,

    /// Which of its values the server gets, and where.
    #[schemars(length(min = 1, max = 32))]
    pub keys: Vec<SecretKey>,

    /// What follows a new version of a secret with a `storeRef`. Default: Restart if one of its values is an environment
    /// variable, otherwise None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_rotation: Option<OnRotation>,

    /// Seconds between two looks at the store. Default: 5 for Vault, 60 for 1Password Connect, 300 for the clouds, an hour
    /// for an ExternalSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub refresh_seconds: Option<i32>,

    /// Seconds for which values of a secret with a `storeRef` count that could not be looked after. The server keeps running on
    /// them for longer, and `SecretsReady` turns False. Default: 86400, a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_staleness_seconds: Option<i32>,
}

/// What follows a new version of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRotation {
    /// The server is started anew, as calls that are being served end: a stdio server in its pod, another one by new pods.
    Restart,
    /// The server gets SIGHUP.
    Signal,
    /// Nothing: the file has changed.
    None,
}

/// One value of a secret, and where the server finds it: exactly one of `file` and `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.env) != has(self.file)").message("spec.secrets[].keys[] needs exactly one of file and env: prefer file, it follows a rotation"))]
#[x_kube(validation = Rule::new("!has(self.file) || self.file.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')").message("spec.secrets[].keys[].file is a file name without folders: the folder is /run/secrets/NAME"))]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("spec.secrets[].keys[].env must be letters, digits and '_' and not begin with a digit"))]
pub struct SecretKey {
    /// Member of the secret. None: all of it, where a secret may be one text (`awsSecretsManager`, `gcpSecretManager`,
    /// `azureKeyVault`, `externalSecret`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,

    /// Name of the file in `/run/secrets/NAME` (NAME being that of the entry). Lies in memory, follows a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub file: Option<String>,

    /// Name of the environment variable. Keeps its value until the server is started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub env: Option<String>,
}
