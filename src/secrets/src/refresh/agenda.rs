//! Which place is to be looked at now: those that are due, no more of one store at once than it can bear, and of a store
//! that does not answer one now and then. Pure: the clock and chance are arguments.
//!
//! Knows places and stores by their numbers, and nothing of what is found there.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::timing;

/// Looks at one store at once.
pub(super) const AT_ONCE: usize = 16;
/// Places that find a store unavailable in a row, before it counts as such for all.
pub(super) const SHUT_AFTER: usize = 5;

/// The agenda.
pub(super) struct Agenda {
    /// The store of each place.
    stores: Vec<usize>,
    due: BinaryHeap<Reverse<Due>>,
    doors: Vec<Door>,
    held_back: VecDeque<usize>,
}

/// When, which place, and after how many failures of it.
type Due = (Instant, usize, u32);

/// The way into one store.
#[derive(Default)]
struct Door {
    /// Those that are due. Those with fewest failures go first: of a store whose parts fail, they tell best how it is.
    waiting: BinaryHeap<Reverse<(u32, Instant, usize)>>,
    asked: usize,
    /// Places that found the store unavailable since it last answered.
    failed: BTreeSet<usize>,
    shut: Option<Shut>,
}

/// A store that is left alone.
struct Shut {
    until: Instant,
    /// Attempts in a row to find it open.
    attempts: u32,
}

/// How a look ended, as far as the store is concerned.
#[derive(Clone, Copy, Default)]
pub(super) struct Ended {
    /// Whether the store gave no answer of its own.
    pub(super) unavailable: bool,
    /// How long it asks to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Agenda {
    /// An agenda without anything due. `stores` has the number of each place's store.
    pub(super) fn new(stores: Vec<usize>) -> Self {
        let doors = stores.iter().max().map_or(0, |last| last + 1);
        Self {
            stores,
            due: BinaryHeap::new(),
            doors: std::iter::repeat_with(Door::default).take(doors).collect(),
            held_back: VecDeque::new(),
        }
    }

    /// A place is to be looked at then; it must not stand on the agenda already.
    pub(super) fn plan(&mut self, place: usize, at: Instant, failures: u32) {
        self.due.push(Reverse((at, place, failures)));
    }

    /// A place that is to be looked at now. Each has to be followed by [`Agenda::ended`].
    pub(super) fn next(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((at, place, failures))) = self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            self.due.pop();
            let Some(door) = self.stores.get(place).and_then(|store| self.doors.get_mut(*store)) else { continue };
            if door.shut.is_some() {
                self.held_back.push_back(place);
            }
            door.waiting.push(Reverse((failures, at, place)));
        }
        self.doors.iter_mut().find_map(|door| door.next(now))
    }

    /// A place that is due and was not looked at, since its store is left alone. Each is named once a time that it is due.
    pub(super) fn held_back(&mut self) -> Option<usize> {
        self.held_back.pop_front()
    }

    /// When [`Agenda::next`] may have something although no look ends before.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let due = self.due.peek().map(|Reverse((at, ..))| *at);
        self.doors.iter().filter_map(Door::opens).chain(due).min()
    }

    /// A look has ended.
    pub(super) fn ended(&mut self, place: usize, how: Ended, now: Instant, chance: f64) {
        let Some(door) = self.stores.get(place).and_then(|store| self.doors.get_mut(*store)) else { return };
        let was_shut = door.shut.is_some();
        door.ended(place, how, now, chance);
        if !was_shut && door.shut.is_some() {
            self.held_back.extend(door.waiting.iter().map(|Reverse((_, _, place))| *place));
        }
    }
}

impl Door {
    fn next(&mut self, now: Instant) -> Option<usize> {
        let room = match &self.shut {
            None => AT_ONCE,
            Some(shut) => usize::from(shut.until <= now),
        };
        if self.asked >= room {
            return None;
        }
        let Reverse((_, _, place)) = self.waiting.pop()?;
        self.asked += 1;
        Some(place)
    }

    fn opens(&self) -> Option<Instant> {
        let waits = self.asked == 0 && !self.waiting.is_empty();
        self.shut.as_ref().filter(|_| waits).map(|shut| shut.until)
    }

    fn ended(&mut self, place: usize, how: Ended, now: Instant, chance: f64) {
        self.asked = self.asked.saturating_sub(1);
        if how.unavailable {
            if self.failed.len() < SHUT_AFTER {
                self.failed.insert(place);
            }
        } else {
            self.failed.clear();
            // One that was on its way when the store asked to be left alone says nothing against that.
            if self.shut.as_ref().is_some_and(|shut| shut.until <= now) {
                self.shut = None;
            }
        }
        if let Some(asked) = how.retry_after {
            let until = now + timing::left_alone(asked, chance);
            let shut = self.shut.get_or_insert(Shut { until, attempts: 0 });
            shut.until = shut.until.max(until);
        }
        if how.unavailable && (self.shut.is_some() || self.failed.len() >= SHUT_AFTER) {
            let shut = self.shut.get_or_insert(Shut { until: now, attempts: 0 });
            // Those that were on their way together count as one attempt.
            if self.asked == 0 {
                shut.attempts = shut.attempts.saturating_add(1);
                shut.until = shut.until.max(now + timing::backoff(shut.attempts, timing::LONGEST, chance));
            }
        }
    }
}
