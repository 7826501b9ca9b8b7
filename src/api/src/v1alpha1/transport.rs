//! How a server speaks MCP.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the server speaks MCP. The proxy reaches it on loopback inside the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.port) || !(self.port in [8443, 9090])").message("spec.transport.port: 8443 and 9090 belong to the proxy in the same pod: let the server listen on another port"))]
#[x_kube(validation = Rule::new("!has(self.path) || self.path.matches('^/[A-Za-z0-9._~/-]*$')").message("spec.transport.path must begin with '/' and hold only letters, digits and '._~/-': for example /mcp"))]
pub struct Transport {
    /// Kind of transport. Default: StreamableHttp.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TransportType>,

    /// Port the server listens on, best on 127.0.0.1 only. Default: 8080.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    /// Path of the server's MCP endpoint, and of the proxy's; with `Sse` that of the stream. Default: `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub path: Option<String>,

    /// Plain headers in which the server is told who calls, for a server that cannot verify the signed identity
    /// (`X-Cardea-Identity`), which comes in any case. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_headers: Option<IdentityHeaders>,
}

/// Plain headers that say who calls. What a caller sends under these names is dropped. Values are percent-encoded but for
/// visible ASCII without comma and percent sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.subject) ? [self.subject] : [], has(self.groups) ? [self.groups] : [], has(self.issuer) ? [self.issuer] : []].all(one, one.all(name, name.matches('^[Xx]-[A-Za-z0-9-]+$') && name.lowerAscii() != 'x-cardea-identity'))").message("spec.transport.identityHeaders: a name must begin with X-, hold only letters, digits and '-', and not be X-Cardea-Identity"))]
#[x_kube(validation = Rule::new("!(has(self.subject) && has(self.groups) && self.subject.lowerAscii() == self.groups.lowerAscii()) && !(has(self.subject) && has(self.issuer) && self.subject.lowerAscii() == self.issuer.lowerAscii()) && !(has(self.groups) && has(self.issuer) && self.groups.lowerAscii() == self.issuer.lowerAscii())").message("spec.transport.identityHeaders: two have the same name: give each its own"))]
pub struct IdentityHeaders {
    /// Header with the subject, for example `X-Forwarded-User`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 64))]
    pub subject: Option<String>,

    /// Header with the groups, separated by commas, for example `X-Forwarded-Groups`; empty when they take more than
    /// 4096 bytes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 64))]
    pub groups: Option<String>,

    /// Header with the name of the issuer: an entry of `spec.auth.issuers`, `kubernetes` or `certificate`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 64))]
    pub issuer: Option<String>,
}

/// Kind of transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransportType {
    /// One endpoint, since revision 2025-03-26.
    #[default]
    StreamableHttp,
    /// A stream and an endpoint for messages that it names (HTTP+SSE, revision 2024-11-05). Superseded; for servers that
    /// speak nothing newer.
    Sse,
}

impl TransportType {
    /// As the manifest spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "StreamableHttp",
            Self::Sse => "Sse",
        }
    }
}
