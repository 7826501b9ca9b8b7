//! What became of each secret and each store, for the report. Pure: clocks are arguments.
//!
//! How long something lasts is told by a clock that nobody sets; the time of day stands in the report and decides nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cardea_contract::secrets::{SecretReport, SecretTrouble, SecretsConfig, SecretsReport, StoreReport, TroubleKind};
use cardea_secrets::StoreError;

/// Seconds by which the report may be behind with when a store was reached: it is not worth writing at every look.
const COARSE: i64 = 30;

/// A moment.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Monotonic.
    pub(super) at: Instant,
    /// Seconds since 1970.
    pub(super) wall: i64,
}

/// The ledger.
pub(super) struct Ledger {
    secrets: Vec<Line>,
    stores: BTreeMap<String, StoreLine>,
}

struct Line {
    name: String,
    store: String,
    most_stale: Duration,
    delivered: Option<Delivered>,
    /// Why the store could not be asked.
    failed: Option<Trouble>,
    /// Why what it gave could not be used.
    unfit: Option<Trouble>,
}

struct Delivered {
    version: String,
    at: i64,
    rotated: bool,
}

#[derive(Default)]
struct StoreLine {
    reached: Option<i64>,
    trouble: Option<Trouble>,
}

struct Trouble {
    kind: TroubleKind,
    message: String,
    began: Moment,
}

impl Ledger {
    /// Nothing is delivered and no store reached.
    pub(super) fn new(config: &SecretsConfig) -> Self {
        let line = |secret: &cardea_contract::secrets::Secret| Line {
            name: secret.name.clone(),
            store: secret.store.clone(),
            most_stale: Duration::from_secs(secret.max_staleness_seconds.into()),
            delivered: None,
            failed: None,
            unfit: None,
        };
        Self {
            secrets: config.secrets.iter().map(line).collect(),
            stores: config.stores.keys().map(|name| (name.clone(), StoreLine::default())).collect(),
        }
    }

    /// What lies there since an earlier run of the same pod, by the report of that.
    pub(super) fn taken_up(&mut self, secret: usize, rotated: bool, earlier: Option<&SecretReport>, now: Moment) {
        let Some(line) = self.secrets.get_mut(secret) else { return };
        let earlier_version = earlier.and_then(|earlier| earlier.version.clone());
        line.delivered = Some(Delivered {
            // Until the store is asked, nobody knows.
            version: earlier_version.unwrap_or_else(|| "unknown".to_owned()),
            at: earlier.and_then(|earlier| earlier.delivered_at).unwrap_or(now.wall),
            rotated,
        });
        line.failed = earlier.and_then(|earlier| earlier.trouble.as_ref()).map(|trouble| {
            let lasted = Duration::from_secs(u64::try_from(now.wall.saturating_sub(trouble.since)).unwrap_or(0));
            let began = Moment { at: now.at.checked_sub(lasted).unwrap_or(now.at), wall: trouble.since };
            Trouble { kind: trouble.kind, message: trouble.message.clone(), began }
        });
    }

    /// Values of this version are delivered, which took the place of others or not. Gives whether that is news.
    pub(super) fn delivered(&mut self, secret: usize, version: &str, new: Option<bool>, now: Moment) -> bool {
        let Some(line) = self.secrets.get_mut(secret) else { return false };
        line.unfit = None;
        line.failed = None;
        let before = line.delivered.as_ref();
        if new.is_none() && before.is_some_and(|before| before.version == version) {
            return false;
        }
        let rotated = new.unwrap_or(false) || before.is_some_and(|before| before.rotated);
        line.delivered = Some(Delivered { version: version.to_owned(), at: now.wall, rotated });
        true
    }

    /// The store was asked about a secret, and nothing has changed. Gives whether it could not be asked before.
    pub(super) fn same(&mut self, secret: usize) -> bool {
        self.secrets.get_mut(secret).is_some_and(|line| line.failed.take().is_some())
    }

    /// The store could not be asked about a secret. Gives whether that is news.
    pub(super) fn failed(&mut self, secret: usize, error: &StoreError, now: Moment) -> bool {
        self.secrets.get_mut(secret).is_some_and(|line| trouble(&mut line.failed, error, now))
    }

    /// What the store gave for a secret cannot be used. Gives whether that is news.
    pub(super) fn unfit(&mut self, secret: usize, error: &StoreError, now: Moment) -> bool {
        self.secrets.get_mut(secret).is_some_and(|line| {
            line.failed = None;
            trouble(&mut line.unfit, error, now)
        })
    }

