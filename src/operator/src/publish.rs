//! Writes a status where it differs, and no sooner than people can read it: steps that follow one another at once, as when
//! pods come up, are told in one write. What turns Ready, or answers a new generation, is told at once.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{McpServer, McpServerStatus};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::Recorder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::children::ServerKey;
use crate::heard::Key;
use crate::metrics::Metrics;
use crate::news;
use crate::observe::Observed;
use crate::ownership::FIELD_MANAGER;

/// Least time between two writes of one status that can wait.
const PAUSE: Duration = Duration::from_secs(5);

/// What was written last: our own cache of the servers may be older.
#[derive(Default)]
pub struct Publisher(Mutex<HashMap<ServerKey, Written>>);

struct Written {
    /// Of the server, since another may bear its name now.
    uid: String,
    status: McpServerStatus,
    at: Instant,
}

/// What became of a status.
pub struct Published {
    /// What Ready rests on.
    pub reason: &'static str,
    /// When to come back with what could wait.
    pub again: Option<Duration>,
}

impl Publisher {
    /// The status as it stands, for all we know.
    pub fn former(&self, observed: &Observed) -> McpServerStatus {
        self.last(observed, |written| written.status.clone())
            .or_else(|| observed.server.status.clone())
            .unwrap_or_default()
    }

    /// Writes a status if it differs from the former and cannot wait, and tells what turned.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn publish(
        &self,
        client: &Client,
        recorder: &Recorder,
        metrics: &Metrics,
        observed: &Observed,
        former: &McpServerStatus,
        next: McpServerStatus,
    ) -> Result<Published, kube::Error> {
        let reason = ready(&next).and_then(|(_, reason)| known_reason(reason)).unwrap_or(reasons::PENDING);
        if next == *former {
            return Ok(Published { reason, again: None });
        }
        let waited = self.last(observed, |written| written.at.elapsed());
        if let Some(again) = waited.and_then(|waited| PAUSE.checked_sub(waited))
            && next.observed_generation == former.observed_generation
            && ready(&next).map(|(status, _)| status) == ready(former).map(|(status, _)| status)
        {
            return Ok(Published { reason, again: Some(again) });
        }
        metrics.wrote_status();
        let servers = Api::<McpServer>::namespaced(client.clone(), &observed.namespace);
        write_status(&servers, &observed.name, &observed.uid, &next).await?;
        news::tell(recorder, metrics, &observed.server, former, &next).await;
        self.lock().insert(key(observed), Written { uid: observed.uid.clone(), status: next, at: Instant::now() });
        Ok(Published { reason, again: None })
    }

    /// Forgets a server that is gone.
    pub fn forget(&self, server: &ServerKey) {
        self.lock().remove(server);
    }

    fn last<T>(&self, observed: &Observed, read: impl FnOnce(&Written) -> T) -> Option<T> {
        self.lock().get(&key(observed)).filter(|written| written.uid == observed.uid).map(read)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerKey, Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a status, by the UID of its object: one made anew under this name must not be told what became of the former.
/// Applied, the UID would not count: the status strategy takes all of the metadata from what stands there.
///
/// # Errors
/// When the API server does not take it.
pub async fn write_status<K>(
    objects: &Api<K>,
    name: &str,
    uid: &str,
    status: &impl Serialize,
) -> Result<(), kube::Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let write = serde_json::json!([
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "add", "path": "/status", "value": status},
    ]);
    objects
        .patch_status(
            name,
            &PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() },
            &Patch::Json::<()>(serde_json::from_value(write).map_err(kube::Error::SerdeError)?),
        )
        .await?;
    Ok(())
}

/// The statuses of a kind that were written last, and of which object each: the watch may be behind.
pub(crate) struct LastWritten<S>(Mutex<HashMap<Key, (String, S)>>);

impl<S> Default for LastWritten<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Clone> LastWritten<S> {
    /// That of the object with this UID.
    pub(crate) fn of(&self, key: &Key, uid: &str) -> Option<S> {
        self.lock().get(key).filter(|(of, _)| of == uid).map(|(_, status)| status.clone())
    }

    /// Remembers one.
    pub(crate) fn is(&self, key: &Key, uid: &str, status: S) {
        self.lock().insert(key.clone(), (uid.to_owned(), status));
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, (String, S)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(observed: &Observed) -> ServerKey {
    (observed.namespace.clone(), observed.name.clone())
}

fn ready(status: &McpServerStatus) -> Option<(&str, &str)> {
    let found = status.conditions.iter().find(|found| found.type_ == condition::READY)?;
    Some((&found.status, &found.reason))
}

fn known_reason(reason: &str) -> Option<&'static str> {
    reasons::ALL.into_iter().find(|known| *known == reason)
}
