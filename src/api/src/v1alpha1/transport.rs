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

    /// Path of the server's MCP endpoint, and of the proxy's. Default: `/mcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub path: Option<String>,
}

/// Kind of transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransportType {
    #[default]
    StreamableHttp,
}

impl TransportType {
    /// As the manifest spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "StreamableHttp",
        }
    }
}
