//! `make conformance`: the official suite asks our fixture server directly and through `cardea run`, in both eras, over
//! HTTP/1.1 and HTTP/2, with each kind of credential, and as a stdio server that is bridged; every check must come out the same, warnings and skips included.
//! An exit code would not do: most of what a middleman breaks is a warning to the suite.
//!
//! Ends with a line a run: `conformance ERA MODE: N equal, 0 different`. Afterwards faults are built in on purpose, and
//! each must be seen.

mod compare;
mod programs;
mod shim;
mod suite;

use std::fmt;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::compare::{Checks, compare};
use crate::programs::{Fixture, Run};
use crate::shim::{Evidence, Fault, Protocol, Shim};
use crate::suite::{Era, Suite};

#[tokio::main]
async fn main() -> ExitCode {
    // Both are told apart only by an error, which means that somebody was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match conform().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print(&format!("conformance: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn conform() -> anyhow::Result<bool> {
    let suite = Suite::fetch()?;
    let (legacy, modern) = tokio::try_join!(conform_to(&suite, Era::Legacy), conform_to(&suite, Era::Modern))?;
    let mut fine = true;
    for line in legacy.into_iter().chain(modern) {
        fine &= line.fine;
        print(&line.to_string());
    }
    Ok(fine)
}

/// What a run came to.
struct Line {
    fine: bool,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "conformance {}", self.text)
    }
}

async fn conform_to(suite: &Suite, era: Era) -> anyhow::Result<Vec<Line>> {
    let fixture = Fixture::start().await?;
    let direct = suite.run(era, &fixture.url(), &[]).await.context("the suite against the fixture")?;
    let failed = direct.failed();
    for key in &failed {
        print(&format!("conformance {era} direct: failed: {key}"));
    }
    let mut lines = vec![Line {
        fine: failed.is_empty(),
        text: format!("{era} direct: {} checks, {} failed", direct.len(), failed.len()),
    }];
    let run = Run::start(&fixture).await?;
    for evidence in Evidence::ALL {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mode = format!("{era} {evidence}, {protocol}");
            let shim = Shim::start(&run, evidence, protocol, None).await?;
            let through = through(suite, era, shim, &[]).await.context(mode.clone())?;
            let (equal, different) = compare(&direct, &through);
            for difference in &different {
                print(&format!("conformance {mode}: {difference}"));
            }
            let text = format!("{mode}: {equal} equal, {} different", different.len());
            lines.push(Line { fine: different.is_empty(), text });
        }
    }
    for fault in Fault::ALL.into_iter().filter(|fault| fault.era() == era) {
        lines.push(seen(suite, &run, fault, &direct).await.context(format!("with {fault}"))?);
    }
    run.end().await?;
    lines.push(over_stdio(suite, era, &direct).await?);
    Ok(lines)
}

/// Scenarios about what a server does with streams of its own: that it answers with some, ends one early and takes it up
/// again. One that speaks stdio has none, and the bridge opens streams only where they are needed.
const OF_HTTP: [&str; 2] = ["server-sse-multiple-streams", "server-sse-polling"];

/// The same fixture as a process that speaks stdio, bridged.
async fn over_stdio(suite: &Suite, era: Era, direct: &Checks) -> anyhow::Result<Line> {
    let run = Run::start_stdio().await?;
    let mode = format!("{era} over stdio, certificate, HTTP/1.1");
    let shim = Shim::start(&run, Evidence::Certificate, Protocol::Http1, None).await?;
    let through = through(suite, era, shim, &[]).await.context(mode.clone())?;
    let (equal, different) = compare(&direct.clone().without(&OF_HTTP), &through.without(&OF_HTTP));
    for difference in &different {
        print(&format!("conformance {mode}: {difference}"));
    }
    run.end().await?;
    Ok(Line { fine: different.is_empty(), text: format!("{mode}: {equal} equal, {} different", different.len()) })
}

/// One run through the proxy: of all scenarios, or of these.
async fn through(suite: &Suite, era: Era, shim: Shim, scenarios: &[&str]) -> anyhow::Result<Checks> {
    let checks = suite.run(era, &shim.url(), scenarios).await;
    shim.end().await;
    checks
}

/// Whether the comparison sees a fault, and nothing without it.
async fn seen(suite: &Suite, run: &Run, fault: Fault, direct: &Checks) -> anyhow::Result<Line> {
    let (era, scenarios) = (fault.era(), fault.scenarios());
    let direct = direct.of(scenarios);
    let differs = async |fault| -> anyhow::Result<bool> {
        let shim = Shim::start(run, Evidence::Certificate, Protocol::Http1, fault).await?;
        let (_, different) = compare(&direct, &through(suite, era, shim, scenarios).await?);
        Ok(!different.is_empty())
    };
    let fine = !differs(None).await? && differs(Some(fault)).await?;
    let outcome = if fine { "seen" } else { "NOT seen, or something else is" };
    Ok(Line { fine, text: format!("{era} with {fault}: {outcome}") })
}

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn print(text: &str) {
    println!("{text}");
}
