//! The rules of a manifest, checked as the operator checks them. What only a cluster has, and no rule depends on, is taken
//! for granted.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use cardea_api::v1alpha1::McpServer;
use cardea_operator::cluster_issuer::ClusterIssuer;
use cardea_operator::observe::Observed;
use cardea_operator::validate::{Rejection, ValidatedServer, validate_at};
use cardea_policy::Policy;
use jiff::Timestamp;
use serde_json::json;

use crate::manifest::{Manifests, Policies};

/// A server and who may use what of it.
pub(crate) struct Ruled {
    /// As it stands there, its status included.
    pub(crate) manifest: McpServer,
    pub(crate) server: ValidatedServer,
    /// Its rules, compiled.
    pub(crate) policy: Policy,
}

/// The rules of a server of these manifests, as they are at a moment: those whose end has come are no more.
///
/// # Errors
/// What is wrong with them, each thing with its field.
pub(crate) fn of(manifests: &Manifests, server: McpServer, at: Timestamp) -> anyhow::Result<Ruled> {
    let policies = manifests.policies(&server)?;
    let mut checked = check(server.clone(), policies).map_err(|rejection| anyhow!(rejection.message))?;
    checked.rules.retain(|rule| rule.not_after.is_none_or(|end| end > at.as_second()));
    let policy = Policy::compile(&checked.rules).context("spec.access.rules")?;
    Ok(Ruled { manifest: server, server: checked, policy })
}

/// Whether a tool of this name is one that may be approved, where only those may be used. A glob may stand for one.
pub(crate) fn may_be_approved(server: &ValidatedServer, tool: &str) -> bool {
    let enforced = server.pinning.as_ref().filter(|pinning| pinning.enforce);
    enforced.is_none_or(|pinning| pinning.digests.contains_key(tool) || tool.contains(['*', '?']))
}

/// Checks a server with the policies that count for it.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check(server: McpServer, policies: Policies) -> Result<ValidatedServer, Rejection> {
    let spec = &server.spec;
    let evidence = policies.auth.as_ref().map(|policy| &policy.spec).or(spec.auth.as_ref().map(|auth| &auth.inline));
    let issuers = evidence.into_iter().flat_map(|evidence| &evidence.issuers);
    let of_clients = spec.tls.iter().filter_map(|tls| tls.client_ca_ref.as_ref());
    let of_stores = policies.stores.iter().flat_map(|stores| stores.values());
    let of_stores = of_stores.filter_map(|store| store.spec.ca_bundle_ref.as_ref());
    let authorities = issuers.filter_map(|issuer| issuer.ca_ref.as_ref()).chain(of_clients).chain(of_stores);
    let authorities = authorities.map(|reference| (reference.name.clone(), Some(String::new()))).collect();
    let name = server.metadata.name.clone().unwrap_or_default();
    let namespace = server.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let origin = format!("https://{name}.{namespace}.svc");
    let observed = Observed {
        namespace,
        name,
        uid: String::new(),
        auth_policy: policies.auth,
        governing: policies.governing,
        secret_stores: policies.stores,
        children: Default::default(),
        workload: Default::default(),
        answers: Default::default(),
        authorities,
        may_use_secrets: true,
        missing_secrets: Default::default(),
        missing_kinds: Default::default(),
        cluster_issuer: Some(Arc::new(ClusterIssuer { url: "https://kubernetes.default.svc".into(), jwks: json!({}) })),
        server: Arc::new(server),
    };
    validate_at(&observed, &origin)
}
