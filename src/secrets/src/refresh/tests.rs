//! Laws of the refresh, against a store that follows a script, on a clock that jumps from one moment to the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardea_contract::secrets::{Location, Secret, SecretsConfig, TroubleKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use proptest::prelude::*;
use tokio::time::Instant;

use super::agenda::AT_ONCE;
use super::*;
use crate::store::{Lease, Version};
use crate::value::{Value, Values};

/// How long the store takes to answer.
const ANSWERS: Duration = Duration::from_millis(5);

/// A store that does what its script says, and remembers what it was asked.
struct Scripted {
    began: Instant,
    script: Script,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Script {
    /// When each further version of every place appears, after the beginning.
    versions: Vec<Duration>,
    /// When it does not answer.
    down: Option<(Duration, Duration)>,
    /// Places (by their number) that never answer.
    broken: Vec<usize>,
    /// What it asks for when it is down.
    retry_after: Option<Duration>,
    /// It has no word for versions.
    unversioned: bool,
    /// The identity may not ask for versions.
    probe_refused: bool,
    /// Credentials are made, for so long, which can be prolonged so often.
    leases: Option<(Duration, u32)>,
    /// Asked after this, it answers to nobody.
    silent: bool,
}

#[derive(Default)]
struct Seen {
    /// When it was asked what, of which place.
    asked: Vec<(Duration, &'static str, String)>,
    at_once: usize,
    most_at_once: usize,
    /// The versions that were read, of which place.
    read: Vec<(String, usize)>,
    renewed: u32,
}

impl Scripted {
    fn new(script: Script) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), script, seen: Mutex::default() })
    }

    fn version_now(&self) -> usize {
        self.script.versions.iter().filter(|at| **at <= self.began.elapsed()).count()
    }

    fn asked(&self, what: &str) -> usize {
        self.seen.lock().unwrap().asked.iter().filter(|(_, asked, _)| *asked == what).count()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().asked.len()
    }

    async fn answers(&self, what: &'static str, at: &Location) -> Result<(), StoreError> {
        let place = path(at);
        {
            let mut seen = self.seen.lock().unwrap();
            seen.asked.push((self.began.elapsed(), what, place.clone()));
            seen.at_once += 1;
            seen.most_at_once = seen.most_at_once.max(seen.at_once);
        }
        if self.script.silent {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(ANSWERS).await;
        self.seen.lock().unwrap().at_once -= 1;
        let now = self.began.elapsed();
        let down = self.script.down.is_some_and(|(from, to)| (from..to).contains(&now));
        let broken = self.script.broken.iter().any(|broken| broken.to_string() == place);
        if down || broken {
            let mut error = StoreError::new(TroubleKind::Unavailable, "the store is down: wait");
            error.retry_after = self.script.retry_after.filter(|_| down);
            return Err(error);
        }
        Ok(())
    }
}

fn path(at: &Location) -> String {
    match at {
        Location::AwsSecretsManager { secret_id, .. } => secret_id.clone(),
        _ => unreachable!(),
    }
}

