//! The `cardea-proxy` process: flags, logs, signals.
//!
//! Does not know what the proxy does; the library does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use cardea_contract::pod;
use cardea_proxy::{AuditSink, KeyTimes, Settings};
use clap::Parser;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Authenticates, authorizes and audits what goes to the MCP server in the same pod.
#[derive(Parser)]
struct Flags {
    /// Configuration file (JSON), watched.
    #[arg(long, default_value = pod::CONFIG_FILE)]
    config_file: PathBuf,
    /// Folder with tls.crt, tls.key and, so that sessions outlast this process, session.key, watched.
    #[arg(long, default_value = pod::TLS_DIR)]
    tls_dir: PathBuf,
    /// Folder with ca.crt and, if there are further authorities for clients, clients.crt, watched.
    #[arg(long, default_value = pod::TRUST_DIR)]
    trust_dir: PathBuf,
    /// Folder with introspection/client-secret and static/tokens.json, if the configuration asks for them, watched.
    #[arg(long, default_value = pod::CREDENTIALS_DIR)]
    credentials_dir: PathBuf,
    /// Where MCP is answered, over TLS.
    #[arg(long, default_value_t = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, pod::PROXY_PORT)))]
    listen: SocketAddr,
    /// Where health, readiness, metrics and identity keys are answered, in plain HTTP.
    #[arg(long, default_value_t = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, pod::ADMIN_PORT)))]
    admin_listen: SocketAddr,
    /// Seconds that requests and streams may last after SIGTERM.
    #[arg(long, default_value_t = 20)]
    drain_seconds: u64,
    /// Threads that serve. With more than one a request costs more, since threads wake each other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    worker_threads: u16,
    /// Base URL of an OpenTelemetry collector (OTLP over HTTP) that gets a span of each request. Needs a build with the
    /// feature otel.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// What is logged to standard error, as in `info` or `info,cardea_proxy=debug`. Audit lines go to standard output.
    #[arg(long, default_value = "info", env = "CARDEA_LOG")]
    log: Targets,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let log = cardea_proxy::log::lines(std::io::stderr).context("cannot log");
    let log = log.map(|lines| tracing_subscriber::registry().with(flags.log.clone()).with(lines).init());
    match log.and_then(|()| serve(flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn serve(flags: Flags) -> anyhow::Result<()> {
    let mut builder = match flags.worker_threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime =
        builder.worker_threads(flags.worker_threads.into()).enable_all().build().context("cannot start the threads")?;
    let settings = Settings {
        config_file: flags.config_file,
        tls_dir: flags.tls_dir,
        trust_dir: flags.trust_dir,
        credentials_dir: flags.credentials_dir,
        listen: flags.listen,
        admin_listen: flags.admin_listen,
        drain: Duration::from_secs(flags.drain_seconds),
        keys: KeyTimes::default(),
        audit: AuditSink::stdout(),
        otlp_endpoint: flags.otlp_endpoint.filter(|endpoint| !endpoint.is_empty()),
        ..Settings::default()
    };
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        cardea_proxy::cancel_on_signal(&shutdown).context("cannot hear signals")?;
        cardea_proxy::run(settings, shutdown, |_| {}).await.context("the proxy did not start")
    })
}
