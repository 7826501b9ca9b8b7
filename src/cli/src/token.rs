//! `cardea token new`: a static token, shown once, and the entry by which a server knows it. The entry holds the digest
//! alone, so it may stand in a file; the token goes to its bearer and nowhere else.

use anyhow::Context as _;
use aws_lc_rs::rand;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Flags of `cardea token`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Draw a token and print it once, with its entry for the Secret of spec.auth.staticTokens.
    New(New),
}

#[derive(clap::Args)]
struct New {
    /// Who bears it: the subject in rules, audit lines and the signed identity.
    #[arg(long, value_name = "SUBJECT")]
    name: String,
    /// A group that its bearer is in. May be repeated.
    #[arg(long)]
    group: Vec<String>,
    /// An OAuth scope that its bearer has. May be repeated.
    #[arg(long)]
    scope: Vec<String>,
    /// Until when it is valid, as in 2027-06-30T00:00:00Z. Default: until its entry is removed.
    #[arg(long, value_name = "TIME")]
    not_after: Option<jiff::Timestamp>,
}

/// Prints a token and its entry, as one JSON document.
///
/// # Errors
/// When the random source fails.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub(crate) fn run(flags: Flags) -> anyhow::Result<()> {
    let Command::New(asked) = flags.command;
    let mut secret = Zeroizing::new([0_u8; 32]);
    rand::fill(secret.as_mut_slice()).ok().context("the random source failed")?;
    let token = Zeroizing::new(format!("cardea_{}", hex(secret.as_slice()).as_str()));
    let document = json!({"token": token.as_str(), "entry": entry(&token, &asked)});
    println!("{}", Zeroizing::new(serde_json::to_string_pretty(&document)?).as_str());
    Ok(())
}

fn entry(token: &str, asked: &New) -> Value {
    let mut entry = json!({"subject": asked.name, "sha256": hex(&Sha256::digest(token)).as_str()});
    let mut set = |name: &str, value: Value| entry.as_object_mut().map(|entry| entry.insert(name.into(), value));
    if !asked.group.is_empty() {
        set("groups", json!(asked.group));
    }
    if !asked.scope.is_empty() {
        set("scopes", json!(asked.scope));
    }
    if let Some(end) = asked.not_after {
        set("notAfter", json!(end));
    }
    entry
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    use std::fmt::Write as _;
    // Never grown: a buffer that is left behind would not be wiped.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
