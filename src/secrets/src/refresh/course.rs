//! The course of one place in a store: what is known of it, and when it is to be looked at again. Pure: the clock and
//! chance are arguments.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::look::Known;
use super::timing;
use crate::codes::Code;
use crate::store::{Lease, Version};

/// Part of a lease that its prolongation may give less and still count as whole.
const WHOLE: f64 = 0.9;

/// The course of one place.
pub(super) struct Course {
    every: Duration,
    held: Option<Held>,
    failures: u32,
}

/// What was read last.
struct Held {
    version: Option<Version>,
    code: Code,
    lease: Option<HeldLease>,
}

struct HeldLease {
    lease: Arc<Lease>,
    /// What it was given for at first.
    granted: Duration,
    ends: Instant,
    prolong: bool,
}

impl Course {
    /// Looked at so often when all is well.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, held: None, failures: 0 }
    }

    /// Looked at at least so often.
    pub(super) fn hasten(&mut self, every: Duration) {
        self.every = self.every.min(every);
    }

    /// Failures since the last look that went well.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What a look begins with.
    pub(super) fn known(&self, now: Instant) -> Known {
        match &self.held {
            None => Known::default(),
            // Credentials that are made when they are read have no version that could say that they are still the same.
            Some(Held { lease: Some(held), .. }) => {
                let prolong = held.prolong && now < held.ends;
                Known { version: None, lease: prolong.then(|| held.lease.clone()) }
            }
            Some(held) => Known { version: held.version.clone(), lease: None },
        }
    }

    /// Whether values of this code and version are other ones than those that are held. Another version of equal values
    /// is none.
    pub(super) fn is_news(&self, code: &Code, version: Option<&Version>) -> bool {
        self.held.as_ref().is_none_or(|held| held.code != *code || held.version.as_ref() != version)
    }

    /// The version is still the same. Gives when to look again, as all of these.
    pub(super) fn same(&mut self, now: Instant, chance: f64) -> Instant {
        self.failures = 0;
        now + timing::interval(self.every, chance)
    }

    /// The values were read and delivered.
    pub(super) fn read(
        &mut self,
        code: Code,
        version: Option<Version>,
        lease: Option<Lease>,
        now: Instant,
        chance: f64,
    ) -> Instant {
        self.failures = 0;
        let pause = timing::interval(self.every, chance);
        let (pause, lease) = match lease {
            None => (pause, None),
            // Only a word on how long values are good for: nothing is there to be prolonged.
            Some(lease) if lease.id.is_empty() => (pause.min(timing::renewal(lease.lasts, chance)), None),
            Some(lease) => (timing::renewal(lease.lasts, chance), Some(HeldLease::new(lease, now))),
        };
        self.held = Some(Held { version, code, lease });
        now + pause
    }

    /// The lease was prolonged.
    pub(super) fn renewed(&mut self, lease: Lease, now: Instant, chance: f64) -> Instant {
        self.failures = 0;
        let pause = timing::renewal(lease.lasts, chance);
        if let Some(held) = self.held.as_mut().and_then(|held| held.lease.as_mut()) {
            // Given for less than at first, it has come to the end of what it can be prolonged to.
            held.prolong = lease.renewable && lease.lasts >= held.granted.mul_f64(WHOLE);
            held.ends = now + lease.lasts;
            held.lease = Arc::new(lease);
        }
        now + pause
    }

    /// The look failed, or what it brought could not be delivered.
    pub(super) fn failed(&mut self, now: Instant, chance: f64) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let lease = self.held.as_ref().and_then(|held| held.lease.as_ref());
        // A lease that is about to end leaves less time for pauses.
        let pace = lease.map_or(self.every, |held| (held.granted / 10).min(self.every));
        now + timing::backoff(self.failures, pace, chance)
    }
}

impl HeldLease {
    fn new(lease: Lease, now: Instant) -> Self {
        Self { granted: lease.lasts, ends: now + lease.lasts, prolong: lease.renewable, lease: Arc::new(lease) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codes::Codes;

    fn lease(seconds: u64, renewable: bool) -> Lease {
        Lease { id: zeroize::Zeroizing::new("lease".to_owned()), lasts: Duration::from_secs(seconds), renewable }
    }

    fn code() -> Code {
        Codes::new(b"key").code([])
    }

    #[test]
    fn a_lease_that_gives_less_than_at_first_is_not_prolonged_again() {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(60));
        let next = course.read(code(), None, Some(lease(3600, true)), now, 0.0);
        assert_eq!(next, now + Duration::from_secs(2400));
        assert!(course.known(next).lease.is_some());
        let then = course.renewed(lease(3600, true), next, 0.0);
        assert!(course.known(then).lease.is_some());
        let last = course.renewed(lease(900, true), then, 0.0);
        assert_eq!(last, then + Duration::from_secs(600));
        assert!(course.known(last).lease.is_none() && course.known(last).version.is_none());
    }

    #[test]
    fn a_lease_that_cannot_be_prolonged_or_has_ended_is_read_anew() {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(60));
        let next = course.read(code(), None, Some(lease(60, false)), now, 0.5);
        assert!(next < now + Duration::from_secs(60) && course.known(next).lease.is_none());
        course.read(code(), None, Some(lease(60, true)), now, 0.5);
        assert!(course.known(now + Duration::from_secs(59)).lease.is_some());
        assert!(course.known(now + Duration::from_secs(60)).lease.is_none());
    }

    #[test]
    fn a_word_on_how_long_values_are_good_for_hastens_the_next_look_and_leaves_their_version() {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(900));
        let word = Lease { id: zeroize::Zeroizing::default(), ..lease(60, false) };
        let next = course.read(code(), Some("7".to_owned()), Some(word), now, 0.0);
        assert_eq!(next, now + Duration::from_secs(40));
        assert_eq!(course.known(next).version.as_deref(), Some("7"));
    }

    #[test]
    fn equal_values_of_another_version_are_news_and_nothing_else_is() {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(60));
        assert!(course.is_news(&code(), None));
        course.read(code(), Some("1".to_owned()), None, now, 0.0);
        assert!(!course.is_news(&code(), Some(&"1".to_owned())));
        assert!(course.is_news(&code(), Some(&"2".to_owned())));
        assert!(course.is_news(&Codes::new(b"other").code([]), Some(&"1".to_owned())));
    }

    proptest! {
        #[test]
        fn before_a_lease_ends_there_is_time_for_another_attempt(
            seconds in 10_u64..100_000,
            every in 1_u64..100_000,
            draws in proptest::collection::vec(0.0..1.0, 1..4),
        ) {
            let now = Instant::now();
            let mut course = Course::new(Duration::from_secs(every));
            let ends = now + Duration::from_secs(seconds);
            let mut next = course.read(code(), None, Some(lease(seconds, true)), now, draws[0]);
            for draw in &draws {
                prop_assert!(next < ends);
                next = course.failed(next, *draw);
            }
        }
    }
}
