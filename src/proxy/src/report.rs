//! What the operator is told at [`pod::REPORT_PATH`](cardea_contract::pod::REPORT_PATH): what is in force, what is served,
//! and how the server answers. Who may ask was decided before.
//!
//! Does not know how a handshake goes ([`crate::handshake`]), but how often there may be one.

use std::time::Duration;

use cardea_contract::{Handshake, HandshakeFailure, ProxyReport, Upstream};
use http::{Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Snapshot;
use crate::reply::{self, Body, code};
use crate::tls::TlsUnit;
use crate::{Proxy, handshake};

/// A server that answered is not asked again for this long.
const KEEP_SUCCESS: Duration = Duration::from_secs(30);
/// One that did not, for this long.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
/// Until a handshake must be over.
const LIMIT: Duration = Duration::from_secs(3);

/// The last handshake, and one at a time.
#[derive(Default)]
pub(crate) struct Reporter(Mutex<Option<(Instant, Upstream, Handshake)>>);

impl Reporter {
    async fn handshake(&self, proxy: &Proxy, snapshot: &Snapshot) -> Handshake {
        let address = &snapshot.config.upstream;
        let mut last = self.0.lock().await;
        if let Some((at, of, handshake)) = last.as_ref() {
            let keep = if matches!(handshake, Handshake::Succeeded(_)) { KEEP_SUCCESS } else { KEEP_FAILURE };
            if of == address && at.elapsed() < keep {
                return handshake.clone();
            }
        }
        let sign = || proxy.signer.sign_own(&snapshot.config.resource);
        let outcome = match tokio::time::timeout(LIMIT, handshake::perform(address, sign)).await {
            Ok(Ok(info)) => Handshake::Succeeded(info),
            Ok(Err(failure)) => Handshake::Failed(HandshakeFailure { message: failure.to_string() }),
            Err(_) => Handshake::Failed(HandshakeFailure { message: "the server took too long to answer".into() }),
        };
        *last = Some((Instant::now(), address.clone(), outcome.clone()));
        outcome
    }
}

/// The report.
pub(crate) async fn answer(proxy: &Proxy, snapshot: &Snapshot, unit: &TlsUnit) -> Response<Body> {
    let handshake = proxy.reporter.handshake(proxy, snapshot).await;
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
        handshake,
        rule_warnings: Vec::new(),
    };
    match serde_json::to_vec(&report) {
        Ok(body) => reply::json(StatusCode::OK, body),
        Err(_) => reply::error(StatusCode::INTERNAL_SERVER_ERROR, None, code::UNAVAILABLE, "no report"),
    }
}
