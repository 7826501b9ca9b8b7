//! The watches on children: filtered by label, metadata only where content is not needed, boiled down before anything
//! is remembered. Each piece of news wakes the server that it is about.
//!
//! Secrets are watched namespace by namespace, and only where there are servers: there is no right on the Secrets of a
//! whole cluster to watch them with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

use crate::children::{Child, ChildIndex, Kind, MANAGED_BY, SERVER_LABEL, ServerKey};
use crate::pods::{PodState, Rollout, WorkloadIndex};

/// What the watches keep, and whom they wake.
#[derive(Clone)]
pub struct Watches {
    client: Client,
    /// Children of all servers.
    pub children: Arc<ChildIndex>,
    /// Deployments and pods of all servers.
    pub workloads: Arc<WorkloadIndex>,
    wake: UnboundedSender<ServerKey>,
    secrets: Arc<Mutex<HashMap<String, (SecretWatch, AbortHandle)>>>,
}

/// How far the watch on a namespace's Secrets is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretWatch {
    /// Not yet; servers of the namespace are woken when it is.
    Starting,
    /// What is remembered is what there is.
    Following,
    /// The operator has no right to it.
    Forbidden,
}

impl Watches {
    /// Prepares the watches; nothing runs yet.
    pub fn new(client: Client, wake: UnboundedSender<ServerKey>) -> Self {
        Self { client, children: Arc::default(), workloads: Arc::default(), wake, secrets: Arc::default() }
    }

    /// Starts all watches but those on Secrets and waits until each has seen what there is.
    pub async fn start(&self, tasks: &mut JoinSet<()>) {
        let mut ready = Vec::new();
        for watch in
            [Watch::Accounts, Watch::Policies, Watch::ConfigMaps, Watch::Services, Watch::Deployments, Watch::Pods]
        {
            let (seen, wait) = tokio::sync::oneshot::channel();
            ready.push(wait);
            let this = self.clone();
            tasks.spawn(async move { this.follow(watch, Some(seen)).await });
        }
        for wait in ready {
            // The sender lives as long as its watch, which never ends.
            let _ = wait.await;
        }
    }

    /// How far the watch on a namespace's Secrets is; starts it at first.
    pub fn secrets_of(&self, namespace: &str) -> SecretWatch {
        let mut watched = self.secrets();
        if let Some((state, _)) = watched.get(namespace) {
            return *state;
        }
        let (this, name) = (self.clone(), namespace.to_owned());
        let task = tokio::spawn(async move {
            loop {
                let api = Api::namespaced(this.client.clone(), &name);
                this.metadata::<Secret>(api, Kind::Secret, Some(&name), None).await;
                tokio::time::sleep(UNTIL_ALLOWED).await;
            }
        });
        watched.insert(namespace.to_owned(), (SecretWatch::Starting, task.abort_handle()));
        SecretWatch::Starting
    }

    /// Ends the watch on a namespace's Secrets: its last server is gone. Nobody would tell when its Secrets go too.
    pub fn leave(&self, namespace: &str) {
        if let Some((_, task)) = self.secrets().remove(namespace) {
            task.abort();
            self.children.forget(Kind::Secret, self.children.known(Kind::Secret, Some(namespace)));
        }
    }

