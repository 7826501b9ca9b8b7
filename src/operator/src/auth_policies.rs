//! The `McpAuthPolicy`s: whoever uses one is woken when it changes, its status says who they are, and it does not go while
//! there is one. A policy that nobody uses bears no finalizer, so it can be deleted whether the operator runs or not.
//!
//! Does not know what a policy says: [`crate::validate`] does, for each server.

use std::sync::Arc;
use std::time::Duration;

use cardea_api::v1alpha1::conditions::{Finding, settle};
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{McpAuthPolicy, McpAuthPolicyStatus, McpServer};
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

use crate::children::ServerKey;
use crate::heard::{Key, key_of};
use crate::metrics::Metrics;
use crate::publish::{LastWritten, write_status};
use crate::users::{Users, policy_of};
use crate::{hold, news, watches};

/// Pause before asking again who uses a policy while not all servers are known.
pub(crate) const AT_START: Duration = Duration::from_millis(200);
/// Pause before what failed is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(5);

type Guarded = DeserializeGuard<McpAuthPolicy>;

/// The policies of the cluster, as the reconciles of servers see them.
#[derive(Clone)]
pub struct AuthPolicies {
    store: Store<Guarded>,
    users: Arc<Users>,
    concerned: UnboundedSender<Key>,
    /// Whether all policies that there are have been seen. The store's own word for it wakes only one of those who wait, and
    /// the controller is one.
    seen: watch::Receiver<bool>,
}

/// What keeps them.
pub struct Keeper {
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    users: Arc<Users>,
    written: LastWritten<McpAuthPolicyStatus>,
}

impl AuthPolicies {
    /// The policies, and what runs until `stop` to keep them. `wake` is told of the servers whose policy changed.
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
        let users = Arc::new(Users::new(|server| policy_of(server).into_iter().collect()));
        let keeper = Keeper { client, recorder, metrics, users: users.clone(), written: LastWritten::default() };
        let running = Arc::new(keeper).run(store.clone(), writer, all_seen, wakes, wake, stop);
        (Self { store, users, concerned, seen }, running)
    }

    /// Waits until all that there are have been seen.
    pub async fn known(&self) {
        // The sender lives as long as the watch, which never ends.
        let _ = self.seen.clone().wait_for(|seen| *seen).await;
    }

    /// A policy, if there is one that can be read.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<McpAuthPolicy>> {
        let guarded = self.store.get(&ObjectRef::new(name).within(namespace))?;
        guarded.0.as_ref().ok().cloned().map(Arc::new)
    }

    /// Takes in what the watch on the servers tells.
    pub fn hear(&self, event: &Event<DeserializeGuard<McpServer>>) {
        for policy in self.users.hear(event) {
            // Nobody listens only when the operator is ending.
            let _ = self.concerned.send(policy);
        }
    }
}

impl Keeper {
    async fn run(
        self: Arc<Self>,
        store: Store<Guarded>,
        writer: reflector::store::Writer<Guarded>,
        all_seen: watch::Sender<bool>,
        wakes: UnboundedReceiver<Key>,
        wake: UnboundedSender<ServerKey>,
        stop: CancellationToken,
    ) {
        let (gone, changed) = (self.clone(), self.clone());
        let wake_after = wake.clone();
        let policies = watcher(Api::<Guarded>::all(self.client.clone()), watches::config())
            .default_backoff()
            .modify(|policy| policy.managed_fields_mut().clear())
            .reflect(writer)
            .inspect_ok(move |event: &Event<Guarded>| match event {
                Event::InitDone => {
                    all_seen.send_replace(true);
                }
                Event::Delete(policy) => {
                    gone.written.forget(&key_of(policy));
                    gone.wake_users(policy, &wake);
                }
                Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
            })
            .applied_objects()
            // Neither who uses a policy nor what its status says changes what it means to a server.
            .predicate_filter(predicates::generation, Default::default())
            .inspect_ok(move |policy| changed.wake_users(policy, &wake_after));
        Controller::for_stream(policies, store)
            .with_config(Config::default().concurrency(1))
            .reconcile_on(watches::named(wakes))
            .graceful_shutdown_on(async move { stop.cancelled().await })
            .run(reconcile, again, self)
            // What fails is told by `again`; a server may name a policy that is not there.
            .for_each(|_| future::ready(()))
            .await;
    }

