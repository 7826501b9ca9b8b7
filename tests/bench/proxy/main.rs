//! `make bench-proxy`: what the proxy costs beside its rivals, in one run on one machine, one `bench: NAME=VALUE UNIT` a
//! line. Targets take turns in each round, so that what disturbs the machine disturbs them alike. Figures are printed, not
//! judged; but a request that fails, or a target that lets a forbidden call through, ends the run.
//!
//! `docs/benchmarks/README.md` says how to read them.

mod caller;
mod cells;
mod chart;
mod checks;
mod figures;
mod load;
mod material;
mod rules;
mod running;
mod targets;
mod upstream;
mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::cells::Cells;
use crate::figures::{Made, Report};
use crate::material::Material;
use crate::targets::Programs;

#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measures.
    Run(Run),
    /// Is the server behind the targets.
    Upstream {
        /// The issuer's keys.
        #[arg(long)]
        keys: PathBuf,
    },
    /// Is the load generator.
    Load,
}

#[derive(Args)]
struct Run {
    /// The `cardea-proxy` to measure.
    #[arg(long)]
    proxy: PathBuf,
    /// Envoy; without it, it is left out.
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// The `mcp-proxy` crate's program; without it, it is left out.
    #[arg(long)]
    mcp_proxy: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each cell.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Open streams for the figure of that name.
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Seconds of load in which memory is to stay flat.
    #[arg(long, default_value_t = 30)]
    flat_seconds: u64,
    /// Measure these cells only, as in `calls_8,list_8`.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    /// Measure these targets only, beside `direct`.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// Folder for the figures in JSON and as a chart.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The command that a person types for this, as it shall stand beside the figures.
    #[arg(long, default_value = "make bench-proxy")]
    command: String,
}

#[expect(clippy::print_stdout, reason = "printing figures is what this program is for")]
fn bench(name: &str, value: f64, unit: &str) {
    let decimals = if value.abs() < 10.0 { 3 } else { 1 };
    println!("bench: {name}={value:.decimals$} {unit}");
}

#[expect(clippy::print_stderr, reason = "a minute of silence looks like a hang")]
fn say(what: &str) {
    eprintln!("bench: {what}");
}

fn main() -> anyhow::Result<()> {
    match Flags::parse().role {
        Role::Run(run) => measure(&run),
        Role::Upstream { keys } => runtime()?.block_on(upstream::serve(std::fs::read_to_string(keys)?)),
        Role::Load => runtime()?.block_on(load::run()),
    }
}

/// One thread.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn measure(run: &Run) -> anyhow::Result<()> {
    let material = Material::new()?;
    let programs = Programs { proxy: run.proxy.clone(), envoy: run.envoy.clone(), mcp_proxy: run.mcp_proxy.clone() };
    let mut targets = targets::start(&programs, &material)?;
    targets.retain(|target| {
        run.targets.is_empty() || target.name == "direct" || run.targets.iter().any(|name| name == target.name)
    });
    // What they hold before anybody has asked them anything.
    let mut cells = Cells::idle(&targets)?;
    for target in &targets {
        say(&format!("{}: refuses what it must", target.name));
        runtime()?.block_on(checks::check(target)).with_context(|| target.name)?;
    }
    for round in 0..run.rounds {
        say(&format!("round {} of {}", round + 1, run.rounds));
        cells.round(&targets, round, run.seconds, &run.cells)?;
    }
    cells.peak(&targets)?;
    say("open streams, and memory over time");
    cells.streams(&targets, run.streams)?;
    cells.flat(&targets, run.flat_seconds)?;

    let report = Report::of(Made::here(&run.command, run.rounds, run.seconds, &programs), &targets, cells);
    for figure in &report.figures {
        bench(&figure.name, figure.value, figure.unit);
    }
    if let Some(folder) = &run.out {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("proxy.json"), serde_json::to_string_pretty(&report)? + "\n")?;
        std::fs::write(folder.join("proxy.svg"), chart::draw(&report))?;
    }
    Ok(())
}
