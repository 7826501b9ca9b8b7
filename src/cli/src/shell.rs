//! What shells and manuals are told of the program. It is made of the flags, so it says what they say.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Flags;

/// Flags of `cardea completion`.
#[derive(clap::Args)]
pub(crate) struct Completion {
    /// The shell.
    shell: Shell,
}

/// Flags of `cardea man`.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// Folder to write the page of each command to. Default: the page of the program goes to the standard output.
    #[arg(long, value_name = "FOLDER")]
    output_dir: Option<PathBuf>,
}

/// Prints the script that a shell reads.
///
/// # Errors
/// When it cannot be printed.
pub(crate) fn completion(flags: &Completion) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Flags::command(), "cardea", &mut script);
    std::io::stdout().write_all(&script).context("cannot print")
}

/// Prints the manual page, or writes all of them.
///
/// # Errors
/// When a page cannot be written.
pub(crate) fn man(flags: &Man) -> anyhow::Result<()> {
    let command = Flags::command().disable_help_subcommand(true);
    if let Some(folder) = &flags.output_dir {
        std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(command, folder))
            .with_context(|| format!("{} cannot be written to", folder.display()))?;
        return Ok(());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    std::io::stdout().write_all(&page).context("cannot print")
}
