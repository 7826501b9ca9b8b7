//! When a leaf is due: small pure checks, the clock an argument.

use jiff::{SignedDuration, Timestamp};

use crate::leaf::BACKDATED;

/// What is known of the leaf in use, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafFacts {
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// Begin of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// [`LeafRequest::digest`](crate::LeafRequest::digest) of what it was issued for.
    pub request: String,
}

impl LeafFacts {
    /// How long it was asked to be valid.
    pub fn lifetime(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before) - BACKDATED
    }
}

/// What to do about a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing before this moment.
    KeepUntil(Timestamp),
    /// There is none.
    Missing,
    /// It says something else than what is asked for now, or another authority signed it.
    Outdated,
    /// Half of its life is over.
    Due,
}

/// Decides about a leaf.
pub fn decide(leaf: Option<&LeafFacts>, request: &str, now: Timestamp) -> Renewal {
    match leaf {
        None => Renewal::Missing,
        Some(leaf) if leaf.request != request => Renewal::Outdated,
        Some(leaf) if due(leaf) <= now => Renewal::Due,
        Some(leaf) => Renewal::KeepUntil(due(leaf)),
    }
}

/// The moment at which a leaf shall be renewed: half of its life, give or take a tenth of it by its serial number, so
/// that leaves issued together are not renewed together.
pub fn due(leaf: &LeafFacts) -> Timestamp {
    let life = leaf.not_after.duration_since(leaf.not_before);
    let spread = leaf.serial.bytes().fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 201) - 100;
    leaf.not_before + life / 2 + SignedDuration::from_millis_i128(life.as_millis() / 10 * i128::from(spread) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(serial: &str) -> LeafFacts {
        LeafFacts {
            serial: serial.into(),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1000),
            request: "asked".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_leaf_lives_about_half_its_life() {
        for serial in ["00", "7f3a", "beef", "1", "ffffffffffffffff"] {
            let moment = due(&leaf(serial)).as_second();
            assert!((400..=600).contains(&moment), "{serial}: {moment}");
        }
        assert_ne!(due(&leaf("7f3a")), due(&leaf("beef")));
    }

    #[test]
    fn the_first_reason_to_renew_wins() {
        let kept = leaf("7f3a");
        assert_eq!(decide(None, "asked", at(0)), Renewal::Missing);
        assert_eq!(decide(Some(&kept), "else", at(0)), Renewal::Outdated);
        assert_eq!(decide(Some(&kept), "asked", at(0)), Renewal::KeepUntil(due(&kept)));
        assert_eq!(decide(Some(&kept), "asked", at(601)), Renewal::Due);
        assert_eq!(decide(Some(&kept), "asked", due(&kept)), Renewal::Due);
    }
}
