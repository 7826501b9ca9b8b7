//! A program of somebody else's that runs beside a test and ends with it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;

/// How long it may be silent: an access token expires in between, and the machine may be busy.
const SILENCE: Duration = Duration::from_secs(180);

/// The program, whose lines are read and answered.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Ok(Self { child, input, lines })
    }

    /// Its next line.
    pub(crate) async fn line(&mut self) -> anyhow::Result<String> {
        let line = tokio::time::timeout(SILENCE, self.lines.recv()).await.context("it has been silent")?;
        line.context("it ended: its errors stand above")
    }

    /// The lines that it has printed since, without waiting.
    pub(crate) fn printed(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.try_recv().ok()).collect()
    }

    pub(crate) fn answer(&mut self, line: &str) -> anyhow::Result<()> {
        writeln!(self.input, "{line}")?;
        Ok(self.input.flush()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked, not killed: a script that has started a program stops it then. It may have ended already.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
