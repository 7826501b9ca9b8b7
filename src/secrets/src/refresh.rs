//! Keeps secrets up to date: asks stores when it is time, each place once for all who need it, and tells a [`Recipient`].
//!
//! Does not know where values end up, nor how a store is asked.

mod agenda;
mod course;
mod look;
#[cfg(test)]
mod tests;
mod timing;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use cardea_contract::secrets::{Location, SecretsConfig, TroubleKind};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use self::agenda::{Agenda, Ended};
use self::course::Course;
use self::look::{Found, look};
use crate::codes::Codes;
use crate::store::{Reading, Store, StoreError};

/// Longest look. Stores have shorter limits of their own for each request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is told what became of secrets, each by its index in the configuration.
pub trait Recipient {
    /// Other values, or another version of equal ones, for these secrets.
    ///
    /// # Errors
    /// When they could not be taken for a reason that may pass. They are read again soon; all that is known is told anew.
    fn changed(&mut self, secrets: &[usize], reading: &Reading) -> Result<(), StoreError>;

    /// The store was asked, and nothing has changed.
    fn same(&mut self, secrets: &[usize]);

    /// These could not be looked after. What was delivered stays.
    fn failed(&mut self, secrets: &[usize], why: &StoreError);
}

/// Keeps the secrets of one configuration up to date.
pub struct Refresh {
    places: Vec<Place>,
    stores: Vec<OpenStore>,
    agenda: Agenda,
    asked: FuturesUnordered<BoxFuture<'static, (usize, Result<Found, StoreError>)>>,
    codes: Arc<Codes>,
    chance: fn() -> f64,
}

/// A place in a store, for all secrets that come from there.
struct Place {
    store: usize,
    at: Arc<Location>,
    secrets: Vec<usize>,
    course: Course,
}

struct OpenStore {
    store: Arc<dyn Store>,
    name: String,
    /// Why it gave no answer last time.
    unavailable: Option<StoreError>,
}

impl Refresh {
    /// Everything is due at once. `stores` are those of the configuration, by name.
    ///
    /// # Errors
    /// When a secret names a store that is not among them.
    pub fn new(
        config: &SecretsConfig,
        stores: &BTreeMap<String, Arc<dyn Store>>,
        codes: Arc<Codes>,
    ) -> Result<Self, UnknownStore> {
        let numbers: HashMap<&str, usize> = stores.keys().map(String::as_str).zip(0..).collect();
        let mut places = Vec::<Place>::new();
        let mut known = HashMap::new();
        for (index, secret) in config.secrets.iter().enumerate() {
            let unknown = || UnknownStore { secret: secret.name.clone(), store: secret.store.clone() };
            let store = *numbers.get(secret.store.as_str()).ok_or_else(unknown)?;
            let every = Duration::from_secs(secret.refresh_seconds.max(1).into());
            let place = *known.entry((store, &secret.at)).or_insert_with(|| {
                let course = Course::new(every);
                places.push(Place { store, at: Arc::new(secret.at.clone()), secrets: Vec::new(), course });
                places.len() - 1
            });
            if let Some(place) = places.get_mut(place) {
                place.secrets.push(index);
                place.course.hasten(every);
            }
        }
        let mut agenda = Agenda::new(places.iter().map(|place| place.store).collect());
        let now = now();
        (0..places.len()).for_each(|place| agenda.plan(place, now, 0));
        let open = |(name, store): (&String, &Arc<dyn Store>)| OpenStore {
            store: store.clone(),
            name: name.clone(),
            unavailable: None,
        };
        let stores = stores.iter().map(open).collect();
        Ok(Self { places, stores, agenda, asked: FuturesUnordered::new(), codes, chance })
    }

    /// Waits for news, or for word that there are none, and tells the recipient. Nothing is lost if it is given up while it
    /// waits; without secrets it waits for ever.
    pub async fn turn(&mut self, recipient: &mut impl Recipient) {
        loop {
            while let Some(place) = self.agenda.next(now()) {
                self.ask(place);
            }
            if self.tell_held_back(recipient) {
                return;
            }
            let wakes = self.agenda.wakes();
            tokio::select! {
                Some((place, answer)) = self.asked.next(), if !self.asked.is_empty() => {
                    self.hear(place, answer, recipient);
                    return;
                }
                () = until(wakes) => {}
            }
        }
    }

    fn ask(&self, number: usize) {
        let Some(place) = self.places.get(number) else { return };
        let Some(OpenStore { store, name, .. }) = self.stores.get(place.store) else { return };
        let (store, at, name) = (store.clone(), place.at.clone(), name.clone());
        let known = place.course.known(now());
        self.asked.push(Box::pin(async move {
            let found = tokio::time::timeout(PATIENCE, look(&*store, &at, &known)).await;
            (number, found.unwrap_or_else(|_| Err(StoreError::new(TroubleKind::Unavailable, slow(&name)))))
        }));
    }

    fn hear(&mut self, number: usize, answer: Result<Found, StoreError>, recipient: &mut impl Recipient) {
        let (now, chance) = (now(), (self.chance)());
        let Some(place) = self.places.get_mut(number) else { return };
        let Place { course, secrets, .. } = place;
        let ended = answer.as_ref().err().map_or_else(Ended::default, |error| Ended {
            unavailable: error.kind == TroubleKind::Unavailable,
            retry_after: error.retry_after,
        });
        self.agenda.ended(number, ended, now, chance);
        if let Some(store) = self.stores.get_mut(place.store) {
            store.unavailable =
                answer.as_ref().err().filter(|_| ended.unavailable || ended.retry_after.is_some()).cloned();
        }
        let next = match answer {
            Ok(Found::Same) => {
                recipient.same(secrets);
                course.same(now, chance)
            }
            Ok(Found::Renewed(lease)) => {
                recipient.same(secrets);
                course.renewed(lease, now, chance)
            }
            Ok(Found::Read(reading)) => {
                let code = self.codes.code_of(&reading.values);
                let taken = if course.is_news(&code, reading.version.as_ref()) {
                    recipient.changed(secrets, &reading)
                } else {
                    recipient.same(secrets);
                    Ok(())
                };
                match taken {
                    Ok(()) => course.read(code, reading.version, reading.lease, now, chance),
                    Err(error) => {
                        recipient.failed(secrets, &error);
                        course.failed(now, chance)
                    }
                }
            }
            Err(error) => {
                recipient.failed(secrets, &error);
                course.failed(now, chance)
            }
        };
        self.agenda.plan(number, next, course.failures());
    }

    /// Those that are due and wait until their store answers again fare as the one did that found it so.
    fn tell_held_back(&mut self, recipient: &mut impl Recipient) -> bool {
        let mut told = false;
        while let Some(place) = self.agenda.held_back() {
            let Some(place) = self.places.get(place) else { continue };
            if let Some(error) = self.stores.get(place.store).and_then(|store| store.unavailable.as_ref()) {
                recipient.failed(&place.secrets, error);
                told = true;
            }
        }
        told
    }
}

/// A secret is from a store that nobody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret {secret} is from store {store}, which is not among the stores: add it there, or name another")]
pub struct UnknownStore {
    secret: String,
    store: String,
}

fn slow(store: &str) -> String {
    format!("store {store} does not answer within {} s: see whether it is up and reachable", PATIENCE.as_secs())
}

/// Monotonic, so that whoever sets the clock changes nothing.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// From 0 up to 1. Without a source of randomness there is no chance.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}
