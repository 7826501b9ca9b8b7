//! Puts the six steps together and keeps them going.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cardea_api::v1alpha1::McpServer;
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_pki::{Authority, PkiError};
use futures::{StreamExt, TryStreamExt, future};
use jiff::Timestamp;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, predicates, reflector, watcher};
use kube::{Client, Resource as _, ResourceExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access_policies::AccessPolicies;
use crate::apply::{Applier, ApplyError};
use crate::auth_policies::AuthPolicies;
use crate::build::{build, certificate, proxy_configuration};
use crate::children::ServerKey;
use crate::cluster_issuer::ClusterIssuer;
use crate::inquiry::{Inquiry, Targets};
use crate::installation::Installation;
use crate::left_alone::LeftAlone;
use crate::material;
use crate::metrics::Metrics;
use crate::news;
use crate::observe::{self, Observed};
use crate::publish::{Published, Publisher};
use crate::relist::Relist;
use crate::secret_stores::{self, SecretStores};
use crate::status::{Outcome, reports, status, told};
use crate::users::policy_of;
use crate::validate::validate;
use crate::watches::{self, SecretWatch, Watches};

/// Servers reconciled at once. Each has up to six requests under way, and more connections than this cost memory and make
/// the API server slower, not faster.
const AT_ONCE: u16 = 8;
/// Look again at the latest, in case a watch lost something.
const RESYNC: Duration = Duration::from_secs(15 * 60);
/// Look again while something is awaited that no watch tells of.
const AWAITING: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(120);

/// What every reconcile needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// This installation.
    pub installation: Installation,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// What the watches remember.
    pub watches: Watches,
    /// What counts as evidence, for several servers.
    pub auth_policies: AuthPolicies,
    /// Who may use what, of several servers.
    pub access_policies: AccessPolicies,
    /// Where secrets are kept.
    pub secret_stores: SecretStores,
    /// What proxies report.
    pub inquiry: Inquiry,
    /// Who signs ServiceAccount tokens.
    pub cluster_issuer: watch::Receiver<Option<Arc<ClusterIssuer>>>,
    /// Counts.
    pub metrics: Metrics,
    /// Events.
    pub recorder: Recorder,
    /// Writes statuses.
    pub publisher: Publisher,
    /// Servers as they stand, for policies that change while they are left alone.
    pub left_alone: LeftAlone,
    /// Failures in a row.
    pub failures: Mutex<HashMap<ServerKey, u32>>,
}

/// Why a reconcile is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server did not answer a read, or refused the status.
    #[error("the API server failed")]
    Api(#[from] kube::Error),
    /// An object could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// No certificate could be issued.
    #[error("cannot issue a certificate")]
    Pki(#[from] PkiError),
    /// The object does not fit the type that the CRD promises: it was stored under another CRD.
    #[error("the McpServer cannot be read: apply the current CRDs, then the object again: {0}")]
    Unreadable(String),
}

impl ReconcileError {
    fn reason(&self) -> &'static str {
        match self {
            Self::Apply(ApplyError::Foreign { .. }) => reasons::FOREIGN_OBJECT,
            Self::Apply(ApplyError::Leftover { .. }) => reasons::PROGRESSING,
            Self::Api(_) | Self::Apply(ApplyError::Api { .. }) => reasons::APPLY_FAILED,
            Self::Pki(_) => reasons::ISSUE_FAILED,
            Self::Unreadable(_) => reasons::INVALID,
        }
    }
}

/// Runs until `stop`, then finishes what is under way.
pub async fn run(context: Arc<Context>, wakes: UnboundedReceiver<ServerKey>, stop: CancellationToken) {
    let (reader, writer) = reflector::store::<DeserializeGuard<McpServer>>();
    let (forgetting, remaining) = (context.clone(), reader.clone());
    let (ending, left) = (context.clone(), reader.clone());
    let (relist, stored) = (Relist::default(), reader.clone());
    let (late, lately) = unbounded_channel();
    let servers = watcher(Api::<DeserializeGuard<McpServer>>::all(context.client.clone()), watches::config())
        .default_backoff()
        .modify(|server| server.managed_fields_mut().clear())
        .reflect(writer)
        .inspect_ok(move |event| {
            forgetting.auth_policies.hear(event);
            forgetting.access_policies.hear(event);
            forgetting.secret_stores.hear(event);
            for server in relist.hear(event, |server| is_stored(&stored, server)) {
                // Nobody listens only when the operator is ending.
                let _ = late.send(server);
            }
            if let watcher::Event::Delete(server) = event {
                forgetting.forget(&(server.namespace().unwrap_or_default(), server.name_any()), &remaining);
            }
        })
        .applied_objects()
        .predicate_filter(predicates::generation, Default::default());
    let issuer_changed = changes_of(context.cluster_issuer.clone());
    Controller::for_stream(servers, reader.clone())
        .with_config(Config::default().concurrency(AT_ONCE))
        .reconcile_on(woken(wakes, reader))
        .reconcile_on(watches::named(lately))
        .reconcile_all_on(issuer_changed)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, again, context)
        .for_each(|outcome| {
            match outcome {
                // Gone while the watch was away: no deletion was told, but its children's are.
                Err(Error::ObjectNotFound(server)) => {
                    ending.forget(&(server.namespace.clone().unwrap_or_default(), server.name.clone()), &left);
                }
                Err(Error::QueueError(error)) => {
                    tracing::warn!(kind = "McpServer", error = %watches::chain(&error), "watch interrupted");
                }
                // A failed reconcile is told by `again`.
                Ok(_) | Err(Error::ReconcilerFailed(..) | Error::RunnerError(_)) => {}
            }
            future::ready(())
        })
        .await;
}

