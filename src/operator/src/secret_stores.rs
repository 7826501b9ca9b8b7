//! The `McpSecretStore`s: whoever uses one is woken when it or its authorities change, its status says whether it answers them,
//! and it does not go while there is one.
//!
//! Asks no store itself: what is known of one is what the pods that ask it report. Does not know what a store's settings mean
//! ([`crate::validate`] does), nor how its status reads ([`standing`]).

mod standing;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{McpSecretStore, McpSecretStoreStatus, McpServer};
use futures::{StreamExt as _, TryStreamExt as _, future};
use jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, predicates, watcher};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::standing::since;
pub use self::standing::{Seen, Told, told};

use self::standing::status;
use crate::auth_policies::{AT_START, RETRY};
use crate::children::ServerKey;
use crate::heard::{Key, key_of};
use crate::metrics::Metrics;
use crate::observe::{self, SecretStores as Known};
use crate::publish::{LastWritten, write_status};
use crate::users::{Users, stores_of};
use crate::{hold, news, watches};

/// What many servers tell of a store at once is written at once.
const SETTLE: Duration = Duration::from_millis(500);
/// How often a ConfigMap with authorities is looked at: no watch tells of those of others.
const AUTHORITIES: Duration = Duration::from_secs(60);

type Guarded = DeserializeGuard<McpSecretStore>;

/// The stores of the cluster, as the reconciles of servers see them.
#[derive(Clone)]
pub struct SecretStores {
    store: Store<Guarded>,
    users: Arc<Users>,
    told: Arc<Mutex<BTreeMap<ServerKey, Told>>>,
    concerned: UnboundedSender<Key>,
    /// Whether all that there are have been seen.
    seen: watch::Receiver<bool>,
}

/// What keeps them.
struct Keeper {
    stores: SecretStores,
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    wake: UnboundedSender<ServerKey>,
    written: LastWritten<McpSecretStoreStatus>,
    /// The authorities that were seen last, by store.
    authorities: Mutex<HashMap<Key, Option<String>>>,
}

impl SecretStores {
    /// The stores, and what runs until `stop` to keep them. `wake` is told of the servers whose store changed.
    pub fn new(
        client: Client,
        recorder: Recorder,
        metrics: Metrics,
        wake: UnboundedSender<ServerKey>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (store, writer) = reflector::store();
        let (concerned, wakes) = unbounded_channel();
        let (all_seen, seen) = watch::channel(false);
        let stores = Self { store, users: Arc::new(Users::new(stores_of)), told: Arc::default(), concerned, seen };
        let (written, authorities) = (LastWritten::default(), Mutex::default());
        let keeper = Keeper { stores: stores.clone(), client, recorder, metrics, wake, written, authorities };
        (stores, Arc::new(keeper).run(writer, all_seen, wakes, stop))
    }

    /// Waits until all that there are have been seen.
    pub async fn known(&self) {
        // The sender lives as long as the watch, which never ends.
        let _ = self.seen.clone().wait_for(|seen| *seen).await;
    }

    /// Those that a server names, as far as there are any that can be read.
    pub fn of(&self, namespace: &str, server: &McpServer) -> Known {
        let named = stores_of(server).into_iter();
        let found = named.filter_map(|name| {
            let guarded = self.store.get(&ObjectRef::new(&name).within(namespace))?;
            let store = guarded.0.as_ref().ok().cloned()?;
            Some((name, Arc::new(store)))
        });
        found.collect()
    }

    /// Takes in what the watch on the servers tells.
    pub fn hear(&self, event: &Event<DeserializeGuard<McpServer>>) {
        self.concerns(self.users.hear(event));
    }

    /// Takes in what the pods of a server tell of its stores. Costs nothing if it is the same as before.
    pub fn says(&self, server: &ServerKey, now: Told) {
        let before = {
            let mut told = self.told();
            if told.get(server) == Some(&now) {
                return;
            }
            told.insert(server.clone(), now.clone()).unwrap_or_default()
        };
        let stores = before.into_keys().chain(now.into_keys());
        self.concerns(stores.map(|store| (server.0.clone(), store)));
    }

    /// Takes in that a server is gone.
    pub fn forget(&self, server: &ServerKey) {
        self.told().remove(server);
    }

