//! Images on the launcher's node, which takes them from the files that `pack` made.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::cluster::setting;
use crate::kubectl::run;

/// Gives images to the node.
///
/// # Errors
/// When one was not packed, or there is no node.
pub fn load(names: &[&str]) -> anyhow::Result<()> {
    let folder = folder()?;
    let files: Vec<String> =
        names.iter().map(|name| folder.join(format!("{name}.tar")).to_string_lossy().into_owned()).collect();
    let mut arguments = vec!["load"];
    arguments.extend(files.iter().map(String::as_str));
    run("cluster", &arguments, "").map(drop)
}

fn folder() -> anyhow::Result<PathBuf> {
    let cache = setting("CARDEA_CACHE").map(PathBuf::from);
    let caches = setting("XDG_CACHE_HOME").map(|folder| Path::new(&folder).join("cardea"));
    let home = setting("HOME").map(|folder| Path::new(&folder).join(".cache/cardea"));
    Ok(cache.or(caches).or(home).context("neither CARDEA_CACHE nor HOME is set")?.join("images"))
}
