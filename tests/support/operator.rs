//! The operator as a process of its own, the way a pod runs it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use crate::cluster::{eventually, setting};

/// A running operator. Killed when dropped.
pub struct Operator {
    process: Child,
    log: PathBuf,
}

impl Operator {
    /// Starts the operator in a namespace that exists, and waits until it leads or stands by.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(namespace: &str, instance: &str) -> anyhow::Result<Self> {
        let folder = setting("CARDEA_CLUSTER_DIR").context("run under the cluster launcher")?;
        let log = Path::new(&folder).join(format!("operator-{namespace}-{instance}.log"));
        let process = Command::new(binary("cardea-operator")?)
            .args(["run", "--namespace", namespace, "--instance", instance])
            .args(["--proxy-image", "localhost/cardea-proxy:dev", "--agent-image", "localhost/cardea-agent:dev"])
            .args(["--admin-listen", "127.0.0.1:0", "--log", "info,kube=info"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start cardea-operator: build it first")?;
        let operator = Self { process, log };
        eventually("the operator is up", async || {
            Ok((operator.log_has("\"leads\"")? || operator.log_has("cardea-operator starts")?).then_some(()))
        })
        .await?;
        Ok(operator)
    }

    /// Waits until it leads.
    ///
    /// # Errors
    /// When it does not.
    pub async fn leads(&self) -> anyhow::Result<()> {
        eventually("the operator leads", async || Ok(self.log_has("\"leads\"")?.then_some(()))).await
    }

    /// Whether it has logged this.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log_has(&self, text: &str) -> anyhow::Result<bool> {
        Ok(self.log()?.contains(text))
    }

    /// Everything that it logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where its admin endpoints are.
    ///
    /// # Errors
    /// When it has not said so.
    pub fn admin(&self) -> anyhow::Result<String> {
        let log = self.log()?;
        let after = log.split("\"admin\":\"").nth(1).context("the operator has not said where it listens")?;
        Ok(after.chars().take_while(|letter| *letter != '"').collect())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it ends in failure.
    pub fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        let status = self.process.wait()?;
        anyhow::ensure!(status.success(), "the operator ended with {status}: {}", self.log()?);
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A binary of the workspace, beside this test's own. `CARDEA_BIN_DIR` names another folder.
///
/// # Errors
/// When this test does not know where it is.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(folder) = setting("CARDEA_BIN_DIR") {
        return Ok(Path::new(&folder).join(name));
    }
    let mut folder = std::env::current_exe()?;
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    Ok(folder.join(name))
}
