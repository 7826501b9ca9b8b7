//! The auth proxy: it stands before an MCP server in the same pod, finds out who calls, decides whether they may, and
//! forwards what was permitted. One request: accept → tls → limits → Host/Origin → well-known answers → authn (401) →
//! strict parse → authz → `Permit` → audit → upstream → response filter; [`front`] is that sentence as code.
//!
//! Knows nothing of Kubernetes: everything it is told stands in mounted files, and it holds no rights anywhere.

mod account;
mod admin;
mod arguments;
mod audit;
mod authn;
mod config;
mod delivery;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gather;
mod given;
mod handshake;
mod headers;
mod host;
mod identity;
mod jsonrpc;
mod known;
mod lease;
mod limits;
mod listener;
pub mod log;
mod mcp;
mod metadata;
mod metrics;
mod mirrors;
mod pinning;
mod refusal;
mod reload;
mod reply;
mod report;
mod response;
mod session;
#[cfg(feature = "otel")]
mod spans;
#[cfg(not(feature = "otel"))]
#[path = "no_spans.rs"]
mod spans;
mod sse;
mod stray;
mod tls;
mod trace;
mod two_endpoints;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardea_contract::pod;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use audit::AuditSink;
pub use authn::jwks::KeyTimes;
pub use config::ConfigError;
pub use limits::Patience;
pub use spans::SpansError;
pub use tls::TlsError;

/// What the proxy is started with. What changes while it runs stands in the files that these paths name.
pub struct Settings {
    /// The [`ProxyConfig`](cardea_contract::ProxyConfig) in JSON.
    pub config_file: PathBuf,
    /// Folder with `tls.crt`, `tls.key` and `session.key`. Without the last a key is drawn, and sessions end with the
    /// process.
    pub tls_dir: PathBuf,
    /// Folder with the trust bundle.
    pub trust_dir: PathBuf,
    /// Folder with the Secrets that credentials are checked with.
    pub credentials_dir: PathBuf,
    /// What became of the pod's secrets, if any come from stores.
    pub secrets_report: PathBuf,
    /// Where MCP is answered, over TLS only.
    pub listen: SocketAddr,
    /// Where health, readiness, metrics and the identity keys are answered, in plain HTTP.
    pub admin_listen: SocketAddr,
    /// How long requests and streams may last after the shutdown was asked for.
    pub drain: Duration,
    /// How often files are read again even if nothing was heard of a change.
    pub poll: Duration,
    /// How often an issuer's keys are fetched and how long they may be believed.
    pub keys: KeyTimes,
    /// How long what the server answered to a handshake counts.
    pub remember: Duration,
    /// Connections at once. Further ones wait in the kernel's queue; of one address there are never more than are left.
    pub connections: usize,
    /// How long others may take.
    pub patience: Patience,
    /// Where audit lines go.
    pub audit: AuditSink,
    /// Base URL of the OpenTelemetry collector that spans are sent to, over OTLP/HTTP; none are without one.
    pub otlp_endpoint: Option<String>,
}

impl Default for Settings {
    /// What holds in the pod.
    fn default() -> Self {
        let everywhere = std::net::Ipv6Addr::UNSPECIFIED;
        Self {
            config_file: pod::CONFIG_FILE.into(),
            tls_dir: pod::TLS_DIR.into(),
            trust_dir: pod::TRUST_DIR.into(),
            credentials_dir: pod::CREDENTIALS_DIR.into(),
            secrets_report: pod::SECRETS_REPORT.into(),
            listen: (everywhere, pod::PROXY_PORT).into(),
            admin_listen: (everywhere, pod::ADMIN_PORT).into(),
            drain: Duration::from_secs(20),
            poll: Duration::from_secs(10),
            keys: KeyTimes::default(),
            remember: Duration::from_secs(30),
            connections: 2048,
            patience: Patience::default(),
            audit: AuditSink::stdout(),
            otlp_endpoint: None,
        }
    }
}

