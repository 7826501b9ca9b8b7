//! Certificates: the server's own and its clients'.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// Certificates: the server's own and its clients'.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Who issues the server's certificate. Default: the built-in authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<CertificateIssuer>,

    /// Whether a client must show a certificate to get a connection at all, apart from who it then says it is.
    /// Default: Required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,

    /// ConfigMap in the same namespace whose key `ca.crt` (PEM) holds further authorities for client certificates. They
    /// cannot vouch for identities of Cardea's own trust domain. Default: the built-in authority alone. If it is missing
    /// the server is left as it is, and `CertificateReady` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_ref: Option<LocalRef>,
}

/// Who issues the server's certificate: exactly one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.builtin)").message("spec.tls.issuer needs exactly one member: set builtin"))]
pub struct CertificateIssuer {
    /// The operator's own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
}

/// The operator's own authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Builtin {
    /// How long a certificate is valid. It is renewed after half of that. Default: 86400 (one day).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 2_592_000))]
    pub duration_seconds: Option<i64>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuth {
    /// No certificate, no connection.
    #[default]
    Required,
    /// Asked for, and checked if shown.
    Optional,
    /// Not asked for.
    None,
}