impl Store for Scripted {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        async {
            self.answers("version", at).await?;
            if self.script.probe_refused {
                return Err(StoreError::new(TroubleKind::Refused, "no right to ask for versions"));
            }
            Ok((!self.script.unversioned).then(|| self.version_now().to_string()))
        }
        .boxed()
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async {
            self.answers("read", at).await?;
            let version = self.version_now();
            let mut seen = self.seen.lock().unwrap();
            seen.read.push((path(at), version));
            let made = self.script.leases.map_or(version, |_| seen.read.len());
            let lease = self.script.leases.map(|(lasts, most)| Lease {
                id: zeroize::Zeroizing::new("lease".to_owned()),
                lasts,
                renewable: most > 0,
            });
            seen.renewed = 0;
            Ok(Reading {
                values: Values::Text(Value::new(made.to_string().into_bytes())),
                version: (!self.script.unversioned && lease.is_none()).then(|| version.to_string()),
                lease,
            })
        }
        .boxed()
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        async {
            let at = Location::AwsSecretsManager { secret_id: "lease".to_owned(), version_stage: None };
            self.answers("renew", &at).await?;
            let (lasts, most) = self.script.leases.unwrap();
            let mut seen = self.seen.lock().unwrap();
            seen.renewed += 1;
            if seen.renewed > most {
                return Err(StoreError::new(TroubleKind::Refused, "cannot be prolonged"));
            }
            Ok(Lease { id: lease.id.clone(), lasts, renewable: true })
        }
        .boxed()
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Told {
    began: Option<Instant>,
    /// When, which secret, which value.
    changed: Vec<(Duration, usize, String)>,
    failed: BTreeMap<usize, usize>,
    /// When each secret was last looked after, and the longest that it was not.
    looked: BTreeMap<usize, (Duration, Duration)>,
    /// Deliveries that are still to fail.
    full: usize,
}

impl Told {
    fn elapsed(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    fn look(&mut self, secrets: &[usize]) {
        let now = self.elapsed();
        for secret in secrets {
            let (last, longest) = self.looked.entry(*secret).or_default();
            *longest = (*longest).max(now.saturating_sub(*last));
            *last = now;
        }
    }
}

impl Recipient for Told {
    fn changed(&mut self, secrets: &[usize], reading: &Reading) -> Result<(), StoreError> {
        if self.full > 0 {
            self.full -= 1;
            return Err(StoreError::new(TroubleKind::Unusable, "no room"));
        }
        let Values::Text(text) = &reading.values else { unreachable!() };
        let text = String::from_utf8(text.expose().to_vec()).unwrap();
        let now = self.elapsed();
        self.changed.extend(secrets.iter().map(|secret| (now, *secret, text.clone())));
        self.look(secrets);
        Ok(())
    }

    fn same(&mut self, secrets: &[usize]) {
        self.look(secrets);
    }

    fn failed(&mut self, secrets: &[usize], _: &StoreError) {
        for secret in secrets {
            *self.failed.entry(*secret).or_default() += 1;
        }
    }
}

/// Secrets of these places, one each, looked at so often.
fn config(places: &[usize], every: u32) -> SecretsConfig {
    let secret = |(index, place): (usize, &usize)| Secret {
        name: format!("secret-{index}"),
        store: "store".to_owned(),
        at: Location::AwsSecretsManager { secret_id: place.to_string(), version_stage: None },
        keys: Vec::new(),
        refresh_seconds: every,
        max_staleness_seconds: 3600,
    };
    let secrets = places.iter().enumerate().map(secret).collect();
    SecretsConfig { stores: BTreeMap::new(), secrets, same_user: false }
}

/// Runs them against a script for so long.
fn run(config: &SecretsConfig, script: Script, full: usize, lasts: Duration) -> (Arc<Scripted>, Told) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let store = Scripted::new(script);
        let stores = BTreeMap::from([("store".to_owned(), store.clone() as Arc<dyn Store>)]);
        let mut refresh = Refresh::new(config, &stores, Arc::new(Codes::new(b"key"))).unwrap();
        let mut told = Told { began: Some(store.began), full, ..Told::default() };
        let turns = async {
            loop {
                refresh.turn(&mut told).await;
            }
        };
        let _ = tokio::time::timeout(lasts, turns).await;
        (store, told)
    })
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_version_is_read_twice_and_every_one_that_stays_is_delivered(
        places in proptest::collection::vec(0_usize..6, 1..20),
        every in 5_u32..120,
        changes in proptest::collection::vec(0_u64..3000, 0..8),
        down in proptest::option::of((0_u64..2000, 1_u64..400)),
    ) {
        let versions = changes.iter().map(|at| seconds(*at)).collect();
        let down = down.map(|(from, lasts)| (seconds(from), seconds(from + lasts)));
        let script = Script { versions, down, ..Script::default() };
        let (store, told) = run(&config(&places, every), script, 0, seconds(3600));
        let read = store.seen.lock().unwrap().read.clone();
        let mut once = read.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), read.len(), "{:?}", read);
        for secret in 0..places.len() {
            let last = told.changed.iter().rev().find(|(_, told, _)| *told == secret).map(|(_, _, value)| value.clone());
            prop_assert_eq!(last, Some(changes.len().to_string()));
        }
    }

    #[test]
    fn every_secret_is_looked_after_within_its_interval(
        places in proptest::collection::vec(0_usize..400, 1..400),
        every in 5_u32..900,
    ) {
        let lasts = seconds(u64::from(every) * 8);
        let (store, told) = run(&config(&places, every), Script::default(), 0, lasts);
        for (secret, (last, longest)) in &told.looked {
            let most = seconds(every.into()).mul_f64(1.1) + seconds(2);
            prop_assert!(*longest <= most && lasts - *last <= most, "{secret}: {longest:?}");
        }
        prop_assert_eq!(told.looked.len(), places.len());
        prop_assert!(store.seen.lock().unwrap().most_at_once <= AT_ONCE);
    }

    #[test]
    fn those_who_ask_for_one_place_share_its_looks(sharers in 1_usize..50, every in 5_u32..100) {
        let (store, told) = run(&config(&vec![7; sharers], every), Script::default(), 0, seconds(1000));
        prop_assert_eq!(store.asked("read"), 1);
        prop_assert!(store.asked("version") as f64 <= 1000.0 / (f64::from(every) * 0.9) + 1.0);
        prop_assert_eq!(told.changed.len(), sharers);
    }

    #[test]
    fn a_store_that_is_back_is_seen_within_a_minute_by_all(
        count in 1_usize..200,
        every in 30_u32..900,
        from in 0_u64..1000,
        lasts in 60_u64..2000,
    ) {
        let back = seconds(from + lasts);
        let script = Script { down: Some((seconds(from), back)), versions: vec![seconds(from + 1)], ..Script::default() };
        let places: Vec<_> = (0..count).collect();
        let (store, told) = run(&config(&places, every), script, 0, back + seconds(1000));
        for secret in 0..count {
            let failed = told.failed.contains_key(&secret);
            let delivered = told.changed.iter().find(|(_, told, value)| *told == secret && value == "1").map(|(at, ..)| *at);
            // One that was never due while the store was down has its own time.
            prop_assert!(!failed || delivered.is_some_and(|at| at <= back + seconds(60)), "{secret}: {delivered:?}");
        }
        prop_assert!(store.seen.lock().unwrap().most_at_once <= AT_ONCE);
    }
}

