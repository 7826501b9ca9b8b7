//! What a process costs, as Linux counts it.

use anyhow::Context as _;

/// Resident memory of a process, in MiB.
///
/// # Errors
/// When there is no such process.
pub fn rss_mib(id: u32) -> anyhow::Result<f64> {
    status_mib(id, "VmRSS:")
}

/// The most memory that a process has had resident, in MiB.
///
/// # Errors
/// When there is no such process.
pub fn peak_rss_mib(id: u32) -> anyhow::Result<f64> {
    status_mib(id, "VmHWM:")
}

fn status_mib(id: u32, field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("no {field}"))?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

/// The middle of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor time that all threads of a process have used, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> anyhow::Result<f64> { Ok(fields.get(index).context("stat")?.parse()?) };
    // User and system time, in hundredths on every Linux that there is.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
