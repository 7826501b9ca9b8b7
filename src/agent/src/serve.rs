//! In the server's container: starts the server, gives it its secrets, bridges its stdio.
//!
//! From outside in: [`bridge`] has the socket, `http` the requests on it, `sessions` who there is, `keeper` a process for
//! them, `router` whose is what, `process` the process itself. `supervisor` is for servers that need no bridge.

mod backoff;
mod bridge;
mod environment;
mod events;
mod http;
mod keeper;
mod ledger;
mod lines;
mod memory;
mod message;
mod process;
mod reaper;
mod room;
mod rotation;
mod router;
mod said;
mod scrub;
mod sessions;
mod supervisor;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use cardea_contract::ServeConfig;
use cardea_contract::pod;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use self::bridge::{Setup, bridge};
pub use self::process::Patience;
use self::reaper::Children;

/// Between two looks at secrets, should no news of them come.
const POLL: Duration = Duration::from_secs(10);

/// What the agent is told, in the pod by its environment.
#[derive(Args)]
pub struct Flags {
    /// How the server is started (JSON)
    #[arg(long, env = pod::SERVE_CONFIG, hide_env_values = true)]
    config: String,
    /// Socket of the bridge
    #[arg(long, default_value = pod::BRIDGE_SOCKET)]
    socket: PathBuf,
    /// Folder of the secrets
    #[arg(long, default_value = pod::SECRETS_DIR)]
    secrets: PathBuf,
}

/// Runs until it is told to end.
///
/// # Errors
/// When it cannot begin.
pub async fn run(flags: Flags) -> anyhow::Result<()> {
    let config: ServeConfig =
        serde_json::from_str(&flags.config).with_context(|| format!("{} is not readable", pod::SERVE_CONFIG))?;
    let children = Children::default();
    let setup = Setup {
        config,
        socket: flags.socket,
        secrets: flags.secrets,
        variables: std::env::vars_os().collect(),
        patience: Patience::default(),
        poll: POLL,
    };
    tokio::spawn({
        let children = children.clone();
        async move {
            if let Err(error) = children.adopt().await {
                tracing::warn!(%error, "orphans of the server are not adopted");
            }
        }
    });
    if setup.config.stdio.is_none() {
        return supervisor::run(setup.means(children.clone())?, children, setup.poll).await;
    }
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn({
        let stop = stop.clone();
        async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
        }
    });
    bridge::run(setup, children, stop).await
}
