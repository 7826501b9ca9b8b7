//! The rules of a manifest, checked as the operator checks them. What only a cluster has, and no rule depends on, is taken
//! for granted.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use cardea_api::v1alpha1::McpServer;
use cardea_operator::cluster_issuer::ClusterIssuer;
use cardea_operator::observe::Observed;
use cardea_operator::validate::{ValidatedServer, validate_at};
use serde_json::json;

use crate::manifest::{self, Policies};

/// Reads one server with its rules.
///
/// # Errors
/// What is wrong with the manifest, each thing with its field.
pub(crate) fn read(file: &Path, server: Option<&str>) -> anyhow::Result<ValidatedServer> {
    read_whole(file, server).map(|(_, checked)| checked)
}

/// The same with the manifest as it stands there, its status included.
///
/// # Errors
/// What is wrong with the manifest, each thing with its field.
pub(crate) fn read_whole(file: &Path, server: Option<&str>) -> anyhow::Result<(McpServer, ValidatedServer)> {
    let text = manifest::text(file)?;
    of(&text, manifest::server(&text, server)?)
}

/// The same of a server of these documents.
///
/// # Errors
/// What is wrong with the manifest, each thing with its field.
pub(crate) fn of(text: &str, server: McpServer) -> anyhow::Result<(McpServer, ValidatedServer)> {
    let policies = manifest::policies(text, &server)?;
    Ok((server.clone(), checked(server, policies)?))
}

fn checked(server: McpServer, policies: Policies) -> anyhow::Result<ValidatedServer> {
    let spec = &server.spec;
    let evidence = policies.auth.as_ref().map(|policy| &policy.spec).or(spec.auth.as_ref().map(|auth| &auth.inline));
    let issuers = evidence.into_iter().flat_map(|evidence| &evidence.issuers);
    let of_clients = spec.tls.iter().filter_map(|tls| tls.client_ca_ref.as_ref());
    let authorities = issuers.filter_map(|issuer| issuer.ca_ref.as_ref()).chain(of_clients);
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
        children: Default::default(),
        workload: Default::default(),
        answers: Default::default(),
        authorities,
        may_use_secrets: true,
        missing_secrets: Default::default(),
        cluster_issuer: Some(Arc::new(ClusterIssuer { url: "https://kubernetes.default.svc".into(), jwks: json!({}) })),
        server: Arc::new(server),
    };
    validate_at(&observed, &origin).map_err(|rejection| anyhow!(rejection.message))
}
