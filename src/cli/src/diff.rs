//! `cardea diff`: what a change of manifests does to who may use what, for whoever reviews it. Compares the answers of the
//! rules, not their text: a rule that is renamed or moved changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use cardea_policy::Principal;
use jiff::Timestamp;

use crate::documents;
use crate::explain::{self, Cell, Kind, May};
use crate::manifest::Manifests;
use crate::rules::{self, Ruled};
use crate::shown::shown;

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
        for change in changes(old.get(name), new.get(name)) {
            println!("{}", shown(&format!("{name}: {change}")));
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

fn changes(old: Option<&Ruled>, new: Option<&Ruled>) -> Vec<String> {
    let asked = of_rules(old, new);
    let told: BTreeSet<&String> = asked.iter().flat_map(|(_, before, after)| [before, after]).flatten().collect();
    // Both are asked the same questions: a Deny may name what an Allow is about with a wildcard.
    let both = || [old, new].into_iter().flatten();
    let callers: BTreeMap<String, Principal> =
        both().flat_map(|ruled| explain::callers(&ruled.server.rules)).map(|named| explain::caller(&named)).collect();
    let mut lines = Vec::new();
    for kind in Kind::ALL {
        let names: BTreeSet<String> = both().flat_map(|ruled| explain::names(ruled, kind)).collect();
        for (label, caller) in &callers {
            for name in &names {
                let cell =
                    |side: Option<&Ruled>| side.map_or_else(Cell::none, |ruled| Cell::of(ruled, kind, caller, name));
                let (before, after) = (cell(old), cell(new));
                let who = format!("{label} may use {}{name}", kind.word());
                if before.may != after.may {
                    let sign = if after.may > before.may { '+' } else { '-' };
                    lines.push(format!("{sign} {who}: {} -> {}", before.may.word(), after.may.word()));
                    continue;
                }
                // What a rule asks for now is said of the rule, once.
                let mut other = before.grounds.symmetric_difference(&after.grounds);
                if before.may == May::Sometimes && other.any(|ground| !told.contains(ground)) {
                    let all = |grounds: BTreeSet<String>| grounds.into_iter().collect::<Vec<_>>().join("; ");
                    lines.push(format!("~ {who}: if {} -> if {}", all(before.grounds), all(after.grounds)));
                }
            }
        }
    }
    let nothing = || String::from("nothing");
    lines.extend(asked.into_iter().map(|(rule, before, after)| {
        format!("~ rule {rule} asks for: {} -> {}", before.unwrap_or_else(nothing), after.unwrap_or_else(nothing))
    }));
    lines
}

/// Rules that ask for something else than before, by name. One that is called otherwise asks for the same.
fn of_rules(old: Option<&Ruled>, new: Option<&Ruled>) -> Vec<(String, Option<String>, Option<String>)> {
    let conditions = |side: Option<&Ruled>| -> BTreeMap<String, String> {
        side.map(explain::all_conditions).unwrap_or_default().into_iter().collect()
    };
    let (before, after) = (conditions(old), conditions(new));
    let mut renamed: Vec<&String> =
        before.iter().filter(|(rule, _)| !after.contains_key(*rule)).map(|(_, asked)| asked).collect();
    let mut came: Vec<&String> = Vec::new();
    for (_, asked) in after.iter().filter(|(rule, _)| !before.contains_key(*rule)) {
        if let Some(at) = renamed.iter().position(|left| *left == asked) {
            came.push(renamed.swap_remove(at));
        }
    }
    let mut went = came.clone();
    let take = |of: &mut Vec<&String>, asked: &String| {
        let at = of.iter().position(|same| *same == asked);
        at.map(|at| of.swap_remove(at)).is_some()
    };
    let mut changed = Vec::new();
    for rule in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
        let renamed = match (before.get(rule), after.get(rule)) {
            (Some(asked), None) => take(&mut went, asked),
            (None, Some(asked)) => take(&mut came, asked),
            (before, after) => before == after,
        };
        if !renamed {
            changed.push((rule.clone(), before.get(rule).cloned(), after.get(rule).cloned()));
        }
    }
    changed
}
