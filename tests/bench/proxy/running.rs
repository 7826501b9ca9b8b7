//! Processes: each target, the server behind them and the load generator are one each, so that what one of them costs
//! can be read from the kernel.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cardea_tests::process::cpu_seconds;

use crate::work::{Found, Order};

/// Until a target must answer.
const START: Duration = Duration::from_secs(30);

/// A process that ends with this.
pub(crate) struct Running {
    child: Child,
    /// Where it complains.
    errors: Option<PathBuf>,
}

impl Running {
    /// Starts a program with as many file descriptors as the machine allows: a thousand streams take two thousand.
    /// `errors` is a file for what it complains of.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        out: Stdio,
        errors: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let complaints = match &errors {
            Some(path) => File::create(path)?.into(),
            None => Stdio::inherit(),
        };
        let child = Command::new("sh")
            .args(["-c", r#"ulimit -n "$(ulimit -Hn)"; exec "$@""#, "sh"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(complaints)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, errors })
    }

    /// This program itself, in another role.
    pub(crate) fn itself(arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start(&std::env::current_exe()?, arguments, Stdio::piped(), None)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pipes(&mut self) -> anyhow::Result<(ChildStdin, BufReader<ChildStdout>)> {
        let reader = self.child.stdout.take().context("no standard output")?;
        Ok((self.child.stdin.take().context("no standard input")?, BufReader::new(reader)))
    }

    /// The first line that it says.
    pub(crate) fn says(&mut self) -> anyhow::Result<String> {
        read(&mut self.pipes()?.1)
    }

    /// Waits until somebody accepts connections there.
    pub(crate) fn answers(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let complaints = self.errors.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
                bail!(
                    "it ended with {status}: {}",
                    complaints.get(complaints.len().saturating_sub(2000)..).unwrap_or(&complaints)
                );
            }
            ensure!(Instant::now() < deadline, "nobody answers at {address}");
            pause(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits. Who measures has nothing else to do meanwhile.
#[expect(clippy::disallowed_methods, reason = "there is no worker here that it could block")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// A port that nobody has.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A generator with everything open, waiting for the word.
pub(crate) struct Loaded {
    _generator: Running,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Loaded {
    pub(crate) fn ready(order: &Order) -> anyhow::Result<Self> {
        let mut generator = Running::itself(&["load"])?;
        let (mut to, mut from) = generator.pipes()?;
        writeln!(to, "{}", serde_json::to_string(order)?)?;
        ensure!(read(&mut from)? == "ready", "the load generator is not ready");
        Ok(Self { _generator: generator, to, from })
    }

    /// Gives the word; what was found, and the seconds of processor time that the process `id` took for it.
    pub(crate) fn go(mut self, id: u32) -> anyhow::Result<(Found, f64)> {
        let before = cpu_seconds(id)?;
        writeln!(self.to)?;
        let found = read(&mut self.from)?;
        let cpu = cpu_seconds(id)? - before;
        Ok((serde_json::from_str(&found)?, cpu))
    }
}

fn read(from: &mut BufReader<ChildStdout>) -> anyhow::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    ensure!(!line.is_empty(), "it ended without a word");
    Ok(line.trim_end().to_owned())
}