#[test]
fn where_no_version_is_told_values_are_compared() {
    for script in [
        Script { unversioned: true, versions: vec![seconds(500)], ..Script::default() },
        Script { probe_refused: true, versions: vec![seconds(500)], ..Script::default() },
    ] {
        let (store, told) = run(&config(&[1, 1], 60), script, 0, seconds(1000));
        let values: Vec<_> = told.changed.iter().map(|(_, _, value)| value.as_str()).collect();
        assert_eq!(values, ["0", "0", "1", "1"]);
        assert!((15..=20).contains(&store.asked("read")), "{}", store.asked("read"));
        assert!(told.failed.is_empty());
    }
}

#[test]
fn a_thousand_secrets_of_a_dead_store_cost_a_question_now_and_then() {
    let script = Script { down: Some((seconds(0), seconds(10_000))), ..Script::default() };
    let places: Vec<_> = (0..1000).collect();
    let (store, told) = run(&config(&places, 900), script, 0, seconds(3600));
    assert_eq!(told.failed.len(), 1000, "each is told that it cannot be looked after");
    assert!(told.changed.is_empty());
    // Pauses are up to 30 s, 15 s at the mean.
    assert!(store.requests() < 400, "{}", store.requests());
    assert!(store.requests() > 3600 / 30);
}

