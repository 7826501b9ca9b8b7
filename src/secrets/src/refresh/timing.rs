//! How long until the next look. Pure: `chance` is a number from 0 up to 1, drawn by the caller.

use std::time::Duration;

/// Bound of the first pause after a failure; each further failure doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// No pause after a failure is longer: a store that is back is seen soon.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// No pause is shorter.
const SHORTEST: Duration = Duration::from_millis(100);
/// No store is left alone for longer, whatever it asks for.
const LEFT_ALONE: Duration = Duration::from_secs(300);

/// Until the next look when all is well: the interval within a tenth, so that those who began together do not stay so.
pub(super) fn interval(every: Duration, chance: f64) -> Duration {
    every.mul_f64(0.9 + 0.2 * chance).max(SHORTEST)
}

/// Until a lease is to be prolonged: two thirds of it, or up to a tenth less.
pub(super) fn renewal(lasts: Duration, chance: f64) -> Duration {
    lasts.mul_f64((1.0 - 0.1 * chance) * 2.0 / 3.0).max(SHORTEST)
}

/// Until the next attempt after so many failures: anywhere below a bound that doubles, so that nobody tries in step with
/// anybody else.
pub(super) fn backoff(failures: u32, every: Duration, chance: f64) -> Duration {
    let bound = FIRST.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    bound.min(LONGEST).min(every).mul_f64(chance).max(SHORTEST)
}

/// Until a store that asks to be left alone is asked again: what it asks for, within bounds, or up to a tenth more.
pub(super) fn left_alone(asked: Duration, chance: f64) -> Duration {
    asked.min(LEFT_ALONE).mul_f64(1.0 + 0.1 * chance)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_interval_keeps_within_a_tenth(seconds in 1_u64..100_000, chance in 0.0..1.0) {
            let every = Duration::from_secs(seconds);
            let pause = interval(every, chance);
            prop_assert!(pause >= every.mul_f64(0.899) && pause <= every.mul_f64(1.101));
        }

        #[test]
        fn a_lease_is_prolonged_well_before_its_end(seconds in 1_u64..100_000, chance in 0.0..1.0) {
            let lasts = Duration::from_secs(seconds);
            let pause = renewal(lasts, chance);
            prop_assert!(pause >= lasts.mul_f64(0.59) && pause <= lasts.mul_f64(0.67));
        }

        #[test]
        fn a_pause_after_failures_is_bounded(failures in 0..u32::MAX, seconds in 1_u64..100_000, chance in 0.0..1.0) {
            let every = Duration::from_secs(seconds);
            let pause = backoff(failures, every, chance);
            prop_assert!(pause >= SHORTEST && pause <= LONGEST.min(every));
        }

        #[test]
        fn a_store_is_left_alone_as_it_asks_but_not_for_ever(seconds in 0..u64::MAX, chance in 0.0..1.0) {
            let asked = Duration::from_secs(seconds);
            let pause = left_alone(asked, chance);
            prop_assert!(pause >= asked.min(LEFT_ALONE) && pause <= LEFT_ALONE.mul_f64(1.101));
        }
    }

    #[test]
    fn pauses_grow() {
        let bounds: Vec<_> =
            (1..8).map(|failures| backoff(failures, Duration::from_secs(900), 1.0).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 30, 30]);
    }
}
