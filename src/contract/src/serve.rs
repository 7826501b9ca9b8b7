//! What the agent in the server's container is told: how the server is started, what it is given, and whether its stdio
//! is to be bridged. The operator puts it into the pod's template, so another one is another pod.

use serde::{Deserialize, Serialize};

/// Everything that the agent is told, as JSON in [`pod::SERVE_CONFIG`](crate::pod::SERVE_CONFIG).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServeConfig {
    /// The server's program and arguments.
    pub command: Vec<String>,
    /// How its stdio is bridged. None: it listens by itself and is only started and watched over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<Stdio>,
    /// Secrets from stores that the server is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<GivenSecret>,
}

/// How a server's stdio is bridged to HTTP over a unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stdio {
    /// Path of the MCP endpoint, with a leading slash.
    pub path: String,
    /// Who shares a process.
    pub isolation: Isolation,
    /// Most processes at once.
    pub max_processes: u32,
    /// Seconds after which a process that nobody asks anything is ended.
    pub idle_seconds: u32,
    /// Longest message in bytes, either way.
    pub max_message_bytes: usize,
}

/// Who shares a process of a stdio server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// A process for each session of a client; in the era without sessions, for each principal.
    PerSession,
    /// One for all.
    Shared,
}

/// A secret from a store, as the server is given it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GivenSecret {
    /// Its name: that of its folder in [`pod::SECRETS_DIR`](crate::pod::SECRETS_DIR).
    pub name: String,
    /// Environment variables, each the content of the file of its name in [`pod::VARIABLES_DIR`](crate::pod::VARIABLES_DIR).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// What follows a new version.
    pub on_rotation: OnRotation,
}

/// What follows a new version of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnRotation {
    /// The server is started anew; calls that are being served end first.
    Restart,
    /// The server gets SIGHUP.
    Signal,
    /// Nothing: the file has changed.
    None,
}
