//! The bridge as a whole: a socket on which a stdio server can be reached as if it spoke streamable HTTP. Part of the
//! agent, and of whoever runs a stdio server on a laptop.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cardea_contract::{OnRotation, ServeConfig};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::Signal;
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::environment::Environment;
use super::http::Endpoint;
use super::ledger::Ledger;
use super::process::{Means, Patience};
use super::reaper::Children;
use super::rotation;
use super::scrub::Scrub;
use super::sessions::Sessions;

/// Most connections at once. The proxy needs one for each open request.
const MAX_CONNECTIONS: usize = 8192;
/// Longest head of a request.
const MAX_HEAD: usize = 64 << 10;
/// What answers may take to be sent when everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Between two glances at whether calls have ended.
const GLANCE: Duration = Duration::from_millis(20);
/// Between two looks at what is idle.
const LOOK: Duration = Duration::from_secs(1);

/// How a server is run and where.
pub struct Setup {
    /// What is run; `stdio` says how it is bridged.
    pub config: ServeConfig,
    /// The socket that is made.
    pub socket: PathBuf,
    /// Folder of the secrets.
    pub secrets: PathBuf,
    /// Variables of which the server sees those that are meant for it.
    pub variables: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    /// How long things may take to end.
    pub patience: Patience,
    /// Between two looks at secrets, should no news of them come.
    pub poll: Duration,
}

impl Setup {
    /// The environment and everything else that a process takes.
    pub(crate) fn means(&self, children: Children) -> anyhow::Result<Means> {
        let environment = Environment::new(self.variables.iter().cloned(), self.config.secrets.clone(), &self.secrets);
        Ok(Means {
            command: self.config.command.clone().into(),
            environment: Arc::new(environment),
            scrub: Scrub::new()?,
            children,
            patience: self.patience,
            max_message_bytes: self.config.stdio.as_ref().map_or(0, |stdio| stdio.max_message_bytes),
        })
    }
}

/// Bridges a stdio server until `stop`; then new sessions are turned away, calls in flight may end, and every process is
/// ended. Returns when nothing of them is left.
///
/// # Errors
/// When it cannot begin: no bridging was asked for, or the socket cannot be made.
pub async fn bridge(setup: Setup, stop: CancellationToken) -> anyhow::Result<()> {
    run(setup, Children::default(), stop).await
}

pub(crate) async fn run(setup: Setup, children: Children, stop: CancellationToken) -> anyhow::Result<()> {
    let stdio = setup.config.stdio.clone().context("the server does not speak stdio")?;
    let means = setup.means(children)?;
    let listener = listen(&setup.socket).with_context(|| format!("socket {}", setup.socket.display()))?;
    let (path, max_message_bytes) = (stdio.path.clone(), stdio.max_message_bytes);
    let environment = means.environment.clone();
    let sessions = Sessions::new(stdio, means, Arc::new(Ledger::new()));
    let endpoint = Arc::new(Endpoint { sessions, path, max_message_bytes, closing: stop.clone() });
    tracing::info!(socket = %setup.socket.display(), "the bridge listens");
    let beside = CancellationToken::new();
    let _ended_with_this = beside.clone().drop_guard();
    tokio::spawn(beside.clone().run_until_cancelled_owned(look(endpoint.clone())));
    let (tell, rotations) = mpsc::channel(1);
    tokio::spawn(beside.clone().run_until_cancelled_owned(rotation::watch(environment, setup.poll, tell)));
    tokio::spawn(beside.run_until_cancelled_owned(follow(endpoint.clone(), rotations)));
    let connections = GracefulShutdown::new();
    tokio::select! {
        () = accept(&listener, &endpoint, &connections) => {}
        () = drained(&endpoint, &stop, setup.patience.drain) => {}
    }
    let _ = std::fs::remove_file(&setup.socket);
    drop(listener);
    // With the sessions their streams end, so connections can.
    endpoint.sessions.end().await;
    let _ = tokio::time::timeout(LAST_WORDS, connections.shutdown()).await;
    Ok(())
}

/// Nobody can reach it before its mode is set.
fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;

    let unnamed = socket.with_extension("half");
    let _ = std::fs::remove_file(&unnamed);
    let listener = UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&unnamed, socket)?;
    Ok(listener)
}

/// Runs for ever.
async fn accept(listener: &UnixListener, endpoint: &Arc<Endpoint>, connections: &GracefulShutdown) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut http1 = hyper::server::conn::http1::Builder::new();
    http1.max_buf_size(MAX_HEAD);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = places.clone().try_acquire_owned() else {
                    tracing::warn!("there are too many connections");
                    continue;
                };
                let endpoint = endpoint.clone();
                let service = service_fn(move |request| {
                    let endpoint = endpoint.clone();
                    async move { Ok::<_, Infallible>(endpoint.serve(request).await) }
                });
                let connection = connections.watch(http1.serve_connection(TokioIo::new(stream), service));
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Waits until it is to end and nobody waits for an answer any more, for a time. Sessions that there are may go on
/// meanwhile.
async fn drained(endpoint: &Endpoint, stop: &CancellationToken, longest: Duration) {
    stop.cancelled().await;
    tracing::info!("no new sessions; calls in flight may end");
    let calls = async {
        while endpoint.sessions.is_busy() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let _ = tokio::time::timeout(longest, calls).await;
}

async fn look(endpoint: Arc<Endpoint>) {
    loop {
        tokio::time::sleep(LOOK).await;
        endpoint.sessions.look();
    }
}

/// Does what a new version of a secret calls for.
async fn follow(endpoint: Arc<Endpoint>, mut rotations: mpsc::Receiver<OnRotation>) {
    while let Some(rotation) = rotations.recv().await {
        match rotation {
            OnRotation::Restart => endpoint.sessions.renew().await,
            OnRotation::Signal => endpoint.sessions.signal(Signal::HUP),
            OnRotation::None => {}
        }
    }
}
