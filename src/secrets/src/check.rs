//! Whether secrets can be had: asks for each once and tells what came of it, without the values.
//!
//! Does not know how findings are shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cardea_contract::secrets::{Location, Secret, SecretsConfig, TroubleKind};
use futures::StreamExt as _;
use serde::Serialize;

use crate::store::{Reading, Store, StoreError};

/// Questions to all stores at once.
const AT_ONCE: usize = 16;
/// Longest question.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was found of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Its name.
    pub secret: String,
    /// Name of the store.
    pub store: String,
    /// Whether the store answered at all.
    pub answers: bool,
    /// Whether the identity may read it, and all of its keys are there.
    pub readable: bool,
    /// The version that was read, if the store has versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Seconds that the credentials which were made by reading last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_seconds: Option<u64>,
    /// What kind of trouble there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<TroubleKind>,
    /// What is wrong and what helps, one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Reads each secret once, as nothing less shows that it can be read, and forgets the values. Of dynamic credentials this
/// makes some, which end with their lease. `stores` are those of the configuration, by name; findings come in the order
/// of its secrets.
pub async fn check(config: &SecretsConfig, stores: &BTreeMap<String, Arc<dyn Store>>) -> Vec<Finding> {
    let mut places = HashMap::<(&str, &Location), Vec<usize>>::new();
    for (index, secret) in config.secrets.iter().enumerate() {
        places.entry((&secret.store, &secret.at)).or_default().push(index);
    }
    let reads =
        places.into_iter().map(|((store, at), secrets)| async move { (secrets, read(store, at, stores).await) });
    let mut all: Vec<_> = futures::stream::iter(reads)
        .buffer_unordered(AT_ONCE)
        .flat_map(|(secrets, read)| {
            let found = |index: usize| Some((index, find(config.secrets.get(index)?, &read)));
            futures::stream::iter(secrets.into_iter().filter_map(found).collect::<Vec<_>>())
        })
        .collect()
        .await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, finding)| finding).collect()
}

async fn read(store: &str, at: &Location, stores: &BTreeMap<String, Arc<dyn Store>>) -> Result<Reading, StoreError> {
    let unknown = || format!("there is no store {store}: add it, or name another");
    let open = stores.get(store).ok_or_else(|| StoreError::new(TroubleKind::Unusable, unknown()))?;
    let slow = || format!("store {store} does not answer within {} s: see whether it is up", PATIENCE.as_secs());
    let read = tokio::time::timeout(PATIENCE, open.read(at)).await;
    read.unwrap_or_else(|_| Err(StoreError::new(TroubleKind::Unavailable, slow())))
}

fn find(secret: &Secret, read: &Result<Reading, StoreError>) -> Finding {
    let wrong = match read {
        Ok(reading) => secret.keys.iter().find_map(|key| reading.values.value(key.key.as_deref()).err()),
        Err(error) => Some(error.clone()),
    };
    let reading = read.as_ref().ok();
    Finding {
        secret: secret.name.clone(),
        store: secret.store.clone(),
        answers: read.as_ref().err().is_none_or(|error| error.kind != TroubleKind::Unavailable),
        readable: wrong.is_none(),
        version: reading.and_then(|reading| reading.version.clone()),
        lease_seconds: reading
            .and_then(|reading| reading.lease.as_ref())
            .filter(|lease| !lease.id.is_empty())
            .map(|lease| lease.lasts.as_secs()),
        trouble: wrong.as_ref().map(|error| error.kind),
        message: wrong.map(|error| error.message),
    }
}
