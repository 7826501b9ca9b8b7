//! Keeps an object while servers use it, by a finalizer. One that nobody uses bears none, so that it can be deleted whether the
//! operator runs or not (ADR 0010).
//!
//! Does not know who uses what ([`crate::users`] does).

use std::fmt::Debug;

use cardea_api::v1alpha1::PolicyUser;
use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::{Api, Patch, PatchParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::heard::Key;
use crate::metrics::Metrics;

/// Keeps an object while servers use it.
pub const FINALIZER: &str = "cardea.dev/in-use";
/// Owner of that one field. Under the name that writes statuses, each would take the other's back.
const FINALIZER_MANAGER: &str = "cardea-policy-users";
/// Servers listed by name in a status.
pub(crate) const SERVERS_LISTED: usize = 100;
/// Servers listed by name in a sentence.
const SERVERS_NAMED: usize = 10;

/// Sees to it that an object is held while it has users, and let go when it has none. Says whether it is gone by that.
///
/// # Errors
/// When the API server does not take it.
pub(crate) async fn hold<K>(
    client: &Client,
    metrics: &Metrics,
    (namespace, name): &Key,
    meta: &ObjectMeta,
    is_used: bool,
) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let is_held = meta.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    let goes = meta.deletion_timestamp.is_some();
    let finalizers = match (is_used, is_held) {
        (false, true) => vec![],
        (true, false) if !goes => vec![FINALIZER],
        _ => return Ok(false),
    };
    // With the UID: one that is gone is not made anew.
    let body = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "uid": meta.uid, "finalizers": finalizers},
    });
    metrics.wrote_policy(kind_of::<K>(), "finalizer");
    Api::<DeserializeGuard<K>>::namespaced(client.clone(), namespace)
        .patch(name, &PatchParams::apply(FINALIZER_MANAGER).force(), &Patch::Apply(body))
        .await?;
    Ok(goes && !is_used)
}

/// The kind as a label of metrics.
fn kind_of<K: Resource<DynamicType = ()>>() -> &'static str {
    match K::kind(&()) {
        std::borrow::Cow::Borrowed(kind) => kind,
        std::borrow::Cow::Owned(_) => "other",
    }
}

/// Why an object cannot go that shall, if servers still use it. `field` is where they name it.
pub(crate) fn held(meta: &ObjectMeta, users: &[String], field: &str) -> Option<Finding> {
    (meta.deletion_timestamp.is_some() && !users.is_empty()).then(|| {
        Finding::new(
            condition::DELETION_HELD,
            Some(true),
            reasons::IN_USE,
            format!("still used by {}: name another in their {field}, or delete them", names(users)),
        )
    })
}

/// The former finding's message, if it stands in a status.
pub(crate) fn is_held(conditions: &[Condition]) -> Option<&str> {
    let found = conditions.iter().find(|found| found.type_ == condition::DELETION_HELD)?;
    Some(&found.message)
}

/// Users as a status lists them.
pub(crate) fn listed(users: &[String]) -> Vec<PolicyUser> {
    users.iter().take(SERVERS_LISTED).map(|name| PolicyUser { name: name.clone() }).collect()
}

/// Few of many names, in a sentence.
pub(crate) fn names(users: &[String]) -> String {
    let named = users.iter().take(SERVERS_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match users.len().saturating_sub(SERVERS_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
