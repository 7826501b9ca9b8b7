//! The admin port: health, readiness, metrics, and the keys that verify the signed identity. Plain HTTP, so nothing here is
//! a secret, and nothing here changes anything.
//!
//! Does not know MCP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use cardea_contract::pod;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::Proxy;
use crate::upstream::is_open;

/// Until the head of a request must be there; also how long an idle connection is kept.
const HEADER_READ: Duration = Duration::from_secs(30);
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Connections at once: probes, a scraper or two, and a server that fetches keys.
const MAX_CONNECTIONS: usize = 64;

#[derive(Clone)]
struct Shared {
    proxy: Arc<Proxy>,
    stopping: CancellationToken,
}

/// Answers for ever.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stopping: CancellationToken) {
    let router = Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route(pod::IDENTITY_KEYS_PATH, get(keys))
        .with_state(Shared { proxy, stopping });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_READ).max_buf_size(MAX_HEAD_BYTES);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = room.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: pause, or this becomes a busy loop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let serving = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let _place = place;
            let _ = serving.await;
        });
    }
}

/// For startup and liveness probes: configuration, certificate and port were had, or there would be no answer. Does not
/// ask the server, which starts after a sidecar.
async fn healthy() -> &'static str {
    "ok"
}

/// For the readiness probe: a caller would be served now, if by a configuration that should have been replaced.
async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match is_open(&shared.proxy.config.current().config.upstream.listens).await {
        true if shared.proxy.config.rejected().is_some() => (
            StatusCode::OK,
            "ready, by the former configuration: the newest one is rejected, see the log and the report",
        ),
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the server does not listen"),
    }
}

async fn metrics(State(shared): State<Shared>) -> axum::response::Response {
    match shared.proxy.metrics.exposition(&shared.proxy.config) {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn keys(State(shared): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/jwk-set+json")], shared.proxy.signer.jwks().to_owned())
}
