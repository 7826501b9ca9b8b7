//! What a server's tools must be like.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server's tools must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// Holds tools to the definitions that were approved. Default: they may be whatever the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinning: Option<Pinning>,
}

/// Holds tools to the definitions that were approved: what a model reads of a tool must not change behind the back of
/// whoever allowed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pinning {
    /// What becomes of a tool that is not as it was approved, or not listed. Default: Warn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PinningMode>,

    /// The tools as they were approved. `status.tools` shows the digests of what the server has now. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub digests: Vec<ToolDigest>,
}

/// What becomes of a tool that is not as it was approved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PinningMode {
    /// Nothing.
    Off,
    /// An event, a metric and the condition ToolsPinned tell of it.
    #[default]
    Warn,
    /// It is hidden and refused as well, until the manifest says its digest.
    Enforce,
}

/// A tool as it was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.digest.matches('^sha256:[0-9a-f]{64}$')").message("tools.pinning.digests[].digest is 'sha256:' and 64 lower-case hexadecimal digits, as status.tools shows it"))]
pub struct ToolDigest {
    /// Its name.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// Digest of its definition: `sha256:` and 64 hexadecimal digits.
    #[schemars(length(min = 71, max = 71))]
    pub digest: String,
}
