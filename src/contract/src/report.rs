//! What a proxy reports to the operator. Every condition that says "observed" rests on this.

use serde::{Deserialize, Serialize};

/// The proxy's view of itself and of the server behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// Generation of the configuration in force.
    pub generation: i64,
    /// Why the newest configuration file is not in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_config: Option<String>,
    /// Names of the issuers whose keys cannot be had, so that every token of theirs is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers_without_keys: Vec<String>,
    /// Names of the issuers that cannot be asked about tokens as configured, so that opaque ones are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers_not_introspecting: Vec<String>,
    /// Why the newest file of static tokens is not in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected_static_tokens: Option<String>,
    /// SHA-256 (hex) of the trust bundle in force.
    pub trust_bundle: String,
    /// The certificate that the proxy serves.
    pub leaf: Leaf,
    /// What the server answered to an MCP handshake.
    pub handshake: Handshake,
}

/// A certificate being served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
}

/// Outcome of an MCP handshake with the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Handshake {
    /// The server spoke MCP.
    Succeeded(ServerInfo),
    /// It did not.
    Failed(HandshakeFailure),
}

/// How the server introduced itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// `serverInfo.name`.
    pub name: String,
    /// `serverInfo.version`.
    pub version: String,
    /// Protocol revision that was agreed.
    pub protocol_version: String,
    /// Names of its tools, sorted.
    pub tools: Vec<String>,
}

/// Why the handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeFailure {
    /// One sentence for the status; holds nothing that the server sent but a status code.
    pub message: String,
}
