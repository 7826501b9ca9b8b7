//! Version `v1alpha1`. The doc comments of spec and status are the descriptions in the CRD: they speak to its user.

mod access;
mod access_policy;
mod auth;
mod auth_policy;
pub mod conditions;
mod limits;
mod network;
pub mod reasons;
mod secret_source;
mod secret_store;
mod secrets;
mod server;
mod source;
mod status;
mod tls;
mod tools;
mod transport;
mod workload;

pub use access::{
    Access, AccessRule, ArgumentCondition, ClaimMatch, Effect, Elements, PrincipalMatch, ScopeBundle,
    ServiceAccountName, Size, ValueType,
};
pub use access_policy::{GovernedServer, McpAccessPolicy, McpAccessPolicySpec, McpAccessPolicyStatus, RuleWarning};
pub use auth::{
    AttributeClaim, Auth, Claims, ClientCertificates, Introspection, Issuer, KubernetesServiceAccounts, StaticTokens,
};
pub use auth_policy::{McpAuthPolicy, McpAuthPolicySpec, McpAuthPolicyStatus, PolicyUser};
pub use limits::{Audit, AuditLevel, Limits, Rate, Rates, Redact};
pub use network::{Egress, EgressDestination, Ingress, Network};
pub use secret_source::{
    AwsSecret, AzureSecret, Csi, ExternalSecret, ExternalStoreKind, ExternalStoreRef, GcpSecret, KubernetesSecret,
    OnePasswordItem, SecretSource, VaultEngine, VaultSecret,
};
pub use secret_store::{
    AwsStore, AzureStore, GcpStore, McpSecretStore, McpSecretStoreSpec, McpSecretStoreStatus, OnePasswordStore,
    VaultLogin, VaultStore,
};
pub use secrets::{OnRotation, Secret, SecretKey};
pub use server::{McpServer, McpServerSpec};
pub use source::{Image, PullPolicy, Source};
pub use status::{
    Address, Certificate, ClientRegistration, IssuerMetadata, IssuerStatus, McpServerStatus, NetworkStatus,
    ProxyStatus, SecretStatus, ServerInfo, Tool, ToolFlag,
};
pub use tls::{Builtin, CertificateIssuer, ClientAuth, Tls};
pub use tools::{Pinning, PinningMode, ToolDigest, Tools};
pub use transport::{IdentityHeaders, Isolation, Stdio, Transport, TransportType};
pub use workload::Workload;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of an object in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One value of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret. While it or the key is missing the server does not start, and `SecretsReady` says so.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
