//! Secrets that a server needs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One secret: where it is kept, and where the server finds its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("spec.secrets[].name must be lower-case letters, digits and '-': it names a folder and a volume"))]
#[x_kube(validation = Rule::new("self.keys.all(k, self.keys.exists_one(o, (has(o.env) ? 'env ' + o.env : 'file ' + o.file) == (has(k.env) ? 'env ' + k.env : 'file ' + k.file)))").message("spec.secrets[].keys: two keys go to the same env or file: give each its own"))]
pub struct Secret {
    /// Name of this entry.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,

    /// Where the secret is kept: exactly one of its members.
    pub from: SecretSource,

    /// Which of its values the server gets, and where.
    #[schemars(length(min = 1, max = 32))]
    pub keys: Vec<SecretKey>,
}

/// Where a secret is kept: exactly one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kubernetesSecret)").message("spec.secrets[].from needs exactly one member: set kubernetesSecret"))]
pub struct SecretSource {
    /// A Kubernetes Secret. The operator never reads it: the kubelet gives it to the server's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes_secret: Option<KubernetesSecret>,
}

/// A Kubernetes Secret of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesSecret {
    /// Name of the Secret. While it or one of the keys is missing the server does not start, and `SecretsReady` says so.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One value of a secret, and where the server finds it: exactly one of `file` and `env`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.env) != has(self.file)").message("spec.secrets[].keys[] needs exactly one of file and env: prefer file, it follows a rotation"))]
#[x_kube(validation = Rule::new("!has(self.file) || self.file.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*$')").message("spec.secrets[].keys[].file is a file name without folders: the folder is /run/secrets/NAME"))]
#[x_kube(validation = Rule::new("!has(self.env) || self.env.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("spec.secrets[].keys[].env must be letters, digits and '_' and not begin with a digit"))]
pub struct SecretKey {
    /// Key in the secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,

    /// Name of the file in `/run/secrets/NAME` (NAME being that of the entry). Lies in memory, follows a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub file: Option<String>,

    /// Name of the environment variable. Keeps its value until the pod is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub env: Option<String>,
}
