//! Puts this program where the server's container finds it: images of servers know nothing of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Copies this program to `target`, whole or not at all.
///
/// # Errors
/// When it cannot be read or written.
pub fn run(target: &Path) -> anyhow::Result<()> {
    let own = std::env::current_exe().context("own program")?;
    let half = target.with_extension("half");
    std::fs::copy(&own, &half).with_context(|| format!("copy to {}", half.display()))?;
    std::fs::set_permissions(&half, std::fs::Permissions::from_mode(0o555))?;
    std::fs::rename(&half, target).with_context(|| format!("{}", target.display()))
}
