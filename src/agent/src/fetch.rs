//! The sidecar that fetches secrets: asks stores, writes files in memory, reports.

/// Runs until it is told to end.
///
/// # Errors
/// When it cannot begin.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("fetching is not built yet")
}
