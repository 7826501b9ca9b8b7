//! `cardea-agent`: one program for three places of a pod.

use std::path::PathBuf;

use cardea_agent::{fetch, install, serve};
use cardea_contract::pod;
use clap::{Parser, Subcommand};

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
    Fetch,
    /// Starts the server and bridges its stdio (CARDEA_SERVE says how)
    Serve(serve::Flags),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).init();
    match Flags::parse().command {
        Command::Install { target } => install::run(&target),
        Command::Fetch => fetch::run().await,
        Command::Serve(flags) => serve::run(flags).await,
    }
}
