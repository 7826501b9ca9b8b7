//! The server that runs here: a process that listens by itself, one that is bridged from stdio as in a pod, or one that
//! somebody else has started.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context as _;
use cardea_agent::serve::{Patience, Setup, bridge};
use cardea_contract::ServeConfig;
use cardea_operator::validate::ValidatedServer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::folder::Folder;
use super::process::Process;

/// Files of secrets do not change here.
const LOOK: Duration = Duration::from_secs(3600);

/// The server.
pub(crate) enum Server {
    Elsewhere,
    Process(Process),
    Bridge { running: JoinHandle<anyhow::Result<()>>, stop: CancellationToken },
}

impl Server {
    /// Starts it with this command, or with that of the manifest, and these environment variables.
    ///
    /// # Errors
    /// When there is neither, or it cannot be started.
    pub(crate) fn start(
        command: &[String],
        server: &ValidatedServer,
        environment: Vec<(String, String)>,
        folder: &Folder,
    ) -> anyhow::Result<Self> {
        let Some(serve) = server.serve.as_ref().filter(|serve| serve.stdio.is_some()) else {
            return Process::start(command, environment).map(Self::Process);
        };
        let command = if command.is_empty() { &serve.command } else { command };
        let own = environment.into_iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let setup = Setup {
            // What a store would give is in the environment.
            config: ServeConfig { command: command.to_vec(), secrets: Vec::new(), ..serve.clone() },
            socket: folder.socket()?,
            secrets: folder.secrets_dir(),
            variables: std::env::vars_os().chain(own).collect(),
            patience: Patience::default(),
            poll: LOOK,
        };
        let stop = CancellationToken::new();
        Ok(Self::Bridge { running: tokio::spawn(bridge(setup, stop.clone())), stop })
    }

    /// Waits until it ends by itself, which it should not.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self {
            Self::Elsewhere => std::future::pending().await,
            Self::Process(process) => process.ended().await,
            Self::Bridge { running, .. } => match running.await {
                Ok(Ok(())) => anyhow::anyhow!("the bridge ended"),
                Ok(Err(problem)) => problem.context("the bridge did not start"),
                Err(problem) => anyhow::Error::new(problem).context("the bridge ended"),
            },
        }
    }

    /// Ends it, with all that it has started.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Elsewhere => {}
            Self::Process(process) => process.end().await,
            // Why it ended was told.
            Self::Bridge { running, .. } if running.is_finished() => {}
            Self::Bridge { running, stop } => {
                stop.cancel();
                running.await.context("the bridge ended")??;
            }
        }
        Ok(())
    }
}
