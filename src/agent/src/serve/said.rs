//! What a server says for people to read, captured line by line: without secrets, and no more of it than anybody would
//! read (row 63).

use std::time::{Duration, Instant};

use tokio::io::AsyncRead;

use super::lines::{Line, Lines};
use super::scrub::Scrub;

/// Longest line.
const MAX_LINE: usize = 8 << 10;
/// Lines in a row, and lines a second after that.
const BURST: u32 = 200;
const RATE: u32 = 20;

/// How many lines may still be logged.
pub(crate) struct Allowance {
    left: u32,
    refilled: Instant,
    dropped: u64,
}

impl Allowance {
    pub(crate) fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, dropped: 0 }
    }

    /// Whether one more may be logged; with how many were not before it.
    pub(crate) fn take(&mut self, now: Instant) -> Option<u64> {
        let seconds = u32::try_from(now.saturating_duration_since(self.refilled).as_secs()).unwrap_or(u32::MAX);
        if seconds > 0 {
            self.left = self.left.saturating_add(seconds.saturating_mul(RATE)).min(BURST);
            self.refilled += Duration::from_secs(seconds.into());
        }
        if self.left == 0 {
            self.dropped += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// Logs what a process writes to its standard error until it closes it.
pub(crate) async fn log(from: impl AsyncRead + Unpin, scrub: Scrub, process: u64) {
    let mut lines = Lines::new(from, MAX_LINE);
    let mut allowance = Allowance::new(Instant::now());
    while let Some(line) = lines.next().await {
        let Some(dropped) = allowance.take(Instant::now()) else { continue };
        if dropped > 0 {
            tracing::warn!(process, dropped, "the server says more than is logged");
        }
        match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => {}
            Line::Whole(line) => tracing::info!(process, said = scrub.text(&line), "the server says"),
            Line::TooLong => tracing::info!(process, "the server says a line that is too long to be logged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_much_is_heard_in_part_and_the_rest_is_counted() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        let logged = (0..1000).filter(|_| allowance.take(now).is_some()).count();
        assert_eq!(logged, BURST as usize);
        assert_eq!(allowance.take(now + Duration::from_secs(1)), Some(800));
        let logged = (0..1000).filter(|_| allowance.take(now + Duration::from_secs(1)).is_some()).count();
        assert_eq!(logged, RATE as usize - 1);
    }
}
