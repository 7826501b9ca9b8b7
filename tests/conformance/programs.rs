//! The programs under test: our fixture server, and `cardea run` in front of it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Where the proxy listens. The suite asks 127.0.0.1 and the same port, so that the `Host` it sends is one that the proxy
/// knows.
pub(crate) const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Everything on: rules of each kind, the list filter, an audit line for each decision with arguments redacted.
const MANIFEST: &str = include_str!("server.yaml");

/// A port that is free now.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A program that was built beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(program.exists(), "{} is not there: build it first", program.display());
    Ok(program)
}

/// The fixture server. Ends when dropped.
pub(crate) struct Fixture {
    port: u16,
    _process: Child,
}

impl Fixture {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let process = Command::new(program("conformance-server")?)
            .arg(format!("127.0.0.1:{port}"))
            .kill_on_drop(true)
            .spawn()
            .context("cannot start conformance-server")?;
        let mut left = 600;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            left -= 1;
            anyhow::ensure!(left > 0, "the fixture does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Self { port, _process: process })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

/// `cardea run` in front of the fixture. To be ended.
pub(crate) struct Run {
    pub(crate) port: u16,
    /// PEM files of the authority, the client's certificate and its key.
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The other caller's token.
    pub(crate) token: String,
    process: Child,
    _folder: TempDir,
}

impl Run {
    pub(crate) async fn start(fixture: &Fixture) -> anyhow::Result<Self> {
        Self::of(MANIFEST, &["--upstream", &fixture.url()]).await
    }

    /// In front of a fixture that speaks stdio, a process a session.
    pub(crate) async fn start_stdio() -> anyhow::Result<Self> {
        let fixture = program("conformance-server")?.to_string_lossy().into_owned();
        let command = serde_json::to_string(&[&fixture, "stdio"])?;
        let transport = format!(
            "spec:\n  transport:\n    type: Stdio\n    stdio:\n      command: {command}\n      maxProcesses: 64\n"
        );
        Self::of(&MANIFEST.replacen("spec:\n", &transport, 1), &[]).await
    }

    async fn of(manifest: &str, server: &[&str]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (text, manifest, log) = (manifest, folder.path().join("server.yaml"), folder.path().join("log"));
        std::fs::write(&manifest, text)?;
        let token = token(folder.path()).await?;
        let port = free_port()?;
        let mut process = Command::new(program("cardea")?)
            .args(["run", "--secret", &format!("suite-tokens={}", folder.path().display())])
            .args(["--admin-port", "0", "--listen", &PROXY.to_string()])
            .args(server)
            .args(["--port", &port.to_string(), "-f"])
            .arg(&manifest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start cardea")?;
        let told = told(&mut process).await.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
        let path = |name: &str| -> anyhow::Result<PathBuf> {
            Ok(told.get("env").and_then(|env| env.get(name)?.as_str()).context("no certificates")?.into())
        };
        Ok(Self {
            port,
            authority: path("NODE_EXTRA_CA_CERTS")?,
            certificate: path("CLAUDE_CODE_CLIENT_CERT")?,
            key: path("CLAUDE_CODE_CLIENT_KEY")?,
            token,
            process,
            _folder: folder,
        })
    }

    /// Ends it as Ctrl-C would, so that it leaves nothing behind.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        let id = self.process.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("cardea run has ended")?;
        kill_process(id, Signal::TERM)?;
        let status = self.process.wait().await?;
        anyhow::ensure!(status.success(), "cardea run: {status}");
        Ok(())
    }
}

/// Draws a token and writes what a server knows of it into a folder that stands for its Secret.
async fn token(folder: &Path) -> anyhow::Result<String> {
    let drawn = Command::new(program("cardea")?).args(["token", "new", "--name", "suite"]).output().await?;
    anyhow::ensure!(drawn.status.success(), "cardea token new: {}", String::from_utf8_lossy(&drawn.stderr));
    let drawn: Value = serde_json::from_slice(&drawn.stdout)?;
    std::fs::write(folder.join("tokens.json"), json!({"tokens": [drawn.get("entry")]}).to_string())?;
    Ok(drawn.get("token").and_then(Value::as_str).context("no token")?.to_owned())
}

/// The `.mcp.json` that it prints.
async fn told(process: &mut Child) -> anyhow::Result<Value> {
    let mut lines = BufReader::new(process.stdout.take().context("no output")?);
    let mut text = String::new();
    while lines.read_line(&mut text).await? > 0 {
        if let Ok(told) = serde_json::from_str(&text) {
            // Nothing more comes, but the pipe must stay open.
            tokio::spawn(async move { lines.read_to_end(&mut Vec::new()).await });
            return Ok(told);
        }
    }
    anyhow::bail!("cardea run ended")
}
