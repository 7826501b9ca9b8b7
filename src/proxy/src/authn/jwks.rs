//! An issuer's keys: inline, or fetched over https and kept. Fetches are few whatever tokens come: one flight at a time,
//! one at most per interval for keys that are not known, everything bounded in time and size. Keys that could not be
//! fetched again are believed for a bounded time, then no token of the issuer is (rows 53 and 60).
//!
//! Does not know what is in a token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardea_contract::{Issuer, KeySource};
use reqwest::Url;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::discovery::{self, NoMetadata};
use super::https::{Https, HttpsError, NoAnswer, TIMEOUT};
use super::key_set::{KeySet, KeySetError};
use crate::metrics::{Metrics, Outcome};

/// How often keys are fetched and how long they may be believed.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// Keys are fetched anew after this long.
    pub refresh: Duration,
    /// Between two fetches at least this long passes, whatever happens.
    pub interval: Duration,
    /// After the last success keys are believed this long.
    pub stale: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(300), interval: Duration::from_secs(10), stale: Duration::from_secs(3600) }
    }
}

/// Why an issuer's keys cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The inline key set cannot be used.
    #[error("the inline keys cannot be used")]
    Inline(#[source] KeySetError),
    /// It is only asked over https, and not on the wrong side of the network.
    #[error("its URLs must be https, and not those of the pod or its link")]
    Url,
    /// It cannot be asked.
    #[error(transparent)]
    Https(#[from] HttpsError),
}

/// What a search for keys found.
pub(crate) enum Found {
    /// A set that has the key.
    Keys(Arc<KeySet>),
    /// The issuer has no such key, as far as is known.
    NoSuchKey,
    /// The issuer's keys are not known, or were too long ago.
    Unavailable,
}

/// The keys of one issuer, wherever they come from.
pub(crate) enum IssuerKeys {
    Inline(Arc<KeySet>),
    Remote(Arc<Remote>),
}

impl IssuerKeys {
    pub(super) fn new(
        issuer: &Issuer,
        https: &Https,
        times: KeyTimes,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, KeySourceError> {
        let source = match &issuer.keys {
            KeySource::Inline { jwks } => {
                let set = KeySet::read(jwks.clone()).map_err(KeySourceError::Inline)?;
                if set.is_empty() {
                    return Err(KeySourceError::Inline(KeySetError::Empty));
                }
                return Ok(Self::Inline(Arc::new(set)));
            }
            KeySource::Url { jwks_url } => Source::Jwks(https.url(jwks_url).ok_or(KeySourceError::Url)?),
            KeySource::Discovery => Source::Metadata(discovery::places(https, &issuer.url).ok_or(KeySourceError::Url)?),
        };
        Ok(Self::Remote(Arc::new(Remote {
            name: issuer.name.clone(),
            issuer: issuer.url.clone(),
            may_have_no_keys: issuer.introspection.is_some(),
            source,
            https: https.clone(),
            times,
            metrics: metrics.clone(),
            state: Mutex::new(State::default()),
        })))
    }

    /// Keeps fetched keys fresh from now on.
    pub(crate) fn start(&self) {
        let Self::Remote(remote) = self else { return };
        let mut state = remote.state();
        if state.refreshing.is_none() {
            let weak = Arc::downgrade(remote);
            let pause = remote.times;
            let task = tokio::spawn(async move {
                while let Some(remote) = weak.upgrade() {
                    remote.fetch().await;
                    let fresh = remote.is_fresh();
                    drop(remote);
                    tokio::time::sleep(if fresh { pause.refresh } else { pause.interval }).await;
                }
            });
            state.refreshing = Some(AbortOnDrop(task.abort_handle()));
        }
    }

    /// Whether the keys were asked for in vain, and none are believed any more.
    pub(crate) fn cannot_be_had(&self) -> bool {
        match self {
            Self::Inline(_) => false,
            Self::Remote(remote) => remote.known().is_none() && remote.state().failed,
        }
    }

    /// The keys that are known and may be believed now.
    pub(super) fn known(&self) -> Option<Arc<KeySet>> {
        match self {
            Self::Inline(set) => Some(set.clone()),
            Self::Remote(remote) => remote.known().map(|learned| learned.keys.clone()),
        }
    }

    /// Finds the set with this key; fetches if it is not known and a fetch is due.
    pub(crate) async fn find(&self, kid: Option<&str>) -> Found {
        let remote = match self {
            Self::Inline(set) if set.has(kid) => return Found::Keys(set.clone()),
            Self::Inline(_) => return Found::NoSuchKey,
            Self::Remote(remote) => remote,
        };
        match remote.known() {
            Some(learned) if learned.keys.has(kid) => return Found::Keys(learned.keys.clone()),
            _ => remote.fetch().await,
        }
        match remote.known() {
            Some(learned) if learned.keys.has(kid) => Found::Keys(learned.keys.clone()),
            Some(_) => Found::NoSuchKey,
            None => Found::Unavailable,
        }
    }

    /// Where the issuer's metadata says that tokens are introspected, if it can be had and says so.
    pub(super) async fn introspection(&self) -> Option<Url> {
        let Self::Remote(remote) = self else { return None };
        if remote.known().is_none() {
            remote.fetch().await;
        }
        remote.known()?.introspection.clone()
    }
}

/// Keys that are fetched.
pub(crate) struct Remote {
    name: String,
    issuer: String,
    /// Whether an issuer without keys is none the worse for it, since it is asked about its tokens.
    may_have_no_keys: bool,
    source: Source,
    https: Https,
    times: KeyTimes,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

enum Source {
    Jwks(Url),
    /// Where metadata may stand, in this order.
    Metadata([Url; 2]),
}

/// What an issuer said of itself.
struct Learned {
    keys: Arc<KeySet>,
    introspection: Option<Url>,
}

#[derive(Default)]
struct State {
    learned: Option<(Instant, Arc<Learned>)>,
    attempted: Option<Instant>,
    /// The flight under way, if one is: its channel closes when it lands.
    flight: Option<watch::Receiver<()>>,
    failed: bool,
    refreshing: Option<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Remote {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was learned, as long as it may be believed.
    fn known(&self) -> Option<Arc<Learned>> {
        let state = self.state();
        let (at, learned) = state.learned.as_ref()?;
        (at.elapsed() < self.times.stale).then(|| learned.clone())
    }

    fn is_fresh(&self) -> bool {
        self.state().learned.as_ref().is_some_and(|(at, _)| at.elapsed() < self.times.refresh)
    }

    /// Fetches, unless the last attempt is too recent; whoever comes during a flight waits for its end.
    async fn fetch(self: &Arc<Self>) {
        if let Some(mut landed) = self.flight() {
            // An error says that the channel has closed, which is what is waited for.
            let _ = landed.changed().await;
        }
    }

    /// The flight under way, or a new one if one is due. It has a task of its own, and the only one: a caller that hangs up
    /// must not end what others wait for, and a flood of callers must not make a flood of tasks.
    fn flight(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let mut state = self.state();
        if let Some(under_way) = &state.flight {
            return Some(under_way.clone());
        }
        if state.attempted.is_some_and(|attempted| attempted.elapsed() < self.times.interval) {
            return None;
        }
        state.attempted = Some(Instant::now());
        let (under_way, landed) = watch::channel(());
        state.flight = Some(landed.clone());
        drop(state);
        let this = self.clone();
        tokio::spawn(async move {
            let outcome = tokio::time::timeout(TIMEOUT, this.learn()).await.unwrap_or(Err(FetchError::Late));
            this.land(outcome);
            drop(under_way);
        });
        Some(landed)
    }

    fn land(&self, outcome: Result<Learned, FetchError>) {
        let mut state = self.state();
        state.flight = None;
        state.failed = outcome.is_err();
        match outcome {
            Ok(learned) => {
                state.learned = Some((Instant::now(), Arc::new(learned)));
                self.metrics.key_fetch(Outcome::Ok);
            }
            Err(error) => {
                self.metrics.key_fetch(Outcome::Failed);
                tracing::warn!(issuer = self.name, error = crate::config::reason(&error), "cannot fetch keys");
            }
        }
    }

    async fn learn(&self) -> Result<Learned, FetchError> {
        let (jwks, introspection) = match &self.source {
            Source::Jwks(url) => (Some(url.clone()), None),
            Source::Metadata(places) => {
                let metadata = discovery::discover(&self.https, places, &self.issuer).await?;
                (metadata.jwks, metadata.introspection)
            }
        };
        let keys = match jwks {
            Some(url) => {
                let document = self.https.get(&url).await?;
                KeySet::read(serde_json::from_slice(&document).map_err(|_| KeySetError::Malformed)?)?
            }
            None if self.may_have_no_keys => KeySet::default(),
            None => return Err(FetchError::NoKeys),
        };
        Ok(Learned { keys: Arc::new(keys), introspection })
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer in time")]
    Late,
    #[error("the keys cannot be fetched")]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Metadata(#[from] NoMetadata),
    #[error("the issuer's metadata names no keys")]
    NoKeys,
    #[error("the keys cannot be used")]
    Keys(#[from] KeySetError),
}
