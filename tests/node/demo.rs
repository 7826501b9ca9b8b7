//! The demo, from installation to its last check.

use anyhow::{Context as _, ensure};

use crate::bed::Bed;

/// Checks that it makes at least.
const CHECKS: u32 = 13;

pub(crate) async fn the_demo_passes(bed: &Bed) -> anyhow::Result<()> {
    let (said, content) = &bed.made().await?.demo;
    let summary = said.lines().rev().find_map(|line| line.strip_prefix("demo: ")?.strip_suffix(" passed, 0 failed"));
    let passed: u32 = summary.with_context(|| format!("the demo failed:\n{said}"))?.parse()?;
    ensure!(*content && passed >= CHECKS, "the demo made {passed} checks only:\n{said}");
    Ok(())
}