/// Whether the store has a server as it is.
fn is_stored(servers: &Store<DeserializeGuard<McpServer>>, server: &DeserializeGuard<McpServer>) -> bool {
    let stored = servers.get(&ObjectRef::from_obj(server));
    stored.is_some_and(|stored| stored.resource_version() == server.resource_version())
}

/// Servers to look at: one, or all of a namespace where the name is empty.
fn woken(
    wakes: UnboundedReceiver<ServerKey>,
    servers: Store<DeserializeGuard<McpServer>>,
) -> impl futures::Stream<Item = ObjectRef<DeserializeGuard<McpServer>>> {
    futures::stream::unfold(wakes, async |mut wakes| Some((wakes.recv().await?, wakes))).flat_map(
        move |(namespace, name)| {
            let references: Vec<_> = if name.is_empty() {
                servers
                    .state()
                    .iter()
                    .filter(|server| server.namespace().as_deref() == Some(&namespace))
                    .map(|server| ObjectRef::from_obj(&**server))
                    .collect()
            } else {
                vec![ObjectRef::new(&name).within(&namespace)]
            };
            futures::stream::iter(references)
        },
    )
}

fn changes_of<T: Send + Sync + 'static>(changes: watch::Receiver<T>) -> impl futures::Stream<Item = ()> + Send {
    futures::stream::unfold(changes, async |mut changes| {
        changes.changed().await.ok()?;
        Some(((), changes))
    })
}

async fn reconcile(guarded: Arc<DeserializeGuard<McpServer>>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    let server = match &guarded.0 {
        Ok(server) => Arc::new(server.clone()),
        Err(invalid) => {
            let error = ReconcileError::Unreadable(invalid.error.clone());
            let reference = guarded.object_ref(&());
            news::warn(&context.recorder, &reference, condition::ACCEPTED, error.reason(), &error.to_string()).await;
            return Err(error);
        }
    };
    if server.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let Some((namespace, name, uid)) = observe::identity(&server) else {
        return Ok(Action::await_change());
    };
    let key = (namespace.clone(), name.clone());
    let may_use_secrets = match context.watches.secrets_of(&namespace) {
        SecretWatch::Starting => return Ok(Action::await_change()),
        SecretWatch::Following => true,
        SecretWatch::Forbidden => false,
    };

    // observe: client required
    let auth_policy = policy_of(&server).and_then(|policy| context.auth_policies.get(&namespace, &policy));
    let stores = context.secret_stores.of(&namespace, &server);
    let (listed, missing_kinds) = observe::listed(&context.client, &server, &namespace).await?;
    let mut children = context.watches.children.of(&key);
    children.extend(listed);
    let observed = Observed {
        children,
        missing_kinds,
        workload: context.watches.workloads.of(&key),
        answers: context.inquiry.answers(&key),
        authorities: observe::authorities(&context.client, &server, auth_policy.as_deref(), &stores, &namespace)
            .await?,
        missing_secrets: if may_use_secrets {
            observe::missing_secrets(&context.client, &server, auth_policy.as_deref(), &stores, &namespace).await?
        } else {
            Default::default()
        },
        may_use_secrets,
        cluster_issuer: context.cluster_issuer.borrow().clone(),
        auth_policy,
        secret_stores: Some(stores),
        governing: context.access_policies.of(&key, &server),
        server,
        namespace,
        name,
        uid,
    };
    let now = Timestamp::now();
    context.secret_stores.says(&key, secret_stores::told(reports(&observed)));
    // Whatever keeps it from being applied, its proxies decide by something.
    let left = || context.access_policies.says(&key, told(&observed, None));
    let applier = Applier {
        client: &context.client,
        index: &context.watches.children,
        metrics: &context.metrics,
        server: &key,
        uid: &observed.uid,
    };

    if observed.server.spec.suspend == Some(true) {
        left();
        let configuration = context.govern(&key, &observed, &applier).await?;
        context.inquiry.follow(&key, targets(&observed, configuration.as_deref(), false));
        let published = context.publish(&observed, &Outcome::Suspended, now).await?;
        context.metrics.reconciled(published.reason, started.elapsed());
        return Ok(published.again.map_or_else(Action::await_change, Action::requeue));
    }

    // validate, material, build: no client required
    let server = match validate(&observed, &context.installation) {
        Ok(server) => server,
        Err(rejection) => {
            left();
            let configuration = context.govern(&key, &observed, &applier).await?;
            context.inquiry.follow(&key, targets(&observed, configuration.as_deref(), false));
            let published = context.publish(&observed, &Outcome::Rejected(&rejection), now).await?;
            context.metrics.reconciled(rejection.reason, started.elapsed());
            // What runs is left alone, and must not end with its certificate.
            let owner = observed.owner();
            if let Some(issued) =
                material::renewal(&owner, &observed.children, &context.authority, &context.installation, now)?
            {
                applier.apply_one(&certificate(owner, &issued), &observed.children).await?;
            }
            let awaited = if rejection.stalled { RESYNC } else { AWAITING };
            return Ok(Action::requeue(published.again.unwrap_or(awaited)));
        }
    };
    let material = material::material(&server, &observed.children, &context.authority, &context.installation, now);
    let material = match material {
        Ok(material) => material,
        Err(error) => {
            left();
            context.publish(&observed, &Outcome::Unissued(&error), now).await?;
            return Err(error.into());
        }
    };
    let desired = build(&server, &material, &context.installation);
    // apply: client required
    let applied = match applier.apply(desired, &observed.children).await {
        Ok(applied) => applied,
        Err(error) => {
            left();
            context.inquiry.follow(&key, targets(&observed, None, false));
            context.publish(&observed, &Outcome::Failed(&error), now).await?;
            return Err(error.into());
        }
    };

    context.left_alone.applied(&key, &server);
    let rolls = server.fetched.as_ref().is_some_and(|fetched| !fetched.rolls.is_empty());
    // Only now can a proxy have it.
    context.inquiry.follow(&key, targets(&observed, Some(&applied.configuration), rolls));

    // status: client required, to write it if it differs
    context.access_policies.says(&key, told(&observed, Some(&server)));
    let outcome = Outcome::Applied { server: &server, material: &material, applied: &applied };
    let published = context.publish(&observed, &outcome, now).await?;
    context.metrics.reconciled(published.reason, started.elapsed());
    context.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    let until_due = Duration::try_from(material.due.duration_since(Timestamp::now())).unwrap_or_default();
    let awaited = if observed.missing_secrets.is_empty() { RESYNC } else { AWAITING };
    Ok(Action::requeue(published.again.unwrap_or(until_due.max(Duration::from_secs(1)).min(awaited))))
}

