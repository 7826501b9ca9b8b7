//! The `McpAccessPolicy`s: whoever one governs is woken when it changes, and its status says who they are, by which of its
//! generations their proxies decide, and what of it has no effect.
//!
//! Does not know which policy governs which server ([`crate::governance`] does), nor what a rule says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cardea_api::v1alpha1::conditions::{Finding, settle};
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{GovernedServer, McpAccessPolicy, McpAccessPolicyStatus, McpServer, RuleWarning};
use futures::{StreamExt as _, TryStreamExt as _, future};
use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::Recorder;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt as _, predicates, watcher};
use kube::{Resource as _, ResourceExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth_policies::{AT_START, RETRY};
use crate::children::ServerKey;
use crate::governance::{Concerned, Governance, Governing, Reach};
use crate::heard::{Key, key_of};
use crate::hold::{SERVERS_LISTED, names};
use crate::metrics::Metrics;
use crate::publish::{LastWritten, write_status};
use crate::{news, watches};

/// Warnings in a status.
const WARNINGS_LISTED: usize = 100;
/// What many servers tell of a policy at once is written at once.
const SETTLE: Duration = Duration::from_millis(500);

type Guarded = DeserializeGuard<McpAccessPolicy>;

/// The policies of the cluster, as the reconciles of servers see them.
#[derive(Clone)]
pub struct AccessPolicies {
    governance: Arc<Governance>,
    told: Arc<Mutex<BTreeMap<ServerKey, Told>>>,
    concerned: UnboundedSender<Key>,
    wake: UnboundedSender<ServerKey>,
    seen: watch::Receiver<bool>,
}

/// What a server tells of the policies that govern it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Generation of each that all of its proxies decide by, at least; of none of them if one proxy does not.
    pub generations: BTreeMap<String, Option<i64>>,
    /// What of each has no effect, or does not fit.
    pub warnings: BTreeMap<String, Vec<RuleWarning>>,
    /// Whether anybody decides at all.
    pub has_proxies: bool,
}

/// What keeps them.
struct Keeper {
    policies: AccessPolicies,
    client: Client,
    recorder: Recorder,
    metrics: Metrics,
    written: LastWritten<McpAccessPolicyStatus>,
}

impl AccessPolicies {
    /// The policies, and what runs until `stop` to keep them. `wake` is told of the servers whose policies changed.
    pub fn new(
        client: Client,
        recorder: Recorder,
        metrics: Metrics,
        wake: UnboundedSender<ServerKey>,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (concerned, wakes) = unbounded_channel();
        let (all_seen, seen) = watch::channel(false);
        let policies = Self { governance: Arc::default(), told: Arc::default(), concerned, wake, seen };
        let keeper = Keeper { policies: policies.clone(), client, recorder, metrics, written: LastWritten::default() };
        (policies, Arc::new(keeper).run(all_seen, wakes, stop))
    }

    /// Waits until all that there are have been seen: a server that is looked at before would lose what they refuse.
    pub async fn known(&self) {
        // The sender lives as long as the watch, which never ends.
        let _ = self.seen.clone().wait_for(|seen| *seen).await;
    }

    /// Those that govern a server.
    pub fn of(&self, key: &ServerKey, server: &McpServer) -> Governing {
        self.governance.of_server(key, server.labels())
    }

    /// Takes in what the watch on the servers tells.
    pub fn hear(&self, event: &Event<DeserializeGuard<McpServer>>) {
        self.tell(self.governance.hear_server(event));
    }

    /// Takes in what a server tells. Costs nothing if it is the same as before.
    pub fn says(&self, server: &ServerKey, now: Told) {
        let before = {
            let mut told = self.told();
            if told.get(server) == Some(&now) {
                return;
            }
            told.insert(server.clone(), now.clone()).unwrap_or_default()
        };
        self.concerns(server, before, now);
    }

    /// Takes in that a server is gone.
    pub fn forget(&self, server: &ServerKey) {
        let before = self.told().remove(server);
        self.concerns(server, before.unwrap_or_default(), Told::default());
    }

    fn concerns(&self, server: &ServerKey, before: Told, now: Told) {
        let policies = before.generations.into_keys().chain(now.generations.into_keys());
        let policies = policies.map(|policy| (server.0.clone(), policy)).collect();
        self.tell(Concerned { policies, ..Concerned::default() });
    }

