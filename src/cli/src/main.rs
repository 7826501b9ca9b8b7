//! The `cardea` command: what a person does with a manifest on a machine of their own.
//!
//! Flags, logs and the exit status; each command has a file of its own.

mod can_i;
mod cluster;
mod diff;
mod documents;
mod explain;
mod lint;
mod manifest;
mod rules;
mod run;
mod shell;
mod shown;
mod source;
mod token;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// MCP servers behind an authenticating, authorizing, auditing proxy.
#[derive(Parser)]
#[command(name = "cardea", version)]
struct Flags {
    #[command(subcommand)]
    command: Command,
    /// What is logged to standard error, as in `info` or `info,cardea_proxy=debug`.
    #[arg(long, global = true, default_value = "info", env = "CARDEA_LOG")]
    log: Targets,
}

#[derive(Subcommand)]
enum Command {
    /// Run an McpServer manifest on this machine, without a cluster. A change of its file is applied at once.
    Run(run::Flags),
    /// Say whether a caller may do something, and which rule decides. Exits with 1 if not.
    CanI(can_i::Flags),
    /// Say what a change of manifests does to who may use what. Exits with 1 if it does something.
    Diff(diff::Flags),
    /// Show who may use which tool, as a table, as JSON or as a page.
    Explain(explain::Flags),
    /// Say what is wrong with manifests, and what may not be meant, line by line. Exits with 1 if something is wrong.
    Lint(lint::Flags),
    /// Tokens for callers that no authorization server knows.
    Token(token::Flags),
    /// Print what makes a shell complete commands and flags.
    Completion(shell::Completion),
    /// Print the manual page, or write those of all commands.
    Man(shell::Man),
}

/// Name of the program as a plugin: kubectl runs it as `kubectl cardea`.
const PLUGIN: &str = "kubectl-cardea";

/// Every command and flag, called as the person called the program.
fn command_line() -> clap::Command {
    let program = std::env::args_os().next();
    let program = program.as_deref().and_then(|program| Path::new(program).file_stem());
    let name = if program.is_some_and(|program| program == PLUGIN) { "kubectl cardea" } else { "cardea" };
    Flags::command().bin_name(name)
}

fn main() -> ExitCode {
    let flags = match Flags::from_arg_matches(&command_line().get_matches()) {
        Ok(flags) => flags,
        Err(error) => error.exit(),
    };
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(flags.log).with(lines).init();
    let outcome = match flags.command {
        Command::CanI(flags) => return answered(can_i::run(&flags)),
        Command::Diff(flags) => return answered(diff::run(&flags)),
        Command::Lint(flags) => return answered(lint::run(&flags)),
        Command::Explain(flags) => explain::run(&flags),
        Command::Token(flags) => token::run(flags),
        Command::Completion(flags) => shell::completion(&flags),
        Command::Man(flags) => shell::man(&flags),
        Command::Run(flags) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start")
            .and_then(|runtime| runtime.block_on(run::run(flags))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

/// The status of a question, as `kubectl diff` has it: 1 is an answer, more is none.
fn answered(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error, 2),
    }
}

fn failed(error: &anyhow::Error, status: u8) -> ExitCode {
    tracing::error!("{error:#}");
    ExitCode::from(status)
}