/// Tries again, later each time.
#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn again(guarded: Arc<DeserializeGuard<McpServer>>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let key = (guarded.namespace().unwrap_or_default(), guarded.name_any());
    context.metrics.reconciled(error.reason(), Duration::ZERO);
    tracing::warn!(namespace = key.0, server = key.1, reason = error.reason(), error = %watches::chain(error), "reconcile failed");
    if matches!(error, ReconcileError::Unreadable(_)) {
        return Action::await_change();
    }
    let mut failures = context.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key).or_default();
    let pause = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(*count));
    *count = count.saturating_add(1);
    Action::requeue(pause.min(LONGEST_BACKOFF))
}

fn targets(observed: &Observed, configuration: Option<&str>, rolls: bool) -> Targets {
    let pods = observed.workload.pods.iter();
    Targets {
        proxies: pods.filter_map(|(pod, state)| Some((pod.clone(), state.proxy_address.clone()?))).collect(),
        configuration: configuration.map(str::to_owned),
        rolls,
    }
}

impl Context {
    /// Writes the status where it differs.
    async fn publish(
        &self,
        observed: &Observed,
        outcome: &Outcome<'_>,
        now: Timestamp,
    ) -> Result<Published, kube::Error> {
        let former = self.publisher.former(observed);
        let next = status(observed, &former, outcome, now);
        self.publisher.publish(&self.client, &self.recorder, &self.metrics, observed, &former, next).await
    }

    /// Applies what policies say to a server that is left as it is but for that. Gives the digest of the configuration that its
    /// proxies shall have, if it is known.
    async fn govern(
        &self,
        key: &ServerKey,
        observed: &Observed,
        applier: &Applier<'_>,
    ) -> Result<Option<String>, ApplyError> {
        let Some(server) = self.left_alone.governed(key, observed) else { return Ok(None) };
        let (object, configuration) = proxy_configuration(&server, &self.installation);
        applier.apply_one(&object, &observed.children).await?;
        Ok(Some(configuration))
    }

    /// Forgets a server that is gone, and its namespace with the last one there.
    fn forget(&self, server: &ServerKey, remaining: &Store<DeserializeGuard<McpServer>>) {
        self.inquiry.forget(server);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(server);
        self.publisher.forget(server);
        self.access_policies.forget(server);
        self.secret_stores.forget(server);
        self.left_alone.forget(server);
        if remaining.state().iter().all(|other| other.namespace().as_deref() != Some(&server.0)) {
            self.watches.leave(&server.0);
        }
    }
}
