//! `cardea run`: the proxy of a manifest in front of one server on this machine. What a cluster would give stands in
//! [`local`], the files that a pod would have mounted in [`folder`].
//!
//! Decides nothing about a request: the proxy is the one that runs in a pod, and its configuration is built by the code
//! that builds it for a cluster.

mod connection;
mod folder;
mod local;
mod process;
mod server;
mod watch;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cardea_api::v1alpha1::McpServer;
use cardea_contract::{Listens, Upstream};
use cardea_proxy::{AuditSink, Bound, Settings};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::documents;
use crate::manifest::{Manifests, Policies};
use crate::source::Source;
use folder::Folder;
use local::{Account, Fit, Given, Local, UpstreamUrl};
use server::Server;
use watch::Watch;

/// How long requests and streams may last after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(2);
/// How often it is tried whether the server listens.
const TRY: Duration = Duration::from_millis(50);
/// After this many tries without success a person is told what is waited for.
const TELL: u32 = 60;

/// Flags of `cardea run`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    source: Source,
    /// Namespace, if the manifest names none.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Address on which the proxy answers, over TLS.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// Port on which the proxy answers; 0 takes a free one.
    #[arg(long, default_value_t = cardea_contract::pod::PROXY_PORT)]
    port: u16,
    /// Loopback port of health, metrics and the keys of the signed identity, in plain HTTP; 0 takes a free one.
    #[arg(long, default_value_t = cardea_contract::pod::ADMIN_PORT)]
    admin_port: u16,
    /// A server that runs already, as in http://127.0.0.1:3000/mcp, instead of COMMAND.
    #[arg(long, value_name = "URL", conflicts_with = "command")]
    upstream: Option<UpstreamUrl>,
    /// Whom the client's certificate speaks for: a ServiceAccount of the trust domain, as NAMESPACE/NAME.
    #[arg(long = "as", value_name = "NAMESPACE/NAME")]
    account: Option<Account>,
    /// Trust domain of the certificates.
    #[arg(long, default_value = "cluster.local")]
    trust_domain: String,
    /// A Secret that the manifest refers to, or the entry of spec.secrets whose values a store has, as a folder with a file
    /// for each key. May be repeated.
    #[arg(long, value_name = "NAME=FOLDER")]
    secret: Vec<Given>,
    /// A ConfigMap that the manifest refers to, as a folder with a file for each key. May be repeated.
    #[arg(long, value_name = "NAME=FOLDER")]
    config_map: Vec<Given>,
    /// Starts the server, which must listen on loopback at spec.transport.port; with the transport Stdio in place of its
    /// command.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs until Ctrl-C, SIGTERM or the end of the server.
///
/// # Errors
/// When the manifest cannot be run here, the proxy cannot start, or the server ends.
pub(crate) async fn run(flags: Flags) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let _ends_all = shutdown.clone().drop_guard();
    cardea_proxy::cancel_on_signal(&shutdown).context("cannot hear signals")?;
    let address = SocketAddr::new(flags.listen, free_port(flags.listen, flags.port)?);
    let text = documents::text(flags.source.file()?)?;
    let (server, policies) = asked(&flags.source, &text)?;
    let local = Local::new(&flags, &server, address)?;
    let fit = local.fit(server, policies, 1)?;
    let bridged = fit.server.serve.as_ref().is_some_and(|serve| serve.stdio.is_some());
    if flags.command.is_empty() && flags.upstream.is_none() && !bridged {
        bail!("say which server to run: append `-- COMMAND ARGS...`, or name one that runs with --upstream URL");
    }

    let folder = Folder::create(&local)?;
    folder.put(&fit)?;
    let mut running = match flags.upstream {
        Some(_) => Server::Elsewhere,
        None => {
            let environment = local.environment(&fit.server, &folder)?;
            Server::start(&flags.command, &fit.server, environment, &folder)?
        }
    };

    let settings = Settings {
        config_file: folder.config_file(),
        tls_dir: folder.tls_dir(),
        trust_dir: folder.trust_dir(),
        credentials_dir: folder.credentials_dir(),
        listen: address,
        admin_listen: (Ipv4Addr::LOCALHOST, flags.admin_port).into(),
        drain: DRAIN,
        audit: AuditSink::to(std::io::stderr()),
        ..Settings::default()
    };
    let (bound, addresses) = oneshot::channel();
    let stop = shutdown.clone();
    let mut proxy = tokio::spawn(async move {
        let tell = |addresses| {
            let _ = bound.send(addresses);
        };
        cardea_proxy::run(settings, stop, tell).await
    });
    let outcome = tokio::select! {
        ended = &mut proxy => return ended?.context("the proxy did not start"),
        problem = running.ended() => Err(problem),
        outcome = serve(&flags, &local, fit, &folder, text, addresses) => outcome,
        () = shutdown.cancelled() => Ok(()),
    };
    shutdown.cancel();
    let drained = proxy.await;
    let ended = running.end().await;
    drained?.context("the proxy ended")?;
    outcome.and(ended)
}

/// The server that is meant, with the policies that count for it.
fn asked(source: &Source, text: &str) -> anyhow::Result<(McpServer, Policies)> {
    let manifests = Manifests::read(text)?;
    let server = manifests.server(source.server())?;
    let policies = manifests.policies(&server)?;
    Ok((server, policies))
}

/// Tells how to connect, then follows the manifest: each change is put in force, one that cannot be is said and leaves the
/// former. Ends with an error only.
async fn serve(
    flags: &Flags,
    local: &Local,
    mut current: Fit,
    folder: &Folder,
    text: String,
    addresses: oneshot::Receiver<Bound>,
) -> anyhow::Result<()> {
    let addresses = addresses.await.context("the proxy did not start")?;
    tracing::info!(admin = %addresses.admin, "keys of the signed identity, health and metrics");
    listening(&current.config.upstream).await;
    connection::tell(local, &current.server, folder)?;
    let mut watch = Watch::new(flags.source.file()?, text);
    for generation in 2.. {
        connection::hint(local, &current.server);
        let next = loop {
            let text = watch.changed().await;
            let next = text.and_then(|text| {
                let (server, policies) = asked(&flags.source, &text)?;
                local.fit(server, policies, generation)
            });
            match next {
                Ok(fit) => break fit,
                Err(problem) => tracing::error!("{problem:#}: the former manifest stays in force"),
            }
        };
        folder.put(&next)?;
        if (&next.server.workload, &next.server.secrets) != (&current.server.workload, &current.server.secrets) {
            tracing::warn!("spec.workload and spec.secrets take effect when the server is started again");
        }
        current = next;
    }
    Ok(())
}

/// Waits until the server takes connections.
async fn listening(upstream: &Upstream) {
    let Listens::Port(port) = upstream.listens else { return };
    for attempt in 0_u32.. {
        if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return;
        }
        if attempt == TELL {
            tracing::warn!(
                "nothing listens on 127.0.0.1:{port} yet: let the server listen there, or name its port in spec.transport.port"
            );
        }
        tokio::time::sleep(TRY).await;
    }
}

/// The port that was asked for, or one that is free now: the configuration names it before the proxy listens on it.
fn free_port(address: IpAddr, asked: u16) -> anyhow::Result<u16> {
    if asked != 0 {
        return Ok(asked);
    }
    let listener = std::net::TcpListener::bind((address, 0)).with_context(|| format!("--listen {address}"))?;
    Ok(listener.local_addr()?.port())
}