    fn tell(&self, concerned: Concerned) {
        // Nobody listens only when the operator is ending.
        for server in concerned.servers {
            let _ = self.wake.send(server);
        }
        for policy in concerned.policies {
            let _ = self.concerned.send(policy);
        }
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<ServerKey, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    async fn run(
        self: Arc<Self>,
        all_seen: watch::Sender<bool>,
        wakes: UnboundedReceiver<Key>,
        stop: CancellationToken,
    ) {
        let (store, writer): (Store<Guarded>, _) = reflector::store();
        let hearing = self.clone();
        let policies = watcher(Api::<Guarded>::all(self.client.clone()), watches::config())
            .default_backoff()
            .modify(|policy| policy.managed_fields_mut().clear())
            .reflect(writer)
            .inspect_ok(move |event: &Event<Guarded>| {
                hearing.policies.tell(hearing.policies.governance.hear_policy(event));
                match event {
                    Event::InitDone => {
                        all_seen.send_replace(true);
                    }
                    Event::Delete(policy) => hearing.written.forget(&key_of(policy)),
                    Event::Init | Event::InitApply(_) | Event::Apply(_) => {}
                }
            })
            .applied_objects()
            .predicate_filter(predicates::generation, Default::default());
        Controller::for_stream(policies, store)
            .with_config(Config::default().concurrency(1).debounce(SETTLE))
            .reconcile_on(watches::named(wakes))
            .graceful_shutdown_on(async move { stop.cancelled().await })
            .run(reconcile, again, self)
            // What fails is told by `again`; one that is gone may still be named.
            .for_each(|_| future::ready(()))
            .await;
    }

    async fn publish(&self, guarded: &Guarded, reach: &Reach) -> Result<(), kube::Error> {
        let (key, uid) = (key_of(guarded), guarded.uid().unwrap_or_default());
        let standing = || guarded.0.as_ref().ok().and_then(|policy| policy.status.clone());
        let former = self.written.of(&key, &uid).or_else(standing).unwrap_or_default();
        let told = |server: &String| self.policies.told().get(&(key.0.clone(), server.clone())).cloned();
        let next = status(&key.1, guarded.meta().generation, reach, told, &former, Timestamp::now());
        if next == former {
            return Ok(());
        }
        self.metrics.wrote_policy("McpAccessPolicy", "status");
        write_status(&Api::<Guarded>::namespaced(self.client.clone(), &key.0), &key.1, &uid, &next).await?;
        let message = |status: &McpAccessPolicyStatus| {
            let found = status.conditions.iter().find(|found| found.type_ == condition::ACCEPTED);
            found.filter(|found| found.status == "False").map(|found| found.message.clone())
        };
        if let Some(problem) = message(&next).filter(|problem| message(&former).as_ref() != Some(problem)) {
            let reference = guarded.object_ref(&());
            news::warn(&self.recorder, &reference, condition::ACCEPTED, reasons::INVALID, &problem).await;
        }
        self.written.is(&key, &uid, next);
        Ok(())
    }
}

async fn reconcile(guarded: Arc<Guarded>, keeper: Arc<Keeper>) -> Result<Action, kube::Error> {
    if guarded.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    match keeper.policies.governance.of_policy(&key_of(&guarded)) {
        Some(reach) => {
            keeper.publish(&guarded, &reach).await?;
            Ok(Action::await_change())
        }
        // Only at the start, for as long as the first list of servers takes.
        None => Ok(Action::requeue(AT_START)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the controller calls it so")]
fn again(policy: Arc<Guarded>, error: &kube::Error, _: Arc<Keeper>) -> Action {
    // It is another by now, or none: what became of it is told by the watch.
    if !matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422)) {
        let (namespace, name) = key_of(&policy);
        tracing::warn!(namespace, policy = name, error = %watches::chain(error), "policy not kept");
    }
    Action::requeue(RETRY)
}

fn status(
    name: &str,
    generation: Option<i64>,
    reach: &Reach,
    told: impl Fn(&String) -> Option<Told>,
    former: &McpAccessPolicyStatus,
    now: Timestamp,
) -> McpAccessPolicyStatus {
    let told: BTreeMap<&String, Option<Told>> = reach.servers.iter().map(|server| (server, told(server))).collect();
    let enforced = |server: &String| told.get(server)?.as_ref()?.generations.get(name).copied().flatten();
    let mut warnings: Vec<RuleWarning> =
        told.values().flatten().flat_map(|told| told.warnings.get(name).into_iter().flatten().cloned()).collect();
    warnings.extend(reach.missing.iter().map(|server| RuleWarning {
        server: Some(server.clone()),
        rule: None,
        message: "spec.targetRefs names it, and there is no such McpServer in this namespace: create it, or correct the name"
            .to_owned(),
    }));
    // Of a server that has told nothing yet it is not known whether anybody decides.
    let may_decide = |told: &Option<Told>| told.as_ref().is_none_or(|told| told.has_proxies);
    let behind: Vec<String> = told
        .iter()
        .filter(|(server, told)| may_decide(told) && enforced(server) < generation)
        .map(|(server, _)| (*server).clone())
        .collect();
    let (accepted, in_force) = (accepted(reach, warnings.len()), in_force(reach, &behind));
    let found = [&summary(&accepted, &in_force)[..], &[accepted, in_force]].concat();
    warnings.truncate(WARNINGS_LISTED);
    McpAccessPolicyStatus {
        observed_generation: generation,
        conditions: settle(&former.conditions, &found, generation, now),
        servers: reach
            .servers
            .iter()
            .take(SERVERS_LISTED)
            .map(|server| GovernedServer { name: server.clone(), generation: enforced(server) })
            .collect(),
        server_count: i32::try_from(reach.servers.len()).ok(),
        warnings,
    }
}

fn accepted(reach: &Reach, warnings: usize) -> Finding {
    let finding = |holds, reason, message| Finding::new(condition::ACCEPTED, Some(holds), reason, message);
    match (&reach.problem, reach.in_force) {
        (None, _) if warnings == 0 => finding(true, reasons::ACCEPTED, "the rules make sense".to_owned()),
        (None, _) => {
            finding(true, reasons::ACCEPTED, format!("the rules make sense; {warnings} warnings: see status.warnings"))
        }
        (Some(problem), Some(generation)) => {
            finding(false, reasons::INVALID, format!("{problem}; generation {generation} stays in force"))
        }
        (Some(problem), None) => {
            finding(false, reasons::INVALID, format!("{problem}; the servers that it governs are left as they are"))
        }
    }
}

fn in_force(reach: &Reach, behind: &[String]) -> Finding {
    let finding = |holds, reason, message| Finding::new(condition::IN_FORCE, Some(holds), reason, message);
    if reach.problem.is_some() {
        return finding(false, reasons::POLICY_NOT_ACCEPTED, "this generation is not accepted".to_owned());
    }
    match (reach.servers.len(), behind) {
        (0, _) => finding(true, reasons::IN_FORCE, "it governs no server".to_owned()),
        (count, []) => finding(true, reasons::IN_FORCE, format!("in every proxy of {count} servers")),
        (_, behind) => finding(false, reasons::PENDING, format!("proxies do not say so yet of {}", names(behind))),
    }
}

/// The three that every kstatus reader knows.
fn summary(accepted: &Finding, in_force: &Finding) -> [Finding; 3] {
    let (stalled, ready) = (accepted.status != Some(true), in_force.status == Some(true));
    let why = if stalled { accepted } else { in_force };
    let state = |kind, on: bool| {
        let (reason, message) = if on { (why.reason, why.message.as_str()) } else { (reasons::SETTLED, "") };
        Finding::new(kind, Some(on), reason, message)
    };
    [
        Finding::new(condition::READY, Some(!stalled && ready), why.reason, why.message.clone()),
        state(condition::RECONCILING, !stalled && !ready),
        state(condition::STALLED, stalled),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(generation: Option<i64>) -> Told {
        let message = "never matches".to_owned();
        let warning = RuleWarning { server: Some("a".into()), rule: Some("r".into()), message };
        Told {
            generations: [("p".to_owned(), generation)].into(),
            warnings: [("p".to_owned(), vec![warning])].into(),
            has_proxies: true,
        }
    }

    fn word(status: &McpAccessPolicyStatus, kind: &str) -> (String, String) {
        let found = status.conditions.iter().find(|found| found.type_ == kind).unwrap();
        (found.status.clone(), found.message.clone())
    }

    #[test]
    fn it_is_in_force_where_every_proxy_says_so_or_nobody_decides() {
        let reach = Reach { servers: vec!["a".into(), "b".into()], in_force: Some(3), ..Reach::default() };
        let of = |b: Told| {
            let tell = |server: &String| if server == "a" { told(Some(3)) } else { b.clone() };
            status("p", Some(3), &reach, |server| Some(tell(server)), &Default::default(), Timestamp::UNIX_EPOCH)
        };
        for (b, expected) in
            [(told(Some(3)), "True"), (told(Some(2)), "False"), (told(None), "False"), (Told::default(), "True")]
        {
            assert_eq!(word(&of(b.clone()), condition::IN_FORCE).0, expected, "{b:?}");
        }
        assert!(word(&of(told(None)), condition::IN_FORCE).1.ends_with("of b"));
        assert_eq!(word(&of(told(None)), condition::RECONCILING).0, "True");
        assert_eq!(word(&of(told(Some(3))), condition::READY).0, "True");
        assert_eq!(of(told(Some(2))).servers[1].generation, Some(2));
        assert_eq!(of(Told::default()).warnings.len(), 1);
    }

    /// After a restart of the operator, or while the server itself makes no sense, its proxies may decide by anything.
    #[test]
    fn it_is_not_in_force_where_nobody_has_told_yet() {
        let reach = Reach { servers: vec!["a".into()], in_force: Some(3), ..Reach::default() };
        let status = status("p", Some(3), &reach, |_| None, &Default::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(word(&status, condition::IN_FORCE).0, "False");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_counts_instead() {
        let of = |in_force| {
            let reach = Reach { problem: Some("spec.rules: bad".into()), in_force, ..Reach::default() };
            let status = status("p", Some(3), &reach, |_| None, &Default::default(), Timestamp::UNIX_EPOCH);
            assert_eq!(word(&status, condition::STALLED).0, "True");
            word(&status, condition::ACCEPTED)
        };
        assert_eq!(of(Some(2)), ("False".into(), "spec.rules: bad; generation 2 stays in force".into()));
        assert!(of(None).1.contains("left as they are"));
    }
}