    fn wake_users(&self, policy: &Guarded, wake: &UnboundedSender<ServerKey>) {
        let key = key_of(policy);
        for server in self.users.of(&key).unwrap_or_default() {
            let _ = wake.send((key.0.clone(), server));
        }
    }

    async fn publish(&self, key: &Key, uid: &str, policy: &McpAuthPolicy, users: &[String]) -> Result<(), kube::Error> {
        let former = self.written.of(key, uid).or_else(|| policy.status.clone()).unwrap_or_default();
        let next = status(policy, users, &former, Timestamp::now());
        if next == former {
            return Ok(());
        }
        self.metrics.wrote_policy("McpAuthPolicy", "status");
        write_status(&Api::<Guarded>::namespaced(self.client.clone(), &key.0), &key.1, uid, &next).await?;
        if let (None, Some(held)) = (hold::is_held(&former.conditions), hold::is_held(&next.conditions)) {
            let reference = policy.object_ref(&());
            news::warn(&self.recorder, &reference, condition::DELETION_HELD, reasons::IN_USE, held).await;
        }
        self.written.is(key, uid, next);
        Ok(())
    }
}

async fn reconcile(guarded: Arc<Guarded>, keeper: Arc<Keeper>) -> Result<Action, kube::Error> {
    let (key, uid) = (key_of(&guarded), guarded.uid().unwrap_or_default());
    let Some(users) = keeper.users.of(&key) else {
        // Only at the start, for as long as the first list of servers takes.
        return Ok(Action::requeue(AT_START));
    };
    if hold::hold::<McpAuthPolicy>(&keeper.client, &keeper.metrics, &key, guarded.meta(), !users.is_empty()).await? {
        return Ok(Action::await_change());
    }
    match &guarded.0 {
        Ok(policy) => keeper.publish(&key, &uid, policy, &users).await?,
        Err(invalid) => {
            let message = format!(
                "the McpAuthPolicy cannot be read: apply the current CRDs, then the object again: {}",
                invalid.error
            );
            let reference = guarded.object_ref(&());
            news::warn(&keeper.recorder, &reference, condition::ACCEPTED, reasons::INVALID, &message).await;
        }
    }
    Ok(Action::await_change())
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn again(policy: Arc<Guarded>, error: &kube::Error, _: Arc<Keeper>) -> Action {
    // It is another by now, or none: what became of it is told by the watch.
    if matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422)) {
        return Action::requeue(RETRY);
    }
    let (namespace, name) = key_of(&policy);
    tracing::warn!(namespace, policy = name, error = %watches::chain(error), "policy not kept");
    Action::requeue(RETRY)
}

fn status(
    policy: &McpAuthPolicy,
    users: &[String],
    former: &McpAuthPolicyStatus,
    now: Timestamp,
) -> McpAuthPolicyStatus {
    let generation = policy.metadata.generation;
    let mut found = vec![Finding::new(
        condition::ACCEPTED,
        Some(true),
        reasons::ACCEPTED,
        "each server that uses it judges it for itself",
    )];
    found.extend(hold::held(&policy.metadata, users, "spec.auth.policyRef"));
    McpAuthPolicyStatus {
        observed_generation: generation,
        conditions: settle(&former.conditions, &found, generation, now),
        servers: hold::listed(users),
        server_count: i32::try_from(users.len()).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_few_and_counts_all() {
        let mut policy = McpAuthPolicy::new("p", Default::default());
        let users: Vec<String> = (0..120).map(|number| format!("s{number:03}")).collect();
        let now = Timestamp::UNIX_EPOCH;
        let found = status(&policy, &users, &Default::default(), now);
        assert_eq!((found.servers.len(), found.server_count), (100, Some(120)));
        assert_eq!(hold::is_held(&found.conditions), None);
        policy.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        let found = status(&policy, &users, &found, now);
        let message = hold::is_held(&found.conditions).unwrap();
        assert!(message.contains("s000, s001") && message.contains("and 110 more"), "{message}");
        assert_eq!(hold::is_held(&status(&policy, &[], &found, now).conditions), None);
    }
}
