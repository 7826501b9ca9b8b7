//! Watches over a server that listens by itself: starts it with its secrets, again when it ends, tells it of signals and of
//! new versions.
//!
//! Does not know what it serves.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cardea_contract::OnRotation;
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::backoff::Backoff;
use super::environment::as_argument;
use super::lines::{Line, Lines};
use super::process::Means;
use super::reaper::{self, Children};
use super::rotation;
use super::scrub::Scrub;

/// Longest line of its output that is kept whole.
const MAX_LINE: usize = 256 << 10;

/// Runs until SIGTERM or SIGINT, which the server gets too.
pub(crate) async fn run(means: Means, children: Children, poll: Duration) -> anyhow::Result<()> {
    let mut signals = [
        (signal(SignalKind::terminate())?, Signal::TERM),
        (signal(SignalKind::interrupt())?, Signal::INT),
        (signal(SignalKind::hangup())?, Signal::HUP),
    ];
    let (tell, mut rotations) = mpsc::channel(1);
    tokio::spawn(rotation::watch(means.environment.clone(), poll, tell));
    let mut backoff = Backoff::default();
    loop {
        let started = Instant::now();
        let outcome = match start(&means, &children) {
            Ok((mut child, id)) => {
                let outcome = watch(&means, &mut child, id, &mut signals, &mut rotations).await;
                reaper::signal_group(id, Signal::KILL);
                children.ended(id);
                outcome
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the server is not started");
                After::Ended(None)
            }
        };
        match outcome {
            After::Ended(status) => {
                backoff.ended(started.elapsed(), Instant::now());
                let status = status.map(|status| status.to_string());
                tracing::warn!(status, wait = ?backoff.wait(Instant::now()), "the server has ended by itself; it is started again");
            }
            After::Renewed => {}
            After::Stopped => return Ok(()),
        }
        let [(terminate, _), (interrupt, _), _] = &mut signals;
        tokio::select! {
            () = tokio::time::sleep(backoff.wait(Instant::now())) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// What follows the end of a process.
enum After {
    Ended(Option<ExitStatus>),
    Renewed,
    Stopped,
}

fn start(means: &Means, children: &Children) -> anyhow::Result<(Child, Pid)> {
    let (program, arguments) = means.command.split_first().context("no command is given: set the server's command")?;
    let given = means.environment.given()?;
    means.scrub.learn(means.environment.values().iter().map(|value| value.as_slice()));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(means.environment.base().iter().map(|(name, value)| (name, value)));
    command.envs(given.iter().map(|(name, value)| (name, as_argument(value))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut child, id) = children.start(&mut command).with_context(|| {
        format!("{program} cannot be started: check that the image has it and that it may be executed")
    })?;
    if let Some(from) = child.stdout.take() {
        tokio::spawn(pass(from, tokio::io::stdout(), means.scrub.clone()));
    }
    if let Some(from) = child.stderr.take() {
        tokio::spawn(pass(from, tokio::io::stderr(), means.scrub.clone()));
    }
    Ok((child, id))
}

/// What the server says is the container's log, without secrets.
async fn pass(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, scrub: Scrub) {
    let mut lines = Lines::new(from, MAX_LINE);
    while let Some(line) = lines.next().await {
        let mut text = match line {
            Line::Whole(line) => scrub.text(&line),
            Line::TooLong => "(a line that is too long)".to_owned(),
        };
        text.push('\n');
        if to.write_all(text.as_bytes()).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

async fn watch(
    means: &Means,
    child: &mut Child,
    id: Pid,
    signals: &mut [(tokio::signal::unix::Signal, Signal); 3],
    rotations: &mut mpsc::Receiver<OnRotation>,
) -> After {
    let [(terminate, term), (interrupt, int), (hangup, hup)] = signals;
    loop {
        tokio::select! {
            status = child.wait() => return After::Ended(status.ok()),
            _ = terminate.recv() => {
                stop(child, id, *term, means.patience.drain).await;
                return After::Stopped;
            }
            _ = interrupt.recv() => {
                stop(child, id, *int, means.patience.drain).await;
                return After::Stopped;
            }
            _ = hangup.recv() => reaper::signal_one(id, *hup),
            Some(rotation) = rotations.recv() => match rotation {
                OnRotation::Restart => {
                    stop(child, id, Signal::TERM, means.patience.drain).await;
                    return After::Renewed;
                }
                OnRotation::Signal => reaper::signal_one(id, Signal::HUP),
                OnRotation::None => {}
            },
        }
    }
}

/// It alone gets the signal: how it ends those that it has started is its own affair, until time is up.
async fn stop(child: &mut Child, id: Pid, signal: Signal, patience: Duration) {
    reaper::signal_one(id, signal);
    if tokio::time::timeout(patience, child.wait()).await.is_err() {
        reaper::signal_group(id, Signal::KILL);
        let _ = child.wait().await;
    }
}
