//! Bounds of a request, and what is written down about it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of a single request and of all at once, in each pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest request body in bytes; a larger one gets 413. Default: 1048576 (1 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_body_bytes: Option<i64>,

    /// Seconds until the server must have begun its answer, else 504. A stream that has begun may last longer.
    /// Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_seconds: Option<i32>,

    /// Requests being served at once in one pod, streams included; one more gets 503. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub concurrent: Option<i32>,
}

/// What is written to the audit log, which is the proxy's standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// How much. Default: Decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<AuditLevel>,
}

/// How much is audited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuditLevel {
    /// Nothing.
    None,
    /// One line for each decision, with neither argument values nor secrets.
    #[default]
    Decisions,
}