/// Where the proxy answers, once it does.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// MCP over TLS.
    pub proxy: SocketAddr,
    /// Health, readiness, metrics and identity keys.
    pub admin: SocketAddr,
}

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The first configuration is not fit to be put in force.
    #[error("the configuration cannot be put in force")]
    Config(#[from] ConfigError),
    /// The first certificate or trust bundle is not fit to be served.
    #[error("the certificate or the trust bundle cannot be put in force")]
    Tls(#[from] TlsError),
    /// A port is taken or may not be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Spans cannot be sent as asked for.
    #[error("spans cannot be sent")]
    Spans(#[from] SpansError),
    /// The key of the signed identity, or one for sessions, could not be made.
    #[error("cannot draw a key")]
    DrawnKey,
}

/// Everything that one request may need.
pub(crate) struct Proxy {
    config: Arc<config::ConfigStore>,
    tls: Arc<tls::TlsStore>,
    signer: identity::Signer,
    upstream: upstream::Upstream,
    secrets_report: PathBuf,
    audit: audit::Audit,
    spans: Option<spans::Spans>,
    metrics: Arc<metrics::Metrics>,
    known: Arc<known::Known>,
    patience: Patience,
    slots: limits::Slots,
    /// Bytes of bodies that are kept.
    bodies: limits::Slots,
    /// Bytes of lists and events that are read whole.
    lists: limits::Slots,
    /// Answers that were not taken to their last byte.
    unread: limits::Slots,
    /// Where messages go, of the streams of 2024-11-05.
    endpoints: two_endpoints::Endpoints,
    /// Told whenever what is in force has changed.
    changes: watch::Sender<()>,
    /// Streams that have no end of their own end now.
    stopping: CancellationToken,
    /// All other streams end now.
    closing: CancellationToken,
}

/// Cancels `shutdown` at SIGTERM or SIGINT.
///
/// # Errors
/// When a signal cannot be listened for.
pub fn cancel_on_signal(shutdown: &CancellationToken) -> std::io::Result<()> {
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        asked.cancel();
    });
    Ok(())
}

/// Serves until `shutdown` is cancelled and the last request has ended or the drain time is over.
///
/// `bound` is told the addresses once both ports answer.
///
/// # Errors
/// When the first configuration, certificate or trust bundle is unfit, or a port cannot be had. Nothing that happens
/// later ends the proxy.
pub async fn run(
    settings: Settings,
    shutdown: CancellationToken,
    bound: impl FnOnce(Bound) + Send,
) -> Result<(), StartError> {
    let metrics = Arc::new(metrics::Metrics::new());
    let means = authn::Means::new(settings.keys, settings.credentials_dir, metrics.clone());
    let config = Arc::new(config::ConfigStore::load(settings.config_file.clone(), means)?);
    let sources = tls::Sources::new(settings.tls_dir, settings.trust_dir).map_err(|_| StartError::DrawnKey)?;
    let tls = Arc::new(tls::TlsStore::load(sources, config.current().config.client_auth)?);
    let listener = bind(settings.listen).await?;
    let admin = bind(settings.admin_listen).await?;
    let addresses = Bound { proxy: local(&listener, settings.listen)?, admin: local(&admin, settings.admin_listen)? };

    let proxy = Arc::new(Proxy {
        config: config.clone(),
        tls: tls.clone(),
        signer: identity::Signer::generate().map_err(|_| StartError::DrawnKey)?,
        upstream: upstream::Upstream::new(),
        secrets_report: settings.secrets_report,
        audit: audit::Audit::new(settings.audit),
        spans: settings.otlp_endpoint.as_deref().map(spans::Spans::start).transpose()?,
        metrics: metrics.clone(),
        known: Arc::new(known::Known::new(settings.remember)),
        patience: settings.patience,
        slots: limits::Slots::default(),
        bodies: limits::Slots::default(),
        lists: limits::Slots::default(),
        unread: limits::Slots::default(),
        endpoints: two_endpoints::Endpoints::default(),
        changes: watch::Sender::new(()),
        stopping: shutdown.clone(),
        closing: CancellationToken::new(),
    });

    let background = CancellationToken::new();
    let _ends_background = background.clone().drop_guard();
    let watching = reload::Watch { config, tls, metrics, poll: settings.poll, changes: proxy.changes.clone() };
    tokio::spawn(background.clone().run_until_cancelled_owned(watching.run()));
    tokio::spawn(background.clone().run_until_cancelled_owned(admin::serve(admin, proxy.clone(), shutdown.clone())));

    tracing::info!(proxy = %addresses.proxy, admin = %addresses.admin, "serving");
    bound(addresses);
    listener::serve(listener, proxy, settings.connections, shutdown, settings.drain).await;
    Ok(())
}

/// Binds; where the kernel has no IPv6, the IPv4 wildcard stands in for the IPv6 one.
async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let outcome = match TcpListener::bind(address).await {
        Err(_) if address.ip() == std::net::Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    };
    outcome.map_err(|source| StartError::Listen { address, source })
}

fn local(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { address, source })
}