    fn secrets(&self) -> MutexGuard<'_, HashMap<String, (SecretWatch, AbortHandle)>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(&self, watch: Watch, seen: Option<tokio::sync::oneshot::Sender<()>>) {
        let client = self.client.clone();
        match watch {
            Watch::Accounts => {
                self.metadata::<ServiceAccount>(Api::all(client), Kind::ServiceAccount, None, seen).await;
            }
            Watch::Policies => {
                self.metadata::<NetworkPolicy>(Api::all(client), Kind::NetworkPolicy, None, seen).await;
            }
            Watch::ConfigMaps => self.metadata::<ConfigMap>(Api::all(client), Kind::ConfigMap, None, seen).await,
            Watch::Services => self.metadata::<Service>(Api::all(client), Kind::Service, None, seen).await,
            Watch::Deployments => self.deployments(Api::all(client), seen).await,
            Watch::Pods => self.pods(Api::all(client), seen).await,
        }
    }

    async fn metadata<K>(
        &self,
        api: Api<PartialObjectMeta<K>>,
        kind: Kind,
        namespace: Option<&str>,
        mut seen: Option<tokio::sync::oneshot::Sender<()>>,
    ) where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + Send + 'static,
        PartialObjectMeta<K>: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let mut events = pin!(events(api));
        // What was known when a list began and is not in it is gone. What is applied meanwhile is not in it either.
        let mut unlisted = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => unlisted = self.children.known(kind, namespace),
                Ok(Event::InitApply(object)) => {
                    if let Some(listed) = self.keep(kind, &object) {
                        unlisted.remove(&listed);
                    }
                }
                Ok(Event::InitDone) => {
                    for loser in self.children.forget(kind, std::mem::take(&mut unlisted)) {
                        self.wake(loser);
                    }
                    if let Some(seen) = seen.take() {
                        let _ = seen.send(());
                    }
                    if let Some(namespace) = namespace {
                        self.secrets_are(namespace, SecretWatch::Following);
                    }
                }
                Ok(Event::Apply(object)) => {
                    self.keep(kind, &object);
                }
                Ok(Event::Delete(object)) => self.lose(kind, &object),
                Err(error) => {
                    if let Some(namespace) = namespace.filter(|_| is_forbidden(&error)) {
                        self.secrets_are(namespace, SecretWatch::Forbidden);
                        return;
                    }
                    tracing::warn!(kind = kind.as_str(), namespace, error = %chain(&error), "watch interrupted");
                }
            }
        }
    }

    async fn deployments(&self, api: Api<Deployment>, mut seen: Option<tokio::sync::oneshot::Sender<()>>) {
        let mut events = pin!(events(api));
        let mut unlisted = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => unlisted = self.children.known(Kind::Deployment, None),
                Ok(Event::InitApply(object)) => {
                    if let Some(listed) = self.keep_deployment(&object) {
                        unlisted.remove(&listed);
                    }
                }
                Ok(Event::InitDone) => {
                    for loser in self.children.forget(Kind::Deployment, std::mem::take(&mut unlisted)) {
                        self.workloads.update(&loser, |workload| workload.rollout = None);
                        self.wake(loser);
                    }
                    if let Some(seen) = seen.take() {
                        let _ = seen.send(());
                    }
                }
                Ok(Event::Apply(object)) => {
                    self.keep_deployment(&object);
                }
                Ok(Event::Delete(object)) => {
                    if let Some((server, _)) = server_of(&object) {
                        self.workloads.update(&server, |workload| workload.rollout = None);
                    }
                    self.lose(Kind::Deployment, &object);
                }
                Err(error) => tracing::warn!(kind = "Deployment", error = %chain(&error), "watch interrupted"),
            }
        }
    }

    async fn pods(&self, api: Api<Pod>, mut seen: Option<tokio::sync::oneshot::Sender<()>>) {
        let mut events = pin!(events(api));
        let mut listed: HashMap<ServerKey, BTreeMap<String, PodState>> = HashMap::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(pod)) => {
                    if let Some((server, name)) = server_of(&pod) {
                        listed.entry(server).or_default().insert(name, PodState::of(&pod));
                    }
                }
                Ok(Event::InitDone) => {
                    let mut listed = std::mem::take(&mut listed);
                    let servers: HashSet<ServerKey> =
                        self.workloads.servers().into_iter().chain(listed.keys().cloned()).collect();
                    for server in servers {
                        let pods = listed.remove(&server).unwrap_or_default();
                        if self.workloads.update(&server, |workload| workload.pods = pods) {
                            self.wake(server);
                        }
                    }
                    if let Some(seen) = seen.take() {
                        let _ = seen.send(());
                    }
                }
                Ok(Event::Apply(pod)) => self.pod_is(&pod, Some(PodState::of(&pod))),
                Ok(Event::Delete(pod)) => self.pod_is(&pod, None),
                Err(error) => tracing::warn!(kind = "Pod", error = %chain(&error), "watch interrupted"),
            }
        }
    }

    fn pod_is(&self, pod: &Pod, state: Option<PodState>) {
        let Some((server, name)) = server_of(pod) else { return };
        let differs = self.workloads.update(&server, |workload| {
            match state {
                Some(state) => workload.pods.insert(name, state),
                None => workload.pods.remove(&name),
            };
        });
        if differs {
            self.wake(server);
        }
    }

    fn keep<K: Resource>(&self, kind: Kind, object: &K) -> Option<(ServerKey, String)> {
        let (server, name) = server_of(object)?;
        if self.children.put(&server, kind, &name, Child::of(object.meta())) {
            self.wake(server.clone());
        }
        Some((server, name))
    }

    fn keep_deployment(&self, deployment: &Deployment) -> Option<(ServerKey, String)> {
        let (server, name) = server_of(deployment)?;
        let news = self.children.put(&server, Kind::Deployment, &name, Child::of(&deployment.metadata));
        let rollout = Some(Rollout::of(deployment));
        if self.workloads.update(&server, |workload| workload.rollout = rollout) || news {
            self.wake(server.clone());
        }
        Some((server, name))
    }

    fn lose<K: Resource>(&self, kind: Kind, object: &K) {
        if let Some((server, name)) = server_of(object)
            && self.children.remove(&server, kind, &name, object.meta().uid.as_deref().unwrap_or_default())
        {
            self.wake(server);
        }
    }

    fn secrets_are(&self, namespace: &str, now: SecretWatch) {
        let mut watched = self.secrets();
        let Some((state, _)) = watched.get_mut(namespace) else { return };
        if std::mem::replace(state, now) != now {
            tracing::info!(namespace, state = ?now, "watch on Secrets");
            // No server has that name: it stands for all of the namespace.
            self.wake((namespace.to_owned(), String::new()));
        }
    }

    fn wake(&self, server: ServerKey) {
        // Nobody listens only when the operator is ending.
        let _ = self.wake.send(server);
    }
}

