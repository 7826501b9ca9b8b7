//! The load generator: a closed loop on each of its connections, one thread for all. Reads its order from standard input,
//! says `ready` when everything is open and warm, begins when told, and answers with what it found.

use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use crate::caller::{Caller, Dialer};
use crate::work::{Found, Order, Work};

/// Connections that are opened at once.
const OPENING: usize = 8;

/// One order.
pub(crate) async fn run() -> anyhow::Result<()> {
    let order: Order = serde_json::from_str(&line()?).context("no order")?;
    let dialer = Arc::new(Dialer::new(&order.way)?);
    let found = match order.work {
        Work::Hold => hold(&dialer, order.connections).await?,
        Work::Connect => connects(&dialer, &order).await?,
        work => asks(&dialer, &order, work).await?,
    };
    say(&serde_json::to_string(&found)?)
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

/// What one connection measured.
#[derive(Default)]
struct Measured {
    micros: Vec<u32>,
    first_event: Vec<u32>,
    failure: Option<String>,
}

impl Measured {
    fn note(&mut self, began: Instant, outcome: anyhow::Result<Option<Duration>>) -> bool {
        match outcome {
            Ok(first_event) => {
                self.micros.push(micros(began.elapsed()));
                self.first_event.extend(first_event.map(micros));
                true
            }
            Err(error) => {
                self.failure = Some(format!("{error:#}"));
                false
            }
        }
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

async fn open(dialer: &Arc<Dialer>, count: usize) -> anyhow::Result<Vec<Caller>> {
    stream::iter(0..count).map(|_| dialer.greet()).buffer_unordered(OPENING).try_collect().await
}

async fn asks(dialer: &Arc<Dialer>, order: &Order, work: Work) -> anyhow::Result<Found> {
    let callers = open(dialer, order.connections).await?;
    let (callers, warm) = rounds(callers, work, order.warm_up_ms).await?;
    if let Some(failure) = warm.into_iter().find_map(|measured| measured.failure) {
        anyhow::bail!("warming up: {failure}");
    }
    say("ready")?;
    line()?;
    let began = Instant::now();
    let (_, measured) = rounds(callers, work, order.run_ms).await?;
    Ok(found(began, measured))
}

/// Every caller asks until the time is over.
async fn rounds(callers: Vec<Caller>, work: Work, millis: u64) -> anyhow::Result<(Vec<Caller>, Vec<Measured>)> {
    let end = Instant::now() + Duration::from_millis(millis);
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut measured = Measured::default();
            loop {
                let began = Instant::now();
                let outcome = caller.ask(work).await;
                if !measured.note(began, outcome) || Instant::now() >= end {
                    return (caller, measured);
                }
            }
        });
    }
    let mut ended = (Vec::new(), Vec::new());
    while let Some(one) = running.join_next().await {
        let (caller, measured) = one?;
        ended.0.push(caller);
        ended.1.push(measured);
    }
    Ok(ended)
}

/// New connections, each with one request.
async fn connects(dialer: &Arc<Dialer>, order: &Order) -> anyhow::Result<Found> {
    open(dialer, order.connections).await?;
    say("ready")?;
    line()?;
    let began = Instant::now();
    let end = began + Duration::from_millis(order.run_ms);
    let mut running = JoinSet::new();
    for _ in 0..order.connections {
        let dialer = dialer.clone();
        running.spawn(async move {
            let mut measured = Measured::default();
            loop {
                let began = Instant::now();
                let first = async { dialer.connect().await?.initialize().await.map(|()| None) };
                if !measured.note(began, first.await) || Instant::now() >= end {
                    return measured;
                }
            }
        });
    }
    let mut measured = Vec::new();
    while let Some(one) = running.join_next().await {
        measured.push(one?);
    }
    Ok(found(began, measured))
}

/// Streams that are open until the next line.
async fn hold(dialer: &Arc<Dialer>, count: usize) -> anyhow::Result<Found> {
    let began = Instant::now();
    let held: Vec<_> = stream::iter(0..count)
        .map(|_| async { dialer.greet().await?.hold().await })
        .buffer_unordered(OPENING)
        .try_collect()
        .await?;
    say("ready")?;
    tokio::task::spawn_blocking(line).await??;
    Ok(Found { requests: held.len(), seconds: began.elapsed().as_secs_f64(), ..Found::default() })
}

fn found(began: Instant, measured: Vec<Measured>) -> Found {
    let seconds = began.elapsed().as_secs_f64();
    let (mut micros, mut first_event, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for one in measured {
        micros.extend(one.micros);
        first_event.extend(one.first_event);
        failures.extend(one.failure);
    }
    micros.sort_unstable();
    first_event.sort_unstable();
    Found {
        requests: micros.len(),
        failures: failures.len(),
        failure: failures.into_iter().next(),
        seconds,
        p50_us: part(&micros, 50).unwrap_or_default(),
        p99_us: part(&micros, 99).unwrap_or_default(),
        first_event_p50_us: part(&first_event, 50),
    }
}

/// This percentile of sorted figures.
fn part(sorted: &[u32], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|micros| f64::from(*micros))
}
