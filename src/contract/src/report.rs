//! What a proxy reports to the operator. Every condition that says "observed" rests on this.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The proxy's view of itself and of the server behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyReport {
    /// Generation of the configuration in force.
    pub generation: i64,
    /// SHA-256 (hex) of the configuration file in force.
    #[serde(default)]
    pub configuration: String,
    /// Generations of the `McpAccessPolicy`s in force, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, i64>,
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
    /// What the metadata of authorization servers says to clients, as far as it was read or tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_servers: Vec<AuthorizationServer>,
    /// SHA-256 (hex) of the trust bundle in force.
    pub trust_bundle: String,
    /// The certificate that the proxy serves.
    pub leaf: Leaf,
    /// What the server answered to an MCP handshake.
    pub handshake: Handshake,
    /// What of the rules does not fit the tools that the server has, the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule_warnings: Vec<RuleWarning>,
    /// What became of the pod's secrets, if any come from stores. None also while nothing is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<crate::SecretsReport>,
}

/// An authorization server, as its metadata describes it (RFC 8414, OpenID Connect Discovery).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationServer {
    /// Name of the issuer in the configuration.
    pub name: String,
    /// What came of reading its metadata.
    pub metadata: ServerMetadata,
}

/// What came of reading an authorization server's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServerMetadata {
    /// It was read.
    Read(LoginSupport),
    /// It names another issuer than the one configured, so that nothing of it counts (RFC 8414 section 3.3).
    OtherIssuer,
    /// It could not be had, or is none.
    Unreadable,
}

/// What of an authorization server's metadata decides whether an MCP client can log in there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a member of the metadata")]
pub struct LoginSupport {
    /// `registration_endpoint`: clients register themselves (RFC 7591).
    pub dynamic_registration: bool,
    /// `client_id_metadata_document_supported`: a client's id is the URL of a document about it.
    pub client_id_metadata_documents: bool,
    /// `code_challenge_methods_supported` holds `S256` (RFC 7636); clients of MCP refuse to go on without.
    pub pkce_s256: bool,
    /// `authorization_response_iss_parameter_supported` (RFC 9207).
    pub issuer_parameter: bool,
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
    /// Its tools, by name.
    pub tools: Vec<Tool>,
}

/// A tool, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// SHA-256 of its definition: `sha256:` and lower-case hex. Two of one definition are equal, however it is written.
    pub digest: String,
    /// What makes its definition suspicious.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<ToolFlag>,
}

/// What makes a tool's definition suspicious (E24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ToolFlag {
    /// It holds characters that nobody sees: format characters, tags, private use.
    InvisibleText,
    /// It holds control characters, as terminal escapes begin with.
    ControlCharacters,
    /// Another tool of the server bears the same name: which of them is called nobody can tell.
    NameTwice,
}

/// What of a rule does not fit the tools that the server has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleWarning {
    /// Name of the rule.
    pub rule: String,
    /// What does not fit, and what helps. Holds nothing of the server's but names of tools and arguments.
    pub message: String,
}

/// Why the handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeFailure {
    /// One sentence for the status; holds nothing that the server sent but a status code.
    pub message: String,
}