#[derive(Clone, Copy)]
enum Watch {
    Accounts,
    Policies,
    ConfigMaps,
    Services,
    Deployments,
    Pods,
}

/// A connection that died in silence is noticed at this age (kube 5 waits 290 s by itself).
const WATCH_TIMEOUT_SECONDS: u32 = 60;

/// Pause before asking again for a right that was refused.
const UNTIL_ALLOWED: Duration = Duration::from_secs(15);

/// Objects listed at once: what a page takes in memory stays with the process.
const PAGE: u32 = 50;

/// How a watch is set up, ours and that on the servers themselves.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_TIMEOUT_SECONDS).page_size(PAGE)
}

fn events<K>(api: Api<K>) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch(api, config().labels(&format!("{}={},{SERVER_LABEL}", MANAGED_BY.0, MANAGED_BY.1))).default_backoff()
}

fn server_of<K: Resource>(object: &K) -> Option<(ServerKey, String)> {
    let meta = object.meta();
    let server = meta.labels.as_ref()?.get(SERVER_LABEL)?.clone();
    Some(((meta.namespace.clone()?, server), meta.name.clone()?))
}

fn is_forbidden(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 403
    )
}

/// References to the objects that a channel names.
pub(crate) fn named<K>(names: UnboundedReceiver<(String, String)>) -> impl Stream<Item = ObjectRef<K>>
where
    K: Resource<DynamicType = ()>,
{
    let all = futures::stream::unfold(names, async |mut names| Some((names.recv().await?, names)));
    all.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
}

/// An error with its sources, as one line. Those that it repeats itself are told once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
