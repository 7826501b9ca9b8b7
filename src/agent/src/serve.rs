//! In the server's container: starts the server, gives it its secrets, bridges its stdio.

/// Runs until it is told to end or the server has ended for good.
///
/// # Errors
/// When it cannot begin.
pub async fn run() -> anyhow::Result<()> {
    anyhow::bail!("serving is not built yet")
}
