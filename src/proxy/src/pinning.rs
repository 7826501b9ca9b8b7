//! Whether a tool is as it was approved, where nothing else may be used: in a list by what is listed, at a call by what the
//! server lists for the proxy itself. What is not known is not as it was approved.
//!
//! Does not know who approves, nor what a refusal looks like.

use std::collections::BTreeMap;
use std::sync::Arc;

use cardea_contract::ProxyConfig;
use cardea_policy::ToolDefinition;

use crate::Proxy;
use crate::config::Snapshot;
use crate::known::Known;

/// Digests by name, if other tools are not to be used.
fn enforced(config: &ProxyConfig) -> Option<&BTreeMap<String, String>> {
    config.pinning.as_ref().filter(|pinning| pinning.enforce).map(|pinning| &pinning.digests)
}

/// Whether only what was approved may be used.
pub(crate) fn is_enforced(config: &ProxyConfig) -> bool {
    enforced(config).is_some()
}

/// Whether the tool of this name may be called. The server is asked what it is, if that is not known.
pub(crate) async fn permits_call(proxy: &Arc<Proxy>, snapshot: &Arc<Snapshot>, name: &str) -> bool {
    let Some(digests) = enforced(&snapshot.config) else { return true };
    let Some(approved) = digests.get(name) else { return false };
    let look = proxy.known.look(proxy, snapshot).await;
    look.tool(name).is_some_and(|tool| tool.digest == *approved)
}

/// Whether an element of a list, of this name, may be shown.
pub(crate) fn permits_listed(config: &ProxyConfig, known: &Known, name: &str, element: &str) -> bool {
    let Some(digests) = enforced(config) else { return true };
    let (Some(approved), Some(tool)) = (digests.get(name), ToolDefinition::read(element)) else { return false };
    known.listed(&config.upstream, &tool);
    tool.name == name && tool.digest == *approved
}
