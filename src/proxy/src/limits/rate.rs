//! So many in so long: one allowance, which grows back evenly (GCRA, by `governor`).
//!
//! Does not know whose it is.

use std::time::Duration;

use cardea_contract::Rate;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// One allowance.
pub(crate) struct Bucket(DefaultDirectRateLimiter);

impl Bucket {
    pub(crate) fn new(rate: &Rate) -> Self {
        Self(RateLimiter::direct(quota(rate)))
    }

    /// Takes one, or tells how long to wait for it.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

fn quota(rate: &Rate) -> Quota {
    let each = Duration::from_secs(rate.per_seconds.get().into()) / rate.requests.get();
    Quota::with_period(each).unwrap_or(Quota::per_second(rate.requests)).allow_burst(rate.burst)
}

/// How long after its last use an allowance is as good as new.
pub(crate) fn full_after(rate: &Rate) -> Duration {
    quota(rate).burst_size_replenished_in()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_says_for_how_long() {
        let rate = serde_json::from_value(json!({"requests": 2, "perSeconds": 3600, "burst": 3})).unwrap();
        let bucket = Bucket::new(&rate);
        for _ in 0..3 {
            bucket.take().unwrap();
        }
        let wait = bucket.take().unwrap_err();
        assert!((1700..=1800).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(full_after(&rate).as_secs(), 5400);
    }
}
