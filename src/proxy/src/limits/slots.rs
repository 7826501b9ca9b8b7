//! Counts of what is taken and given back. The number comes from the configuration in force, so it is compared on taking,
//! not fixed in a semaphore.
//!
//! Does not know what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is taken: requests, answers, bytes.
#[derive(Default)]
pub(crate) struct Slots(Arc<AtomicUsize>);

/// What was taken, until it is dropped.
pub(crate) struct Slot {
    of: Arc<AtomicUsize>,
    count: usize,
}

impl Slots {
    /// Takes `count`, if no more than `limit` are taken then.
    pub(crate) fn take(&self, count: usize, limit: usize) -> Option<Slot> {
        let within = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= limit);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok()?;
        Some(Slot { of: self.0.clone(), count })
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Takes one of what `all` have, of which `total` may be taken and the one to be had is taken already: never more than
    /// are left for everybody else. Who is alone has half of it, and whoever comes finds room.
    pub(crate) fn take_fair_share(&self, all: usize, total: usize) -> Option<Slot> {
        self.take(1, (total + 1).saturating_sub(all))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.fetch_sub(self.count, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_is_left() {
        for (total, alone, second) in [(1, 1, 0), (2, 1, 1), (3, 2, 1), (256, 128, 64)] {
            let all = Slots::default();
            let mut held = Vec::new();
            let mut fill = |who: &Slots| {
                let mut count = 0;
                while let Some(one) = all.take(1, total) {
                    let Some(its) = who.take_fair_share(all.taken(), total) else { break };
                    held.push((one, its));
                    count += 1;
                }
                count
            };
            assert_eq!((fill(&Slots::default()), fill(&Slots::default())), (alone, second), "{total}");
        }
    }
}
