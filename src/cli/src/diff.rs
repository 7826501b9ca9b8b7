//! `cardea diff`: what a change of manifests does to who may use what, for whoever reviews it. Compares the answers of the
//! rules, not their text: a rule that is renamed or moved changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use crate::documents;
use crate::explain::{self, Matrix, May};
use crate::manifest::Manifests;
use crate::rules::{self, Ruled};

/// Flags of `cardea diff`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// File or folder with the McpServers as they were.
    old: PathBuf,
    /// File or folder with the McpServers as they will be.
    new: PathBuf,
}

/// Prints what changes, a line each. True if nothing does.
///
/// # Errors
/// When a manifest makes no sense.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub(crate) fn run(flags: &Flags) -> anyhow::Result<bool> {
    let (old, new) = (servers(&flags.old)?, servers(&flags.new)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut same = true;
    for name in names {
        let (old, new) = (old.get(name), new.get(name));
        // Both are asked the same questions: a Deny may name what an Allow is about with a wildcard.
        let (mut tools, mut callers) = (BTreeSet::new(), Vec::new());
        for ruled in [old, new].into_iter().flatten() {
            tools.extend(explain::tools(ruled));
            callers.extend(explain::callers(&ruled.server.rules));
        }
        let tools: Vec<String> = tools.into_iter().collect();
        let matrix = |side: Option<&Ruled>| {
            side.map_or_else(Matrix::default, |ruled| Matrix::of(ruled, tools.clone(), &callers))
        };
        for change in changes(&matrix(old), &matrix(new)) {
            println!("{name}: {change}");
            same = false;
        }
    }
    Ok(same)
}

/// Every server of a file, or of the files of a folder, by namespace and name. A policy may stand in another file than the
/// servers that name it.
fn servers(place: &Path) -> anyhow::Result<BTreeMap<String, Ruled>> {
    let mut manifests = Manifests::default();
    for file in documents::files(place)? {
        let read = Manifests::read(&documents::text(&file)?);
        manifests.extend(read.with_context(|| file.display().to_string())?);
    }
    let mut servers = BTreeMap::new();
    for server in manifests.servers().with_context(|| place.display().to_string())? {
        let ruled = rules::of(&manifests, server, Timestamp::now()).with_context(|| place.display().to_string())?;
        let name = format!("{}/{}", ruled.server.namespace, ruled.server.name);
        let twice = format!("{}: {name} is there twice", place.display());
        ensure!(servers.insert(name, ruled).is_none(), twice);
    }
    Ok(servers)
}

fn changes(old: &Matrix, new: &Matrix) -> Vec<String> {
    let cells = |matrix: &Matrix| -> BTreeMap<(String, String), May> {
        let cells = matrix.callers.iter().flat_map(|(caller, cells)| {
            matrix.tools.iter().zip(cells).map(|(tool, may)| ((caller.clone(), tool.clone()), *may))
        });
        cells.collect()
    };
    let (before, after) = (cells(old), cells(new));
    let all: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for cell in all {
        let of = |cells: &BTreeMap<_, May>| cells.get(cell).copied().unwrap_or(May::Never);
        let (before, after) = (of(&before), of(&after));
        if before != after {
            let sign = if after > before { '+' } else { '-' };
            lines.push(format!("{sign} {} may use {}: {} -> {}", cell.0, cell.1, before.word(), after.word()));
        }
    }
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (old.conditions.iter().cloned().collect(), new.conditions.iter().cloned().collect());
    let rules: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for rule in rules {
        let none = String::from("nothing");
        let (before, after) = (before.get(rule).unwrap_or(&none), after.get(rule).unwrap_or(&none));
        if before != after {
            lines.push(format!("~ rule {rule} asks for: {before} -> {after}"));
        }
    }
    lines
}
