//! A bridge, a caller of it, and waiting for what must come.

mod caller;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardea_agent::serve::{Patience, Setup, bridge};
use cardea_contract::{GivenSecret, Isolation, OnRotation, ServeConfig, Stdio};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::caller::{Caller, Stream, call, initialize, later, text};

/// The longest that anything may take here.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A bridge and the folder it lives in.
pub(crate) struct Bridge {
    pub(crate) folder: TempDir,
    pub(crate) stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

/// What can be different about a bridge.
pub(crate) struct Plan {
    pub(crate) arguments: Vec<String>,
    pub(crate) stdio: Stdio,
    pub(crate) secrets: Vec<GivenSecret>,
    pub(crate) patience: Patience,
}

impl Plan {
    /// What ends is not waited for long.
    pub(crate) fn new() -> Self {
        let short = Duration::from_millis(200);
        let stdio = Stdio {
            path: "/mcp".into(),
            isolation: Isolation::PerSession,
            max_processes: 8,
            idle_seconds: 600,
            max_message_bytes: 1 << 20,
        };
        let patience = Patience { end: short, term: short, drain: Duration::from_secs(5) };
        Self { arguments: Vec::new(), stdio, secrets: Vec::new(), patience }
    }

    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|one| (*one).to_owned()));
        self
    }

    pub(crate) fn shared(mut self) -> Self {
        self.stdio.isolation = Isolation::Shared;
        self
    }

    /// A secret `token` in the variable TOKEN.
    pub(crate) fn secret(mut self, on_rotation: OnRotation) -> Self {
        self.secrets.push(GivenSecret { name: "token".into(), env: vec!["TOKEN".into()], on_rotation });
        self
    }
}

/// The server that does as it is told.
pub(crate) fn server() -> &'static str {
    env!("CARGO_BIN_EXE_stdio-server")
}

impl Bridge {
    pub(crate) async fn start(plan: Plan) -> Self {
        let mut command = vec![server().to_owned()];
        command.extend(plan.arguments.iter().cloned());
        Self::of(command, plan).await
    }

    pub(crate) async fn of(command: Vec<String>, plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if !plan.secrets.is_empty() {
            rotate(folder.path(), "token", 1, "TOKEN", "value-1");
        }
        let variables = ["PATH", "HOME"].map(|name| (OsString::from(name), variable(name)));
        let further = [("CARDEA_SERVE", "{}"), ("REDIS_SERVICE_HOST", "10.0.0.2"), ("OF_THE_IMAGE", "yes")];
        let further = further.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let setup = Setup {
            config: ServeConfig { command, stdio: Some(plan.stdio), secrets: plan.secrets },
            socket: folder.path().join("mcp.sock"),
            secrets: folder.path().join("secrets"),
            variables: variables.into_iter().chain(further).collect(),
            patience: plan.patience,
            poll: Duration::from_millis(200),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(bridge(setup, stop.clone()));
        let bridge = Self { folder, stop, running: Some(running) };
        eventually("the socket is there", async || bridge.socket().exists()).await;
        bridge
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("mcp.sock")
    }

    /// Another version of the secret `token`.
    pub(crate) fn rotate(&self, version: u32, value: &str) {
        rotate(self.folder.path(), "token", version, "TOKEN", value);
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::new(self.socket())
    }

    /// A session.
    pub(crate) async fn session(&self) -> Caller {
        let mut caller = self.caller();
        caller.begin().await;
        caller
    }

    /// Ends it; everything of it must be gone then.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(LONG, running).await.expect("it ends").unwrap().unwrap();
    }
}

fn variable(name: &str) -> OsString {
    std::env::vars_os().find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
}

/// What the fetcher of secrets does for a new version.
pub(crate) fn rotate(folder: &Path, secret: &str, version: u32, name: &str, value: &str) {
    let folder = folder.join("secrets").join(secret);
    let target = format!("..{version}");
    std::fs::create_dir_all(folder.join(&target).join(".env")).unwrap();
    std::fs::write(folder.join(&target).join(".env").join(name), value).unwrap();
    let half = folder.join("..half");
    std::os::unix::fs::symlink(&target, &half).unwrap();
    std::fs::rename(half, folder.join("..data")).unwrap();
}

/// Whether there is such a process, ended ones aside that nobody has buried.
pub(crate) fn lives(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}
