//! The measuring itself: cell by cell, each target's turn after the other's.

use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cardea_tests::process::{peak_rss_mib, rss_mib};
use serde::Serialize;

use crate::running::{Loaded, pause};
use crate::targets::{Refuses, Target};
use crate::work::{Found, Order, Work};

const WARM_UP_MS: u64 = 300;
/// What is measured for each target: name, connections.
const CELLS: [(&str, usize); 7] =
    [("calls_1", 1), ("calls_8", 8), ("calls_32", 32), ("big_8", 8), ("list_8", 8), ("events_1", 1), ("connects_4", 4)];

/// One cell.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) target: &'static str,
    pub(crate) cell: &'static str,
    pub(crate) round: usize,
    pub(crate) per_second: f64,
    pub(crate) cpu_us_per_request: f64,
    #[serde(flatten)]
    pub(crate) found: Found,
}

/// Memory of one target, in MiB.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) target: &'static str,
    pub(crate) idle: f64,
    pub(crate) peak_under_load: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with_streams: Option<f64>,
    /// What the last third of a long load had more than the first, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) growth: Option<f64>,
}

/// All that was measured.
pub(crate) struct Cells {
    pub(crate) cells: Vec<Cell>,
    pub(crate) memory: Vec<Memory>,
}

impl Cells {
    /// Begins with what the targets hold while nobody has asked them anything.
    pub(crate) fn idle(targets: &[Target]) -> anyhow::Result<Self> {
        pause(Duration::from_secs(1));
        let memory = targets.iter().map(|target| {
            let idle = rss_mib(target.process.id())?;
            Ok(Memory { target: target.name, idle, peak_under_load: idle, with_streams: None, growth: None })
        });
        Ok(Self { cells: Vec::new(), memory: memory.collect::<anyhow::Result<_>>()? })
    }

    /// One round: each cell of each target.
    pub(crate) fn round(
        &mut self,
        targets: &[Target],
        round: usize,
        seconds: f64,
        only: &[String],
    ) -> anyhow::Result<()> {
        for (cell, connections) in
            CELLS.into_iter().filter(|(cell, _)| only.is_empty() || only.iter().any(|one| one == cell))
        {
            for target in targets {
                let work = match cell {
                    "big_8" => Work::Big,
                    "list_8" => Work::List { shown: target.shown },
                    "events_1" if !target.streams => continue,
                    "events_1" => Work::Events,
                    "connects_4" => Work::Connect,
                    _ => Work::Call,
                };
                let about = || format!("{} {cell}", target.name);
                let (found, cpu) = Loaded::ready(&order(target, work, connections, seconds))
                    .and_then(|ready| ready.go(target.process.id()))
                    .with_context(about)?;
                let failure = || found.failure.clone().unwrap_or_default();
                ensure!(found.failures == 0, "{}: {} failed: {}", about(), found.failures, failure());
                ensure!(found.requests > 0, "{}: nothing was asked", about());
                empty_log(target)?;
                #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
                let requests = found.requests as f64;
                self.cells.push(Cell {
                    target: target.name,
                    cell,
                    round,
                    per_second: requests / found.seconds,
                    cpu_us_per_request: cpu * 1e6 / requests,
                    found,
                });
            }
        }
        Ok(())
    }

    /// The most that they have held so far.
    pub(crate) fn peak(&mut self, targets: &[Target]) -> anyhow::Result<()> {
        for (memory, target) in self.memory.iter_mut().zip(targets) {
            memory.peak_under_load = peak_rss_mib(target.process.id())?;
        }
        Ok(())
    }

    /// What those that decide hold with so many streams open.
    pub(crate) fn streams(&mut self, targets: &[Target], count: usize) -> anyhow::Result<()> {
        for (memory, target) in self.memory.iter_mut().zip(targets).filter(|(_, target)| is_everything(target)) {
            let id = target.process.id();
            let open = Loaded::ready(&order(target, Work::Hold, count, 0.0)).with_context(|| target.name)?;
            memory.with_streams = Some(rss_mib(id)?);
            let (found, _) = open.go(id)?;
            ensure!(found.requests == count, "{}: {} streams", target.name, found.requests);
            empty_log(target)?;
        }
        Ok(())
    }

    /// Whether memory grows under a load that lasts.
    pub(crate) fn flat(&mut self, targets: &[Target], seconds: u64) -> anyhow::Result<()> {
        for (memory, target) in self.memory.iter_mut().zip(targets).filter(|(_, target)| is_everything(target)) {
            let id = target.process.id();
            let load = Loaded::ready(&order(target, Work::Call, 8, Duration::from_secs(seconds).as_secs_f64()))?;
            let samples = std::thread::scope(|scope| {
                let end = Instant::now() + Duration::from_secs(seconds);
                let sampling = scope.spawn(move || {
                    let mut samples = Vec::new();
                    while Instant::now() < end {
                        pause(Duration::from_millis(500));
                        samples.push(rss_mib(id)?);
                        empty_log(target)?;
                    }
                    anyhow::Ok(samples)
                });
                let (found, _) = load.go(id)?;
                ensure!(found.failures == 0, "{}: {}", target.name, found.failure.unwrap_or_default());
                sampling.join().map_err(|_| anyhow::anyhow!("nothing was sampled"))?
            })?;
            let third = samples.len() / 3;
            let most = |samples: &[f64]| samples.iter().copied().fold(0.0, f64::max);
            let (first, last) =
                (samples.get(..third).unwrap_or_default(), samples.get(2 * third..).unwrap_or_default());
            memory.growth = Some(most(last) - most(first));
        }
        Ok(())
    }
}

/// Whether it is one of those that do everything over mutual TLS.
fn is_everything(target: &Target) -> bool {
    target.refuses == Refuses::ByStatus
}

fn order(target: &Target, work: Work, connections: usize, seconds: f64) -> Order {
    let run_ms = Duration::from_secs_f64(seconds).as_millis().try_into().unwrap_or(u64::MAX);
    Order { way: target.way.clone(), work, connections, warm_up_ms: WARM_UP_MS, run_ms }
}

/// A disk that fills up would be measured too.
fn empty_log(target: &Target) -> anyhow::Result<()> {
    if let Some(log) = &target.log {
        File::options().write(true).open(log)?.set_len(0)?;
    }
    Ok(())
}
