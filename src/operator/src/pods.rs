//! What the Deployment and the pods of a server say about themselves, boiled down when the watch brings them. Messages
//! are our own words: the kubelet's change from one attempt to the next, and each change would be a status write.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cardea_api::v1alpha1::reasons;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::children::ServerKey;

/// The running side of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Its Deployment, if there is one.
    pub rollout: Option<Rollout>,
    /// Its pods by name.
    pub pods: BTreeMap<String, PodState>,
}

/// How far a Deployment is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Whether the counts are about the current template.
    pub observed: bool,
    /// Pods wanted.
    pub wanted: i32,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods of the current template.
    pub updated: i32,
    /// Pods that are available.
    pub available: i32,
    /// Why pods cannot be created, if so.
    pub refused: Option<String>,
}

impl Rollout {
    /// What a Deployment says.
    pub fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        Self {
            observed: status.observed_generation >= deployment.metadata.generation,
            wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            replicas: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            refused: status
                .conditions
                .into_iter()
                .flatten()
                .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")
                .and_then(|condition| condition.message),
        }
    }
}

/// How a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its address, once it has one and its proxy runs.
    pub proxy_address: Option<String>,
    /// What keeps it from running.
    pub trouble: Option<Trouble>,
    /// The rotation of secrets since which it is there ([`ROTATION_ANNOTATION`]).
    pub rotation: Option<String>,
}

/// Annotation of a Deployment and of its pods with the rotation of secrets that the pods are there for: a moment.
pub const ROTATION_ANNOTATION: &str = "cardea.dev/secrets-rotated";

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// One of [`reasons`].
    pub reason: &'static str,
    /// In our words.
    pub message: String,
}

impl PodState {
    /// What a pod says.
    pub fn of(pod: &Pod) -> Self {
        let Some(status) = &pod.status else {
            return Self::default();
        };
        let init = status.init_container_statuses.iter().flatten();
        let containers = || init.clone().chain(status.container_statuses.iter().flatten());
        let proxy_runs =
            init.clone().any(|container| container.name == "cardea-proxy" && container.started == Some(true));
        let ending = pod.metadata.deletion_timestamp.is_some();
        Self {
            proxy_address: status.pod_ip.clone().filter(|_| proxy_runs && !ending),
            trouble: containers().find_map(trouble).filter(|_| !ending),
            rotation: pod.metadata.annotations.as_ref().and_then(|all| all.get(ROTATION_ANNOTATION).cloned()),
        }
    }
}

fn trouble(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let name = &container.name;
    let (reason, message) = match waiting.reason.as_deref()? {
        "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "RegistryUnavailable" => (
            reasons::IMAGE_PULL_FAILED,
            format!(
                "the image {:?} of the container {name} cannot be pulled: check its name, the registry and spec.source.image.pullSecrets",
                container.image
            ),
        ),
        "CreateContainerConfigError" if waiting.message.as_deref().is_some_and(|text| text.contains("secret")) => (
            reasons::SECRET_NOT_FOUND,
            format!("the container {name} needs a Secret or a key of one that does not exist: create it"),
        ),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => (
            reasons::CONTAINER_CONFIG,
            format!(
                "the container {name} cannot be started as configured: if its image runs as root or by a user name, set spec.workload.runAsUser"
            ),
        ),
        "CrashLoopBackOff" => (
            reasons::CRASHING,
            format!("the container {name} ends again and again: see its log with kubectl logs --previous -c {name}"),
        ),
        _ => return None,
    };
    Some(Trouble { reason, message })
}

/// The running side of all servers.
#[derive(Default)]
pub struct WorkloadIndex(Mutex<HashMap<ServerKey, Workload>>);

impl WorkloadIndex {
    /// The running side of one server.
    pub fn of(&self, server: &ServerKey) -> Workload {
        self.lock().get(server).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of one server. Says whether that made a difference.
    pub fn update(&self, server: &ServerKey, change: impl FnOnce(&mut Workload)) -> bool {
        let mut index = self.lock();
        let workload = index.entry(server.clone()).or_default();
        let before = workload.clone();
        change(workload);
        let differs = *workload != before;
        if *workload == Workload::default() {
            index.remove(server);
        }
        differs
    }

    /// All servers that something is remembered of.
    pub fn servers(&self) -> Vec<ServerKey> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerKey, Workload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
