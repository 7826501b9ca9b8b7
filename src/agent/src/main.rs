//! `cardea-agent`: one program for three places of a pod.

use std::path::PathBuf;
use std::process::ExitCode;

use cardea_agent::check::{self, Check};
use cardea_agent::fetch::{self, Fetch};
use cardea_agent::{harden, install, serve};
use cardea_contract::pod;
use clap::{Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Parser)]
#[command(version, about = "Beside an MCP server: fetches its secrets, starts it, bridges its stdio")]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copies this program to where the server's container finds it
    Install {
        /// Path of the copy
        #[arg(long, default_value = pod::AGENT_PROGRAM)]
        target: PathBuf,
    },
    /// Fetches secrets from their stores and keeps them up to date (CARDEA_SECRETS says which)
    Fetch(Fetch),
    /// Exits with 0 when every secret has been delivered, else with 1 and says which are not
    Ready(Fetch),
    /// Says of each secret whether its store answers, whether it may be read, and which version there is; prints no value
    Check(Check),
    /// Starts the server and bridges its stdio (CARDEA_SERVE says how)
    Serve(serve::Flags),
}

fn main() -> ExitCode {
    // Those whom we link log what they send and are sent, which may hold secrets.
    let own = Targets::new().with_target("cardea", Level::INFO);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(own).with(lines).init();
    match run(Flags::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "cannot go on");
            ExitCode::FAILURE
        }
    }
}

/// Gives the answer of those commands that are a question.
#[tokio::main(flavor = "current_thread")]
async fn run(command: Command) -> anyhow::Result<bool> {
    if matches!(command, Command::Fetch(_) | Command::Check(_) | Command::Serve(_)) {
        harden::run()?;
    }
    match command {
        Command::Install { target } => install::run(&target).map(|()| true),
        Command::Fetch(fetch) => fetch::run(fetch).await.map(|()| true),
        Command::Ready(fetch) => Ok(fetch::ready(&fetch)),
        Command::Check(check) => check::run(check).await,
        Command::Serve(flags) => serve::run(flags).await.map(|()| true),
    }
}
