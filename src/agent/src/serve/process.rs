//! One process of a server: started with its own environment and its own folder for temporary files, written to and read
//! line by line, and ended so that nothing of it is left (rows 61, 63, 68).
//!
//! Does not know what the lines say.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::environment::{Environment, NoSecret, as_argument};
use super::lines::Lines;
use super::reaper::{self, Children};
use super::room::{Inlet, Outlet, queue};
use super::said;
use super::scrub::Scrub;

/// Bytes that are written at once.
const BATCH: usize = 64 << 10;

/// How servers are started and ended.
#[derive(Clone)]
pub(crate) struct Means {
    /// Program and arguments.
    pub(crate) command: Arc<[String]>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) scrub: Scrub,
    pub(crate) children: Children,
    pub(crate) patience: Patience,
    /// Longest message in bytes.
    pub(crate) max_message_bytes: usize,
}

/// How long a process may take to end.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// After its standard input was closed.
    pub end: Duration,
    /// After SIGTERM.
    pub term: Duration,
    /// What calls may take to end before the bridge ends.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { end: Duration::from_secs(2), term: Duration::from_secs(5), drain: Duration::from_secs(20) }
    }
}

/// Why there is no process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoProcess {
    #[error("no command is given: set the server's command")]
    NoCommand,
    #[error("{program} cannot be started ({source}): check that the image has it and that it may be executed")]
    Start { program: String, source: std::io::Error },
    #[error(transparent)]
    Secret(#[from] NoSecret),
}

/// A process that runs, or has ended.
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) id: Pid,
    pub(crate) started: Instant,
    /// Lines for its standard input, without their ends.
    pub(crate) input: Inlet<Vec<u8>>,
    ending: CancellationToken,
    ended: watch::Receiver<Option<ExitStatus>>,
    /// Cancelled once nothing of it is left.
    gone: CancellationToken,
    dismissed: AtomicBool,
    /// Cancelled by who reads it, once its calls know of its end.
    pub(crate) parted: CancellationToken,
}

impl Process {
    /// Starts one. `number` is what logs call it.
    pub(crate) fn start(means: &Means, number: u64) -> Result<(Self, Lines<ChildStdout>), NoProcess> {
        let (program, arguments) = means.command.split_first().ok_or(NoProcess::NoCommand)?;
        let given = means.environment.given()?;
        means.scrub.learn(means.environment.values().iter().map(|value| value.as_slice()));
        let temporary = temporary();
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(means.environment.base().iter().map(|(name, value)| (name, value)));
        command.envs(given.iter().map(|(name, value)| (name, as_argument(value))));
        if let Some(folder) = &temporary {
            command.env("TMPDIR", folder.path());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |source| NoProcess::Start { program: program.clone(), source };
        let (mut child, id) = means.children.start(&mut command).map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        let (input, lines) = queue(means.max_message_bytes.saturating_mul(2).max(BATCH));
        let (ending, gone) = (CancellationToken::new(), CancellationToken::new());
        let (tell, ended) = watch::channel(None);
        tokio::spawn(write(stdin, lines, ending.clone()));
        tokio::spawn(said::log(stderr, means.scrub.clone(), number));
        let fate = Fate { children: means.children.clone(), id, temporary, patience: means.patience };
        tokio::spawn(fate.follow(child, ending.clone(), tell, gone.clone()));
        tracing::info!(process = number, id = id.as_raw_pid(), "the server is started");
        let lines = Lines::new(stdout, means.max_message_bytes);
        let (dismissed, parted) = (AtomicBool::new(false), CancellationToken::new());
        Ok((Self { number, id, started: Instant::now(), input, ending, ended, gone, dismissed, parted }, lines))
    }

    /// The same, of a process that is not needed any more: its end is no failure.
    pub(crate) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.end();
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    /// Asks it to end: standard input is closed; if that does not help, signals follow (row 68).
    pub(crate) fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until it has ended, whatever it has left behind; with how, if that is known.
    pub(crate) async fn ended(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.ok().and_then(|status| *status)
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if self.ended.borrow().is_none() {
            reaper::signal_one(self.id, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

/// A folder of its own, so that sessions do not meet in `/tmp`. Without a place to write there is none.
fn temporary() -> Option<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;

    let private = std::fs::Permissions::from_mode(0o700);
    match tempfile::Builder::new().prefix("cardea-").permissions(private).tempdir() {
        Ok(folder) => Some(folder),
        Err(error) => {
            tracing::warn!(%error, "no folder for temporary files: mount an emptyDir at /tmp if the server needs one");
            None
        }
    }
}

/// Writes lines until there are no more, and closes.
async fn write(mut stdin: ChildStdin, mut lines: Outlet<Vec<u8>>, ending: CancellationToken) {
    let writing = async {
        while let Some(mut batch) = lines.next().await {
            batch.push(b'\n');
            while batch.len() < BATCH {
                let Some(line) = lines.next_now() else { break };
                batch.extend_from_slice(&line);
                batch.push(b'\n');
            }
            if stdin.write_all(&batch).await.is_err() {
                // It has closed its end; what follows shows when it ends.
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = ending.cancelled() => {}
    }
}

/// What is done about the end of a process.
struct Fate {
    children: Children,
    id: Pid,
    temporary: Option<TempDir>,
    patience: Patience,
}

impl Fate {
    async fn follow(
        self,
        mut child: Child,
        ending: CancellationToken,
        ended: watch::Sender<Option<ExitStatus>>,
        gone: CancellationToken,
    ) {
        let status = tokio::select! {
            status = child.wait() => status.ok(),
            () = ending.cancelled() => self.end(&mut child).await,
        };
        // The writer has no use either.
        ending.cancel();
        ended.send_replace(Some(status.unwrap_or_default()));
        reaper::signal_group(self.id, Signal::KILL);
        self.children.ended(self.id);
        if let Some(temporary) = self.temporary {
            let cleared = tokio::task::spawn_blocking(move || {
                reaper::sweep(temporary.path());
                temporary.close()
            });
            if let Ok(Err(error)) = cleared.await {
                tracing::warn!(%error, "a folder for temporary files cannot be removed");
            }
        }
        gone.cancel();
    }

    async fn end(&self, child: &mut Child) -> Option<ExitStatus> {
        if let Ok(status) = tokio::time::timeout(self.patience.end, child.wait()).await {
            return status.ok();
        }
        reaper::signal_group(self.id, Signal::TERM);
        if let Ok(status) = tokio::time::timeout(self.patience.term, child.wait()).await {
            return status.ok();
        }
        reaper::signal_group(self.id, Signal::KILL);
        child.wait().await.ok()
    }
}
