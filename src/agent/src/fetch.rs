//! The sidecar that fetches secrets: asks stores, writes files in memory, reports. It alone has the identity for the
//! stores; the server beside it sees nothing but the files.
//!
//! Knows nothing of the server, nor of what follows when a file changes.

mod delivery;
mod folder;
mod ledger;
mod manifest;
mod ready;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cardea_contract::secrets::SecretsConfig;
use cardea_contract::{SecretsReport, pod};
use cardea_secrets::{Codes, Refresh, lazily};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use self::delivery::Delivery;
pub use self::ready::ready;
use self::report::ReportFile;

/// Pause before a report, since much comes at once.
const SETTLE: Duration = Duration::from_millis(50);
/// Pause after a report that could not be written.
const AGAIN: Duration = Duration::from_secs(1);
/// Length of the key that codes are made with.
const KEY: std::ops::RangeInclusive<usize> = 32..=4096;

/// What is fetched, and where things lie. Only tests say other paths than those of a pod.
#[derive(Args)]
pub struct Fetch {
    /// Which secrets from which stores (JSON)
    #[arg(long = "config", env = pod::SECRETS_CONFIG, value_parser = parse, hide_env_values = true)]
    pub config: SecretsConfig,
    #[arg(long, hide = true, default_value = pod::SECRETS_DIR)]
    secrets_dir: PathBuf,
    #[arg(long, hide = true, default_value = pod::STORES_DIR)]
    stores_dir: PathBuf,
    #[arg(long, hide = true, default_value = pod::SECRETS_KEY_FILE)]
    key_file: PathBuf,
    #[arg(long, hide = true, default_value = pod::SECRETS_REPORT)]
    report: PathBuf,
}

impl Fetch {
    /// Where the identities for the stores lie.
    pub fn stores_dir(&self) -> &Path {
        &self.stores_dir
    }
}

/// Fetches until it is told to end.
///
/// # Errors
/// When it cannot begin: a configuration that leads out of its folders, a folder that is not in memory, no key.
pub async fn run(fetch: Fetch) -> anyhow::Result<()> {
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Fetch { config, secrets_dir, stores_dir, key_file, report } = fetch;
    let wanted = manifest::check(&config)?;
    let codes = Arc::new(codes(&key_file)?);
    let earlier = report::read(&report).unwrap_or_default();
    let mut delivery = Delivery::open(&config, wanted, &secrets_dir, &earlier, codes.clone())?;
    let mut refresh = Refresh::new(&config, &lazily(&config, &stores_dir), codes)?;
    let mut file = ReportFile::new(report);
    // An earlier report may tell of files that are no longer there.
    file.write(delivery.report()).context("the report cannot be written: mount a volume for it")?;
    let mut due = None;
    loop {
        due = due.or_else(|| delivery.has_news().then(|| Instant::now() + SETTLE));
        let stale = delivery.turns_stale();
        tokio::select! {
            () = refresh.turn(&mut delivery) => {}
            () = until(stale) => delivery.look_again(),
            () = until(due) => due = write(&mut file, delivery.report()),
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
        }
    }
}

/// Gives when to try again, if it could not be written.
fn write(file: &mut ReportFile, report: SecretsReport) -> Option<Instant> {
    let error = file.write(report).err()?;
    tracing::warn!(%error, "the report cannot be written; it is tried again");
    Some(Instant::now() + AGAIN)
}

fn codes(file: &Path) -> anyhow::Result<Codes> {
    let told = || format!("the key for codes of values cannot be read from {}: mount it there", file.display());
    let mut key = Zeroizing::new(Vec::with_capacity(KEY.end() + 1));
    let file = std::fs::File::open(file).with_context(told)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, KEY.end().saturating_add(1) as u64), &mut key)
        .with_context(told)?;
    anyhow::ensure!(KEY.contains(&key.len()), "the key for codes of values must have 32 to 4096 bytes");
    Ok(Codes::new(&key))
}

/// As the flag's value: what is wrong in it may be shown, since it holds no secret.
fn parse(text: &str) -> Result<SecretsConfig, serde_json::Error> {
    serde_json::from_str(text)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
