//! What is remembered of each of many, without growing with them: what is as good as new is forgotten, and when there are
//! too many all the same, those that come later share one entry, so that nobody is without a bound and no memory without
//! an end.
//!
//! Does not know who they are: a key is kept as its keyed hash, which nobody outside can aim at.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Below this many nothing is forgotten.
const FEW: usize = 64;
/// Forgetting looks at every entry, so it is not done for each newcomer of a crowd.
const PAUSE: Duration = Duration::from_secs(1);

/// What is remembered.
pub(crate) trait Entry {
    /// Something is held by it now, so it must not be forgotten.
    fn in_use(&self) -> bool;
}

/// Remembers a `V` of each key.
pub(crate) struct Ledger<V> {
    state: Mutex<State<V>>,
    hasher: RandomState,
    most: usize,
    /// After this long without use an entry is as good as new.
    keep: Duration,
}

struct State<V> {
    entries: HashMap<u64, (Arc<V>, Instant)>,
    crowd: Option<Arc<V>>,
    sweep_at: usize,
    swept: Instant,
}

impl<V: Entry> Ledger<V> {
    /// At most `most` entries and one for the crowd.
    pub(crate) fn new(most: usize, keep: Duration) -> Self {
        let state = State { entries: HashMap::new(), crowd: None, sweep_at: FEW.min(most), swept: Instant::now() };
        Self { state: Mutex::new(state), hasher: RandomState::new(), most, keep }
    }

    /// What is remembered of `key`; a new one if that is nothing.
    pub(crate) fn of(&self, key: impl Hash, new: impl FnOnce() -> V) -> Arc<V> {
        let hash = self.hasher.hash_one(key);
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, used)) = state.entries.get_mut(&hash) {
            *used = now;
            return known.clone();
        }
        if state.entries.len() >= state.sweep_at && (state.sweep_at < self.most || now - state.swept > PAUSE) {
            let stays = |value: &Arc<V>, used: Instant| {
                Arc::strong_count(value) > 1 || value.in_use() || now - used < self.keep
            };
            state.entries.retain(|_, (value, used)| stays(value, *used));
            state.sweep_at = (2 * state.entries.len()).clamp(FEW.min(self.most), self.most);
            state.swept = now;
            let room = state.sweep_at;
            state.entries.shrink_to(room);
        }
        if state.entries.len() >= self.most {
            return state.crowd.get_or_insert_with(|| Arc::new(new())).clone();
        }
        let value = Arc::new(new());
        state.entries.insert(hash, (value.clone(), now));
        value
    }

    /// What is remembered of `key` alone, if anything is.
    pub(crate) fn get(&self, key: impl Hash) -> Option<Arc<V>> {
        let hash = self.hasher.hash_one(key);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entries.get(&hash).map(|(value, _)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Slots;

    impl Entry for u32 {
        fn in_use(&self) -> bool {
            false
        }
    }

    fn size<V>(ledger: &Ledger<V>) -> usize {
        ledger.state.lock().unwrap().entries.len()
    }

    #[test]
    fn what_is_as_good_as_new_is_forgotten_and_what_is_in_use_is_not() {
        let ledger = Ledger::<Slots>::new(1000, Duration::ZERO);
        let held = ledger.of("held", Slots::default);
        let slot = ledger.of("in use", Slots::default).take(1, 1).unwrap();
        for key in 0..100_000 {
            ledger.of(key, Slots::default);
        }
        assert!(size(&ledger) <= FEW, "{}", size(&ledger));
        assert!(Arc::ptr_eq(&held, &ledger.of("held", Slots::default)));
        assert_eq!(ledger.of("in use", Slots::default).taken(), 1);
        drop(slot);
    }

    #[test]
    fn a_crowd_shares_one_entry() {
        let ledger = Ledger::new(100, Duration::from_secs(3600));
        for key in 0..100_u32 {
            assert_eq!(*ledger.of(key, || key), key);
        }
        for key in 100..100_000_u32 {
            assert_eq!(*ledger.of(key, || key), 100);
        }
        assert_eq!((*ledger.of(7_u32, || 0), size(&ledger)), (7, 100));
    }
}