    /// The store of a secret has answered, or has not.
    pub(super) fn store(&mut self, secret: usize, error: Option<&StoreError>, now: Moment) {
        let Some(store) = self.secrets.get(secret).and_then(|line| self.stores.get_mut(&line.store)) else { return };
        match error.filter(|error| error.kind == TroubleKind::Unavailable) {
            Some(error) => {
                trouble(&mut store.trouble, error, now);
            }
            None => {
                let was_away = store.trouble.take().is_some();
                let is_old = store.reached.is_none_or(|reached| !(0..COARSE).contains(&(now.wall - reached)));
                if was_away || is_old {
                    store.reached = Some(now.wall);
                }
            }
        }
    }

    /// When a trouble will have lasted so long that values count as stale, the next one that will.
    pub(super) fn turns_stale(&self, now: Instant) -> Option<Instant> {
        self.secrets.iter().filter_map(Line::turns_stale).filter(|at| *at > now).min()
    }

    /// All of it, secrets in the order of names.
    pub(super) fn report(&self, now: Instant) -> SecretsReport {
        let mut secrets: Vec<_> = self.secrets.iter().map(|line| line.report(now)).collect();
        secrets.sort_by(|one, other| one.name.cmp(&other.name));
        let stores = self.stores.iter().map(|(name, store)| StoreReport {
            name: name.clone(),
            reached_at: store.reached,
            trouble: store.trouble.as_ref().map(|trouble| trouble.report(false)),
        });
        SecretsReport { secrets, stores: stores.collect() }
    }
}

impl Line {
    fn trouble(&self) -> Option<&Trouble> {
        self.failed.as_ref().or(self.unfit.as_ref())
    }

    /// Of values that were never delivered none are stale.
    fn turns_stale(&self) -> Option<Instant> {
        self.delivered.as_ref()?;
        self.trouble()?.began.at.checked_add(self.most_stale)
    }

    fn report(&self, now: Instant) -> SecretReport {
        let stale = self.turns_stale().is_some_and(|at| at <= now);
        SecretReport {
            name: self.name.clone(),
            store: self.store.clone(),
            version: self.delivered.as_ref().map(|delivered| delivered.version.clone()),
            delivered_at: self.delivered.as_ref().map(|delivered| delivered.at),
            rotated: self.delivered.as_ref().is_some_and(|delivered| delivered.rotated),
            trouble: self.trouble().map(|trouble| trouble.report(stale)),
        }
    }
}

impl Trouble {
    fn report(&self, stale: bool) -> SecretTrouble {
        SecretTrouble { kind: self.kind, message: self.message.clone(), since: self.began.wall, stale }
    }
}