    fn concerns(&self, stores: impl IntoIterator<Item = Key>) {
        for store in stores {
            // Nobody listens only when the operator is ending.
            let _ = self.concerned.send(store);
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<ServerKey, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    async fn run(
        self: Arc<Self>,
        writer: reflector::store::Writer<Guarded>,
        all_seen: watch::Sender<bool>,
        wakes: UnboundedReceiver<Key>,
        stop: CancellationToken,
    ) {
        let (gone, changed) = (self.clone(), self.clone());
        let stores = watcher(Api::<Guarded>::all(self.client.clone()), watches::config())
            .default_backoff()
            .modify(|store| store.managed_fields_mut().clear())
            .reflect(writer)
            .inspect_ok(move |event: &Event<Guarded>| match event {
                Event::InitDone => {
                    all_seen.send_replace(true);
                }
                Event::Delete(store) => gone.forget(&key_of(store)),
                Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
            })
            .applied_objects()
            // Neither who uses a store nor whether it answers changes what it means to a server.
            .predicate_filter(predicates::generation, Default::default())
            .inspect_ok(move |store| changed.wake_users(&key_of(store)));
        let known = self.stores.store.clone();
        Controller::for_stream(stores, known)
            .with_config(Config::default().concurrency(1).debounce(SETTLE))
            .reconcile_on(watches::named(wakes))
            .graceful_shutdown_on(async move { stop.cancelled().await })
            .run(reconcile, again, self)
            // What fails is told by `again`; a server may name a store that is not there.
            .for_each(|_| future::ready(()))
            .await;
    }

    fn forget(&self, store: &Key) {
        self.written.forget(store);
        self.seen_authorities().remove(store);
        self.wake_users(store);
    }

    fn wake_users(&self, store: &Key) {
        for server in self.stores.users.of(store).unwrap_or_default() {
            let _ = self.wake.send((store.0.clone(), server));
        }
    }

    /// Reads the authorities of a store, and wakes its users if they are others.
    async fn authorities(&self, key: &Key, store: &McpSecretStore) -> Result<Option<String>, kube::Error> {
        let Some(reference) = &store.spec.ca_bundle_ref else { return Ok(None) };
        let found = observe::authority(&self.client, &key.0, &reference.name).await?;
        let former = self.seen_authorities().insert(key.clone(), found.clone());
        if former.is_some_and(|former| former != found) {
            self.wake_users(key);
        }
        Ok(found)
    }

    fn seen_authorities(&self) -> MutexGuard<'_, HashMap<Key, Option<String>>> {
        self.authorities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(&self, key: &Key, uid: &str, store: &McpSecretStore, users: &[String]) -> Result<(), kube::Error> {
        let authorities = self.authorities(key, store).await?;
        let former = self.written.of(key, uid).or_else(|| store.status.clone()).unwrap_or_default();
        let told: Vec<_> = {
            let told = self.stores.told();
            let of = |server: &String| told.get(&(key.0.clone(), server.clone()))?.get(&key.1).cloned();
            users.iter().filter_map(|server| Some((server.clone(), of(server)?))).collect()
        };
        let next = status(store, authorities.as_deref(), users, &told, &former, Timestamp::now());
        if next == former {
            return Ok(());
        }
        self.metrics.wrote_policy("McpSecretStore", "status");
        write_status(&Api::<Guarded>::namespaced(self.client.clone(), &key.0), &key.1, uid, &next).await?;
        let reference = store.object_ref(&());
        for found in next.conditions.iter().filter(|found| standing::is_news(&former.conditions, found)) {
            if let Some((kind, reason)) = news::known(found) {
                news::warn(&self.recorder, &reference, kind, reason, &found.message).await;
            }
        }
        self.written.is(key, uid, next);
        Ok(())
    }
}

async fn reconcile(guarded: Arc<Guarded>, keeper: Arc<Keeper>) -> Result<Action, kube::Error> {
    let (key, uid) = (key_of(&guarded), guarded.uid().unwrap_or_default());
    let Some(users) = keeper.stores.users.of(&key) else {
        // Only at the start, for as long as the first list of servers takes.
        return Ok(Action::requeue(AT_START));
    };
    if hold::hold::<McpSecretStore>(&keeper.client, &keeper.metrics, &key, guarded.meta(), !users.is_empty()).await? {
        return Ok(Action::await_change());
    }
    match &guarded.0 {
        Ok(store) => {
            keeper.publish(&key, &uid, store, &users).await?;
            let looks_again = store.spec.ca_bundle_ref.is_some();
            Ok(if looks_again { Action::requeue(AUTHORITIES) } else { Action::await_change() })
        }
        Err(invalid) => {
            let message = format!(
                "the McpSecretStore cannot be read: apply the current CRDs, then the object again: {}",
                invalid.error
            );
            let reference = guarded.object_ref(&());
            news::warn(&keeper.recorder, &reference, condition::ACCEPTED, reasons::INVALID, &message).await;
            Ok(Action::await_change())
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn again(store: Arc<Guarded>, error: &kube::Error, _: Arc<Keeper>) -> Action {
    // It is another by now, or none: what became of it is told by the watch.
    if !matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422)) {
        let (namespace, name) = key_of(&store);
        tracing::warn!(namespace, store = name, error = %watches::chain(error), "store not kept");
    }
    Action::requeue(RETRY)
}
