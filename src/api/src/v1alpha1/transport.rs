//! How a server speaks MCP.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the server speaks MCP. The proxy reaches it inside the pod: on loopback, or through a bridge to its stdin and stdout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.port) || !(self.port in [8443, 9090])").message("spec.transport.port: 8443 and 9090 belong to the proxy in the same pod: let the server listen on another port"))]
#[x_kube(validation = Rule::new("!has(self.path) || self.path.matches('^/[A-Za-z0-9._~/-]*$')").message("spec.transport.path must begin with '/' and hold only letters, digits and '._~/-': for example /mcp"))]
#[x_kube(validation = Rule::new("has(self.stdio) == (has(self.type) && self.type == 'Stdio')").message("spec.transport.stdio belongs to type Stdio and to no other: set both, as in {type: Stdio, stdio: {command: [/usr/bin/server]}}, or neither"))]
#[x_kube(validation = Rule::new("!has(self.stdio) || !has(self.port)").message("spec.transport.port: a server that speaks on stdin and stdout listens on no port: remove it"))]
#[x_kube(validation = Rule::new("!has(self.stdio) || !has(self.identityHeaders)").message("spec.transport.identityHeaders: a server that speaks on stdin and stdout gets no headers: remove them"))]
pub struct Transport {
    /// Kind of transport. Default: StreamableHttp.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TransportType>,

    /// How a server that speaks on stdin and stdout is run. Goes with `type: Stdio`, which needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<Stdio>,

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

/// How a server that speaks on stdin and stdout is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.command.size() == 0 || self.command[0] != ''").message("spec.transport.stdio.command begins with the server's program, which cannot be empty"))]
pub struct Stdio {
    /// The server's program in its image, and its arguments. `$(VARIABLE)` stands for itself.
    #[schemars(length(min = 1, max = 128), inner(length(max = 4096)))]
    pub command: Vec<String>,

    /// Who shares a process of the server. Default: PerSession.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,

    /// Most processes of the server at once in a pod. Who comes when there are that many is told to come back. Default: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_processes: Option<i32>,

    /// Seconds after which a process ends that nobody asks anything. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub idle_seconds: Option<i32>,
}

/// Who shares a process of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Isolation {
    /// Each session of a client has one of its own, so that nothing passes from one user to another.
    #[default]
    PerSession,
    /// All sessions share one: for a server that keeps its users apart by itself, or has nothing to keep.
    Shared,
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
    /// Messages on stdin and stdout of a process, a line each. Clients speak streamable HTTP all the same.
    Stdio,
}

impl TransportType {
    /// As the manifest spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "StreamableHttp",
            Self::Sse => "Sse",
            Self::Stdio => "Stdio",
        }
    }
}