/// Notes a trouble, which goes on since it began if there is one already. Gives whether it is another one.
fn trouble(noted: &mut Option<Trouble>, error: &StoreError, now: Moment) -> bool {
    let before = noted.take();
    let news = before.as_ref().is_none_or(|before| before.kind != error.kind || before.message != error.message);
    let began = before.map_or(now, |before| before.began);
    *noted = Some(Trouble { kind: error.kind, message: error.message.clone(), began });
    news
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ledger() -> Ledger {
        let secret = |name: &str| {
            json!({"name": name, "store": "vault", "at": {"onePasswordConnect": {"vault": "v", "item": "i"}}, "keys": [],
                "refreshSeconds": 60, "maxStalenessSeconds": 600})
        };
        let vault = json!({"kind": {"onePasswordConnect": {"url": "http://connect"}}});
        let config = json!({"stores": {"vault": vault}, "secrets": [secret("b"), secret("a")]});
        Ledger::new(&serde_json::from_value(config).unwrap())
    }

    fn down() -> StoreError {
        StoreError::new(TroubleKind::Unavailable, "down")
    }

    #[test]
    fn a_trouble_lasts_since_it_began_and_makes_values_stale_and_takes_nothing_away() {
        let mut ledger = ledger();
        let begin = Moment { at: Instant::now(), wall: 1000 };
        let after = |seconds: u64, wall| Moment { at: begin.at + Duration::from_secs(seconds), wall };
        assert!(ledger.delivered(0, "1", Some(false), begin));
        assert!(ledger.failed(0, &down(), after(10, 1010)));
        // The clock on the wall leaps back and far ahead: no matter.
        assert!(!ledger.failed(0, &down(), after(20, 5)));
        assert!(ledger.failed(0, &StoreError::new(TroubleKind::NotFound, "gone"), after(300, 900_000)));
        assert_eq!(ledger.turns_stale(after(300, 0).at), Some(after(610, 0).at));
        let of = |ledger: &Ledger, at: Moment| ledger.report(at.at).secrets[1].clone();
        let before = of(&ledger, after(609, 0));
        let trouble = before.trouble.unwrap();
        assert_eq!((trouble.kind, trouble.since, trouble.stale), (TroubleKind::NotFound, 1010, false));
        let stale = of(&ledger, after(610, 0));
        assert!(stale.trouble.unwrap().stale);
        assert_eq!((stale.version.as_deref(), stale.delivered_at), (Some("1"), Some(1000)));
        assert!(ledger.same(0) && !ledger.same(0));
        assert_eq!(of(&ledger, after(9999, 0)).trouble, None);
    }

    #[test]
    fn what_was_never_delivered_is_not_stale() {
        let mut ledger = ledger();
        let begin = Moment { at: Instant::now(), wall: 1000 };
        ledger.failed(0, &down(), begin);
        assert_eq!(ledger.turns_stale(begin.at), None);
        let report = ledger.report(begin.at + Duration::from_secs(10_000));
        assert!(report.secrets.iter().all(|secret| secret.version.is_none()));
        assert!(!report.secrets[1].trouble.as_ref().unwrap().stale);
    }

    #[test]
    fn what_cannot_be_used_stays_so_until_other_values_come() {
        let mut ledger = ledger();
        let now = Moment { at: Instant::now(), wall: 1000 };
        ledger.delivered(0, "1", Some(false), now);
        assert!(ledger.unfit(0, &StoreError::new(TroubleKind::NotFound, "no key token"), now));
        ledger.same(0);
        assert_eq!(ledger.report(now.at).secrets[1].trouble.as_ref().unwrap().message, "no key token");
        assert!(ledger.delivered(0, "3", Some(true), now));
        let delivered = ledger.report(now.at).secrets[1].clone();
        assert!(delivered.trouble.is_none() && delivered.rotated);
    }

    #[test]
    fn equal_values_of_another_version_rotate_nothing() {
        let mut ledger = ledger();
        let at = |wall| Moment { at: Instant::now(), wall };
        ledger.delivered(1, "1", Some(false), at(1));
        assert!(!ledger.delivered(1, "1", None, at(2)));
        assert!(ledger.delivered(1, "2", None, at(3)));
        let secret = ledger.report(at(3).at).secrets[0].clone();
        assert_eq!((secret.name.as_str(), secret.version.as_deref(), secret.rotated), ("a", Some("2"), false));
        assert_eq!(secret.delivered_at, Some(3));
        ledger.delivered(1, "3", Some(true), at(4));
        ledger.delivered(1, "4", None, at(5));
        assert!(ledger.report(at(5).at).secrets[0].rotated, "what read it at its start has an old one still");
    }

    #[test]
    fn when_a_store_was_reached_is_told_coarsely_whatever_the_clock_does() {
        let mut ledger = ledger();
        let mut reached = |wall, error: Option<StoreError>| {
            let now = Moment { at: Instant::now(), wall };
            ledger.store(0, error.as_ref(), now);
            let store = ledger.report(now.at).stores.remove(0);
            (store.reached_at, store.trouble.is_some())
        };
        assert_eq!(reached(1000, None), (Some(1000), false));
        assert_eq!(reached(1029, None), (Some(1000), false));
        assert_eq!(reached(1030, None), (Some(1030), false));
        assert_eq!(reached(1031, Some(down())), (Some(1030), true));
        assert_eq!(reached(1032, Some(StoreError::new(TroubleKind::Refused, "no"))), (Some(1032), false));
        assert_eq!(reached(7, None), (Some(7), false), "a clock that was set back");
    }

    #[test]
    fn an_earlier_run_is_taken_up() {
        let mut earlier = ledger();
        let begin = Moment { at: Instant::now(), wall: 1000 };
        earlier.delivered(0, "1", Some(false), begin);
        earlier.failed(0, &down(), begin);
        let report = earlier.report(begin.at);
        let mut later = ledger();
        let now = Moment { at: begin.at, wall: 1600 };
        later.taken_up(0, true, report.secrets.iter().find(|secret| secret.name == "b"), now);
        let secret = later.report(now.at).secrets[1].clone();
        assert_eq!((secret.version.as_deref(), secret.delivered_at, secret.rotated), (Some("1"), Some(1000), true));
        assert_eq!(secret.trouble.unwrap().since, 1000);
    }
}
