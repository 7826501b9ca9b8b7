//! What the operator is told at [`pod::REPORT_PATH`](cardea_contract::pod::REPORT_PATH): what is in force, what is served,
//! and how the server answers. Who may ask was decided before.
//!
//! Does not know when the server is asked ([`crate::known`]).

use std::path::Path;
use std::sync::Arc;

use cardea_contract::{ProxyReport, SecretsReport};
use http::{Response, StatusCode};
use tokio::io::AsyncReadExt as _;

use crate::Proxy;
use crate::config::Snapshot;
use crate::reply::{self, Body, code};
use crate::tls::TlsUnit;

/// Largest report on secrets.
const MAX_SECRETS: u64 = 256 << 10;

/// The report.
pub(crate) async fn answer(proxy: &Arc<Proxy>, snapshot: &Arc<Snapshot>, unit: &TlsUnit) -> Response<Body> {
    let look = proxy.known.look(proxy, snapshot).await;
    let report = ProxyReport {
        generation: snapshot.config.generation,
        configuration: snapshot.digest.clone(),
        policies: snapshot.config.policies.clone(),
        rejected_config: proxy.config.rejected(),
        issuers_without_keys: snapshot
            .issuers
            .iter()
            .filter(|issuer| issuer.is_without_keys())
            .map(|issuer| issuer.config.name.clone())
            .collect(),
        issuers_not_introspecting: snapshot
            .issuers
            .iter()
            .filter(|issuer| issuer.is_not_introspecting())
            .map(|issuer| issuer.config.name.clone())
            .collect(),
        rejected_static_tokens: snapshot.static_tokens.as_ref().and_then(|tokens| tokens.rejected()),
        authorization_servers: snapshot.issuers.iter().filter_map(|issuer| issuer.authorization_server()).collect(),
        trust_bundle: unit.bundle.clone(),
        leaf: unit.leaf.clone(),
        handshake: look.handshake.clone(),
        rule_warnings: look.rule_warnings(snapshot),
        secrets: secrets(&proxy.secrets_report).await,
    };
    match serde_json::to_vec(&report) {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(_) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, None, code::UNAVAILABLE, "no report"),
    }
}

/// What the pod's fetcher of secrets says; none if there is none, or none yet.
async fn secrets(file: &Path) -> Option<SecretsReport> {
    let file = tokio::fs::File::open(file).await.ok()?;
    let mut text = Vec::new();
    file.take(MAX_SECRETS).read_to_end(&mut text).await.ok()?;
    let report = serde_json::from_slice(&text);
    if report.is_err() {
        tracing::warn!("the report on secrets cannot be read");
    }
    report.ok()
}
