//! `make bench-secrets`: how far behind a store thousands of secrets are, and what keeping up costs the store and this
//! process; against a real Vault, one `bench: NAME=VALUE UNIT` a line. Figures are printed, not judged.

mod vault;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cardea_contract::secrets::{Destination, Key, Location, Secret, SecretsConfig, VaultEngine};
use cardea_secrets::{Codes, Reading, Recipient, Refresh, StoreError, lazily};
use cardea_tests::process::{cpu_seconds, rss_mib};
use clap::Parser;
use futures::StreamExt as _;

use self::vault::{MOUNT, Vault};

/// Writes to Vault at once.
const AT_ONCE: usize = 16;

#[derive(Parser)]
struct Flags {
    /// Program of Vault
    #[arg(long, env = "CARDEA_VAULT")]
    vault: PathBuf,
    /// Secrets
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// Seconds between two looks at each
    #[arg(long, default_value_t = 60)]
    interval: u32,
    /// Seconds in which secrets change, spread evenly
    #[arg(long, default_value_t = 180)]
    seconds: u64,
    /// How many of them change
    #[arg(long, default_value_t = 1000)]
    changes: usize,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let vault = Vault::start(&flags.vault).await?;
    let paths = futures::stream::iter(0..flags.count);
    let written = paths.map(|secret| vault.put(secret, "0")).buffer_unordered(AT_ONCE);
    written.fold(Ok(()), async |all: anyhow::Result<()>, one| all.and(one)).await.context("secrets")?;

    let config = config(&vault, &flags);
    let stores = lazily(&config, vault.stores());
    let mut refresh = Refresh::new(&config, &stores, Arc::new(Codes::new(&[7; 32])))?;
    let watch = Watch::new(flags.count);
    let mut told = watch.clone();
    let began = Instant::now();
    let keeping = tokio::spawn(async move {
        loop {
            refresh.turn(&mut told).await;
        }
    });
    watch.until(|seen| seen.delivered == flags.count).await;
    bench("secrets_first_delivery", began.elapsed().as_secs_f64(), "s");
    bench("secrets_memory", rss_mib(std::process::id())?, "MiB");

    let (cpu, audited) = (cpu_seconds(std::process::id())?, vault.audited()?);
    let pause = Duration::from_secs(flags.seconds).div_f64(flags.changes as f64);
    let beginning = tokio::time::Instant::now();
    for (round, change) in (0..flags.changes).enumerate() {
        tokio::time::sleep_until(beginning + pause.mul_f64(round as f64)).await;
        // A step that has no part in common with the count reaches all of them in turn, neighbours apart.
        let secret = change * 7919 % flags.count;
        watch.changes(secret);
        vault.put(secret, &(round + 1).to_string()).await?;
    }
    watch.until(|seen| seen.waiting.is_empty()).await;
    let lasted = beginning.elapsed().as_secs_f64();
    keeping.abort();

    let asked = vault.audited()?.since(&audited);
    let seen = watch.0.lock().map_err(|_| anyhow::anyhow!("the watch is broken"))?;
    bench("secrets_change_to_delivery_p50", quantile(&seen.lags, 0.50), "s");
    bench("secrets_change_to_delivery_p99", quantile(&seen.lags, 0.99), "s");
    // How much later than promised (the interval and a tenth) each look came.
    bench("secrets_lag_p99", quantile(&seen.late(flags.interval), 0.99), "s");
    bench("secrets_lag_worst", quantile(&seen.late(flags.interval), 1.0), "s");
    bench("secrets_probes", asked.probes as f64, "requests");
    bench("secrets_reads", asked.reads.values().sum::<usize>() as f64, "requests");
    bench("secrets_most_reads_of_one", asked.reads.values().copied().max().unwrap_or(0) as f64, "requests");
    bench("secrets_changes", flags.changes as f64, "versions");
    bench("secrets_processor", (cpu_seconds(std::process::id())? - cpu) / lasted * 100.0, "% of a core");
    bench("secrets_memory_then", rss_mib(std::process::id())?, "MiB");
    Ok(())
}

fn config(vault: &Vault, flags: &Flags) -> SecretsConfig {
    let secret = |index: usize| Secret {
        name: format!("secret-{index}"),
        store: vault::STORE.to_owned(),
        at: Location::Vault {
            engine: VaultEngine::KvV2,
            mount: MOUNT.to_owned(),
            path: vault::path(index),
            version: None,
        },
        keys: vec![Key { key: Some(vault::KEY.to_owned()), to: Destination::File("token".to_owned()) }],
        refresh_seconds: flags.interval,
        max_staleness_seconds: 3600,
    };
    let stores = BTreeMap::from([(vault::STORE.to_owned(), vault.contract())]);
    SecretsConfig { stores, secrets: (0..flags.count).map(secret).collect(), same_user: false }
}

/// Sees what is delivered when.
#[derive(Clone)]
struct Watch(Arc<Mutex<Seen>>);

struct Seen {
    /// Secrets that were delivered at least once.
    delivered: usize,
    /// When each was last looked after.
    looked: Vec<Option<Instant>>,
    /// Seconds between two looks.
    gaps: Vec<f64>,
    /// Changes that are not delivered yet.
    waiting: BTreeMap<usize, Instant>,
    /// Seconds from a change to its delivery.
    lags: Vec<f64>,
    failures: usize,
}

impl Watch {
    fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            delivered: 0,
            looked: vec![None; count],
            gaps: Vec::new(),
            waiting: BTreeMap::new(),
            lags: Vec::new(),
            failures: 0,
        })))
    }

    fn seen<T>(&self, see: impl FnOnce(&mut Seen) -> T) -> Option<T> {
        self.0.lock().ok().map(|mut seen| see(&mut seen))
    }

    fn changes(&self, secret: usize) {
        // One that changes twice before it is delivered counts from the first time.
        self.seen(|seen| {
            seen.waiting.entry(secret).or_insert_with(Instant::now);
        });
    }

    async fn until(&self, holds: impl Fn(&Seen) -> bool) {
        while self.seen(|seen| !holds(seen)) == Some(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Seen {
    fn look(&mut self, secrets: &[usize]) {
        let now = Instant::now();
        for secret in secrets {
            let Some(looked) = self.looked.get_mut(*secret) else { continue };
            match looked.replace(now) {
                Some(last) => self.gaps.push((now - last).as_secs_f64()),
                None => self.delivered += 1,
            }
        }
    }

    fn late(&self, interval: u32) -> Vec<f64> {
        self.gaps.iter().map(|gap| (gap - f64::from(interval) * 1.1).max(0.0)).collect()
    }
}

impl Recipient for Watch {
    fn changed(&mut self, secrets: &[usize], _: &Reading) -> Result<(), StoreError> {
        self.seen(|seen| {
            seen.look(secrets);
            for secret in secrets {
                seen.lags.extend(seen.waiting.remove(secret).map(|at| at.elapsed().as_secs_f64()));
            }
        });
        Ok(())
    }

    fn same(&mut self, secrets: &[usize]) {
        self.seen(|seen| seen.look(secrets));
    }

    #[expect(clippy::print_stderr, reason = "figures of a store that fails are not worth much")]
    fn failed(&mut self, secrets: &[usize], why: &StoreError) {
        self.seen(|seen| {
            seen.failures += secrets.len();
            if seen.failures < 10 {
                eprintln!("bench: {why}");
            }
        });
    }
}

fn quantile(figures: &[f64], quantile: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::print_stdout, reason = "printing figures is what this program is for")]
fn bench(name: &str, value: f64, unit: &str) {
    println!("bench: {name}={value:.1} {unit}");
}
