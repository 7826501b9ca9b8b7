//! The server's process, with all that it starts: one process group, ended as a whole.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// The process. Dropping it kills its group.
pub(crate) struct Process {
    child: Child,
    group: Option<Pid>,
}

impl Process {
    /// Starts it. What it prints goes to standard error: standard output is for what clients need.
    pub(crate) fn start(command: &[String], environment: Vec<(String, String)>) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("no command")?;
        let child = Command::new(program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr()))
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }

    /// Waits until it ends by itself, which it should not.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow::anyhow!("the server ended: {status}"),
            Err(error) => anyhow::Error::new(error).context("the server cannot be waited for"),
        }
    }

    /// Ends it: asked first, killed if it does not.
    pub(crate) async fn end(mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
            tracing::warn!("the server did not end when asked; it is killed");
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended already.
        let _ = self.group.map(|group| kill_process_group(group, signal));
    }
}

impl Drop for Process {
    /// Whatever of the group is still there goes.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
