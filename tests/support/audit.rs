//! The API server's own account of who asked what: the only witness of "nothing was written".

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

/// The audit log of the cluster that the launcher started.
#[derive(Clone)]
pub struct AuditLog(PathBuf);

/// One request, when it was answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `create`, `patch`, `get`, …
    pub verb: String,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Client.
    #[serde(default)]
    pub user_agent: String,
    /// Stage: only `ResponseComplete` counts.
    pub stage: String,
    /// When it arrived.
    pub request_received_timestamp: String,
    /// When it was answered.
    pub stage_timestamp: String,
    /// What it was about.
    #[serde(default)]
    pub object_ref: Option<ObjectRef>,
}

/// What a request was about.
#[derive(Clone, Debug, Deserialize)]
pub struct ObjectRef {
    /// Plural.
    #[serde(default)]
    pub resource: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Subresource.
    #[serde(default)]
    pub subresource: String,
}

impl AuditLog {
    /// The log named in the environment.
    ///
    /// # Errors
    /// When there is none.
    pub fn from_env() -> anyhow::Result<Self> {
        let path = crate::cluster::setting("CARDEA_CLUSTER_AUDIT_LOG")
            .context("CARDEA_CLUSTER_AUDIT_LOG is not set: run under the cluster launcher")?;
        Ok(Self(path.into()))
    }

    /// Where the log ends now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn mark(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read(&self.0)?.len())
    }

    /// What was answered since a mark.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn since(&self, mark: usize) -> anyhow::Result<Vec<Request>> {
        let log = std::fs::read(&self.0)?;
        let lines = log.get(mark..).unwrap_or_default().split(|byte| *byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice::<Request>(line).ok())
            .filter(|request| request.stage == "ResponseComplete")
            .collect())
    }
}

impl Request {
    /// Whether it changed something.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether the operator sent it as part of its work on servers; its lease is another matter.
    pub fn is_operators(&self) -> bool {
        self.uri.contains("fieldManager=cardea&") || self.uri.ends_with("fieldManager=cardea")
    }

    /// Whether it was about an object of this kind (plural).
    pub fn is_about(&self, resource: &str) -> bool {
        self.object_ref.as_ref().is_some_and(|object| object.resource == resource)
    }

    /// Namespace of what it was about.
    pub fn namespace(&self) -> &str {
        self.object_ref.as_ref().map_or("", |object| &object.namespace)
    }
}