#[test]
fn a_silent_store_is_given_up_and_holds_nobody_up_who_is_from_another() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let silent = Scripted::new(Script { silent: true, ..Script::default() });
        let well = Scripted::new(Script::default());
        let stores = BTreeMap::from([
            ("silent".to_owned(), silent.clone() as Arc<dyn Store>),
            ("well".to_owned(), well.clone() as Arc<dyn Store>),
        ]);
        let mut config = config(&(0..100).collect::<Vec<_>>(), 60);
        for (index, secret) in config.secrets.iter_mut().enumerate() {
            secret.store = if index % 2 == 0 { "silent" } else { "well" }.to_owned();
        }
        let mut refresh = Refresh::new(&config, &stores, Arc::new(Codes::new(b"key"))).unwrap();
        let mut told = Told { began: Some(well.began), ..Told::default() };
        let turns = async {
            loop {
                refresh.turn(&mut told).await;
            }
        };
        let _ = tokio::time::timeout(seconds(600), turns).await;
        assert_eq!((told.changed.len(), told.failed.len()), (50, 50));
        assert!(told.changed.iter().all(|(at, ..)| *at < seconds(1)));
        assert!(silent.requests() < 16 + 600 / 30 + 1, "{}", silent.requests());
    });
}

#[test]
fn parts_of_a_store_that_fail_delay_the_others_by_little() {
    let script = Script { broken: (0..50).collect(), versions: vec![seconds(2000)], ..Script::default() };
    let places: Vec<_> = (0..100).collect();
    let (_, told) = run(&config(&places, 300), script, 0, seconds(4000));
    for secret in 50..100 {
        let at = told.changed.iter().find(|(_, told, value)| *told == secret && value == "1").unwrap().0;
        assert!(at <= seconds(2000 + 330 + 60), "{secret}: {at:?}");
    }
}

#[test]
fn a_store_that_asks_to_be_left_alone_is_within_bounds() {
    for (asked, pause) in [(seconds(120), seconds(120)), (seconds(100_000), seconds(300))] {
        let down = Some((seconds(100), seconds(101)));
        let script = Script { down, retry_after: Some(asked), ..Script::default() };
        // Looked at every second, so that it is surely while it is down.
        let (store, told) = run(&config(&[1, 2, 3], 1), script, 0, seconds(1000));
        let seen = store.seen.lock().unwrap();
        let times: Vec<_> = seen.asked.iter().map(|(at, ..)| *at).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(gap >= pause - seconds(1) && gap <= pause.mul_f64(1.1) + seconds(1), "{gap:?}");
        assert_eq!(told.failed.len(), 3);
    }
}

#[test]
fn what_could_not_be_delivered_is_read_again_soon() {
    let (store, told) = run(&config(&[1], 900), Script::default(), 3, seconds(60));
    assert_eq!(store.asked("read"), 4);
    assert_eq!(told.changed.len(), 1);
    assert_eq!(told.failed[&0], 3);
}

#[test]
fn credentials_are_prolonged_and_read_anew_before_they_end() {
    for (prolonged, script) in [
        (3, Script { leases: Some((seconds(600), 3)), ..Script::default() }),
        (0, Script { leases: Some((seconds(600), 0)), ..Script::default() }),
    ] {
        let (store, told) = run(&config(&[1], 60), script, 0, seconds(20_000));
        assert!(told.failed.is_empty());
        let mut ends = Duration::ZERO;
        for pair in told.changed.windows(2) {
            let lasts = pair[1].0 - pair[0].0;
            // Each prolongation comes at two thirds.
            assert!(lasts <= seconds(400 * (prolonged + 1) + 1), "{lasts:?}");
            assert!(lasts >= seconds(360 * (prolonged + 1)), "{lasts:?}");
            ends = pair[1].0;
        }
        assert!(ends > seconds(15_000), "it goes on: {ends:?}");
        assert_eq!(store.asked("version"), 0);
    }
}

#[test]
fn a_secret_of_an_unknown_store_is_refused() {
    let refused = Refresh::new(&config(&[1], 60), &BTreeMap::new(), Arc::new(Codes::new(b"key")));
    assert_eq!(
        refused.err().unwrap().to_string(),
        "secret secret-0 is from store store, which is not among the stores: add it there, or name another"
    );
}

#[test]
fn the_store_is_shut_only_when_several_places_find_it_so() {
    // One place that fails for ever leaves the others their own pace.
    let (_, told) = run(&config(&[0, 1, 2], 30), Script { broken: vec![0], ..Script::default() }, 0, seconds(3000));
    assert!(told.failed.contains_key(&0) && told.failed.len() == 1, "{:?}", told.failed);
}
