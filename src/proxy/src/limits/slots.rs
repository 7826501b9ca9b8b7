//! Counts of what is taken and given back. The number comes from the configuration in force, so it is compared on taking,
//! not fixed in a semaphore.
//!
//! Does not know what is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is taken: requests, answers, bytes.
#[derive(Clone, Default)]
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

impl Slot {
    /// Takes or gives back so that `count` are taken, if no more than `limit` are taken then by all. Otherwise all stays.
    pub(crate) fn resize(&mut self, count: usize, limit: usize) -> bool {
        match count.checked_sub(self.count) {
            Some(0) => {}
            Some(more) => {
                let Some(mut further) = Slots(self.of.clone()).take(more, limit) else { return false };
                further.count = 0;
            }
            None => {
                self.of.fetch_sub(self.count - count, Ordering::AcqRel);
            }
        }
        self.count = count;
        true
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
    fn what_grows_and_shrinks_is_counted_once() {
        let all = Slots::default();
        let (mut one, mut other) = (all.take(0, 10).unwrap(), all.take(0, 10).unwrap());
        assert!(one.resize(6, 10) && other.resize(4, 10));
        assert!(!one.resize(7, 10));
        assert_eq!(all.taken(), 10);
        assert!(other.resize(1, 10) && one.resize(9, 10));
        drop(one);
        assert_eq!(all.taken(), 1);
        drop(other);
        assert_eq!(all.taken(), 0);
    }

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
