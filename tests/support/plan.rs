//! What the MCP client in a pod is asked to do and what it found: one JSON document in, one JSON line for each step out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a client pod finds what it was given. A pod without one of them cannot plan a step that needs it.
pub mod mounted {
    /// Authorities that verify the server (PEM).
    pub const TRUST: &str = "/run/client/trust/ca.crt";
    /// Its own certificate (PEM).
    pub const CERTIFICATE: &str = "/run/client/certificate/tls.crt";
    /// The key of that (PEM).
    pub const KEY: &str = "/run/client/certificate/tls.key";
    /// Folder of its tokens, one file for each audience.
    pub const TOKENS: &str = "/run/client/tokens";
}

/// One thing to do, by itself: nothing is kept from one step to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Name under which the outcome is found again.
    pub name: String,
    /// With what it introduces itself.
    #[serde(default)]
    pub evidence: Evidence,
    /// What it does.
    pub action: Action,
}

/// With what a step introduces itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Whether it shows the client certificate.
    pub certificate: bool,
    /// File name of the token that it sends.
    pub token: Option<String>,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What a step does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Lists the tools of an MCP server.
    List {
        /// MCP endpoint.
        url: String,
    },
    /// Calls a tool.
    Call {
        /// MCP endpoint.
        url: String,
        /// Tool.
        tool: String,
        /// Its arguments.
        arguments: Map<String, Value>,
    },
    /// Posts JSON and looks at the bare answer.
    Post {
        /// Where to.
        url: String,
        /// What.
        body: Value,
    },
    /// Opens a TCP connection.
    Connect {
        /// `ADDRESS:PORT`.
        address: String,
    },
}

/// What a step found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the step.
    pub name: String,
    /// What it found.
    pub found: Found,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Found {
    /// Names of the tools.
    Tools(Vec<String>),
    /// The text that a tool answered.
    Answer {
        /// Its text parts, one after the other.
        text: String,
        /// Whether the tool says that it failed.
        error: bool,
    },
    /// A JSON-RPC error.
    Refused {
        /// Its code.
        code: i32,
        /// Its message.
        message: String,
    },
    /// An HTTP answer.
    Http {
        /// Status.
        status: u16,
        /// Header fields.
        headers: BTreeMap<String, String>,
        /// Body.
        body: String,
    },
    /// A TCP connection.
    Connected,
    /// Nothing: why there was no answer.
    Failed(String),
}
