//! How long to wait before a server that has ended is started anew: twice as long each time, until it has been well.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
/// A server that ran for so long was well.
const WELL: Duration = Duration::from_secs(10);

/// What is known of former ends.
#[derive(Default)]
pub(crate) struct Backoff {
    ends: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// It has ended after so long.
    pub(crate) fn ended(&mut self, after: Duration, now: Instant) {
        self.ends = if after >= WELL { 1 } else { self.ends.saturating_add(1) };
        self.last = Some(now);
    }

    /// What is left to wait. The first end costs no wait: most servers that end once do not end again.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let Some((last, doublings)) = self.last.zip(self.ends.checked_sub(2)) else { return Duration::ZERO };
        let pause = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
        (last + pause).saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_end_when_it_was_well() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.ended(Duration::from_secs(1), now);
            waits.push(backoff.wait(now).as_millis());
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(backoff.wait(now + LONGEST), Duration::ZERO);
        backoff.ended(WELL, now);
        assert_eq!(backoff.wait(now), Duration::ZERO);
    }
}
