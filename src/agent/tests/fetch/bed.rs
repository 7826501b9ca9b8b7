//! The program with all that it needs around it: folders in memory, its configuration, what it wrote.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cardea_contract::secrets::{SecretReport, SecretsReport, StoreKind, VaultLogin};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::vault::Vault;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the pod's identity is, in tests.
pub(crate) const IDENTITY: &str = "canary-identity-of-the-pod";
/// Below the tests' folder: the secrets.
const SECRETS: &str = "secrets";

/// The folders and the double.
pub(crate) struct Bed {
    pub(crate) vault: Vault,
    folder: TempDir,
    config: Value,
}

/// The program while it runs.
pub(crate) struct Fetcher {
    child: Child,
}

impl Bed {
    /// A fetcher's surroundings, with these secrets.
    pub(crate) async fn with(secrets: Value) -> Self {
        Self::in_folder(secrets, TempDir::new_in("/dev/shm").unwrap()).await
    }

    pub(crate) async fn in_folder(secrets: Value, folder: TempDir) -> Self {
        let vault = Vault::start().await;
        let made = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        std::fs::write(made("stores/vault").join("token"), IDENTITY).unwrap();
        std::fs::write(made("key").join("session.key"), [7; 32]).unwrap();
        made("report");
        made(SECRETS);
        let kind = StoreKind::Vault {
            address: vault.address(),
            namespace: None,
            login: VaultLogin::Kubernetes,
            login_mount: "kubernetes".to_owned(),
            role: "server".to_owned(),
        };
        let config = json!({"stores": {"vault": {"kind": kind}}, "secrets": secrets});
        Self { vault, folder, config }
    }

    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        edit(&mut self.config);
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardea-agent"));
        command.env("CARDEA_SECRETS", self.config.to_string()).arg(name);
        for (flag, path) in [
            ("--secrets-dir", self.path(SECRETS)),
            ("--stores-dir", self.path("stores")),
            ("--key-file", self.path("key/session.key")),
            ("--report", self.path("report/secrets.json")),
        ] {
            command.arg(flag).arg(path);
        }
        command
    }

    /// Starts it. What it logs is added to what those before it logged.
    pub(crate) fn start(&self) -> Fetcher {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = self.command("fetch").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Fetcher { child }
    }

    /// Runs another command of the program.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.run("ready", &[]).status.success()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// The folder of a secret.
    pub(crate) fn secret(&self, name: &str) -> PathBuf {
        self.path(SECRETS).join(name)
    }

    pub(crate) fn value(&self, secret: &str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.secret(secret).join(file)).ok()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn report(&self) -> SecretsReport {
        let text = std::fs::read_to_string(self.path("report/secrets.json")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What is reported of a secret; nothing is known of one that is not.
    pub(crate) fn reported(&self, name: &str) -> SecretReport {
        self.report().secrets.into_iter().find(|secret| secret.name == name).unwrap_or_else(|| SecretReport {
            name: name.to_owned(),
            store: String::new(),
            version: None,
            delivered_at: None,
            rotated: false,
            trouble: None,
        })
    }
}

impl Fetcher {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the kubelet does.
    pub(crate) async fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        eventually("it ends when it is told to", || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.child.wait().unwrap().success());
    }

    /// Ends it as a lack of memory does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself; gives whether it ended well.
    pub(crate) async fn ended(mut self) -> bool {
        eventually("it ends", || self.child.try_wait().unwrap().is_some()).await;
        self.child.wait().unwrap().success()
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A secret in the double's engine with versions.
pub(crate) fn secret(name: &str, path: &str, keys: &Value) -> Value {
    json!({"name": name, "store": "vault", "at": {"vault": {"engine": "KvV2", "mount": "secret", "path": path}},
        "keys": keys, "refreshSeconds": 1, "maxStalenessSeconds": 3600})
}

/// A key that goes to a file of the same name.
pub(crate) fn file(key: &str) -> Value {
    json!({"key": key, "to": {"file": key}})
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
