//! One API server and one operator for all tests; each test has a namespace of its own. A test that stops the operator,
//! or changes the CRD, has the bed for itself meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use cardea_api::v1alpha1::McpServer;
use cardea_operator::children::Kind;
use cardea_operator::manifests;
use cardea_tests::cluster::{self, eventually};
use cardea_tests::operator::Operator;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) const OPERATOR_NAMESPACE: &str = "cardea-system";

/// The trials of one file: its async tests by name, each with the bed.
macro_rules! trials {
    ($bed:ident, $runtime:ident, $subject:literal: $($name:ident),* $(,)?) => {
        vec![$({
            let bed = $bed.clone();
            cardea_tests::trials::trial(concat!($subject, "::", stringify!($name)), $runtime, async move || $name(&bed).await)
        }),*]
    };
}
pub(crate) use trials;

pub(crate) struct Bed {
    made: OnceCell<Made>,
    namespaces: AtomicU32,
}

struct Made {
    client: Client,
    operator: RwLock<Option<Operator>>,
}

/// Namespace of one test, and its hold on the operator.
pub(crate) struct Place<'a> {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    _operator: Option<RwLockReadGuard<'a, Option<Operator>>>,
}

impl Bed {
    pub(crate) fn lazily() -> Arc<Self> {
        Arc::new(Self { made: OnceCell::new(), namespaces: AtomicU32::new(0) })
    }

    async fn made(&self) -> anyhow::Result<&Made> {
        self.made
            .get_or_try_init(async || {
                let client = cluster::client().await?;
                install_crds(&client).await?;
                cluster::namespace(&client, OPERATOR_NAMESPACE).await?;
                let operator = Operator::start(OPERATOR_NAMESPACE, "first").await?;
                operator.leads().await?;
                Ok(Made { client, operator: RwLock::new(Some(operator)) })
            })
            .await
    }

    pub(crate) async fn place(&self) -> anyhow::Result<Place<'_>> {
        let made = self.made().await?;
        let namespace = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        cluster::namespace(&made.client, &namespace).await?;
        Ok(Place { client: made.client.clone(), namespace, _operator: Some(made.operator.read().await) })
    }

    /// A namespace and the operator itself, while no other test runs.
    pub(crate) async fn alone(&self) -> anyhow::Result<(Client, String, RwLockWriteGuard<'_, Option<Operator>>)> {
        let made = self.made().await?;
        let namespace = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        cluster::namespace(&made.client, &namespace).await?;
        Ok((made.client.clone(), namespace, made.operator.write().await))
    }

    pub(crate) async fn tear_down(&self) {
        if let Some(made) = self.made.get() {
            made.operator.write().await.take();
        }
    }
}

pub(crate) async fn install_crds(client: &Client) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    for (_, crd) in manifests::crds() {
        let name = crd.name_any();
        crds.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await?;
        await_condition(crds.clone(), &name, conditions::is_crd_established()).await?;
    }
    Ok(())
}

/// A manifest by its spec, with an image if that says none.
pub(crate) fn manifest(name: &str, mut spec: Value) -> Value {
    if spec.get("source").is_none() {
        spec["source"] = json!({"image": {"ref": "registry.example/server:1"}});
    }
    json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": name}, "spec": spec})
}

/// The names of all children of a server.
pub(crate) fn children_of(server: &str) -> Vec<(Kind, String)> {
    vec![
        (Kind::ServiceAccount, server.to_owned()),
        (Kind::NetworkPolicy, server.to_owned()),
        (Kind::ConfigMap, format!("{server}-proxy")),
        (Kind::ConfigMap, format!("{server}-trust")),
        (Kind::Secret, format!("{server}-tls")),
        (Kind::Service, server.to_owned()),
        (Kind::Deployment, server.to_owned()),
    ]
}

impl Place<'_> {
    /// A namespace of a test that has the operator for itself.
    pub(crate) fn beside(client: Client, namespace: String) -> Self {
        Self { client, namespace, _operator: None }
    }

    pub(crate) fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        objects(&self.client, &self.namespace, kind)
    }

    pub(crate) fn servers(&self) -> Api<McpServer> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a server, the way a person does.
    pub(crate) async fn apply(&self, name: &str, spec: Value) -> anyhow::Result<McpServer> {
        apply(&self.client, &self.namespace, name, spec).await
    }

    /// Applies a server and waits for all of its children.
    pub(crate) async fn served(&self, name: &str, spec: Value) -> anyhow::Result<McpServer> {
        let server = self.apply(name, spec).await?;
        for (kind, child) in children_of(name) {
            self.exists(kind, &child).await?;
        }
        Ok(server)
    }

    pub(crate) async fn exists(&self, kind: Kind, name: &str) -> anyhow::Result<DynamicObject> {
        let objects = self.objects(kind);
        eventually(&format!("{} {name} exists", kind.as_str()), async || Ok(objects.get_opt(name).await?)).await
    }

    pub(crate) async fn condition(
        &self,
        server: &str,
        kind: &str,
        status: &str,
        reason: &str,
    ) -> anyhow::Result<String> {
        condition(&self.client, &self.namespace, server, kind, status, reason).await
    }

    /// Creates an object of a kind that is nobody's.
    pub(crate) async fn create(&self, kind: Kind, name: &str, rest: Value) -> anyhow::Result<DynamicObject> {
        let resource = kind.resource();
        let mut body = rest;
        body["apiVersion"] = json!(resource.api_version);
        body["kind"] = json!(resource.kind);
        body["metadata"]["name"] = json!(name);
        Ok(self.objects(kind).create(&PostParams::default(), &serde_json::from_value(body)?).await?)
    }
}

pub(crate) fn objects(client: &Client, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &kind.resource())
}

pub(crate) async fn apply(client: &Client, namespace: &str, name: &str, spec: Value) -> anyhow::Result<McpServer> {
    let servers = Api::<McpServer>::namespaced(client.clone(), namespace);
    let body = manifest(name, spec);
    Ok(servers.patch(name, &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?)
}

/// Waits for a condition, and gives its message.
pub(crate) async fn condition(
    client: &Client,
    namespace: &str,
    server: &str,
    kind: &str,
    status: &str,
    reason: &str,
) -> anyhow::Result<String> {
    let servers = Api::<McpServer>::namespaced(client.clone(), namespace);
    let last = std::cell::RefCell::new(None::<Condition>);
    eventually(&format!("{server}: {kind}={status} {reason}"), async || {
        let found = servers
            .get(server)
            .await?
            .status
            .and_then(|status| status.conditions.into_iter().find(|condition| condition.type_ == kind));
        let fits = found.as_ref().is_some_and(|found| found.status == status && found.reason == reason);
        last.replace(found.clone());
        Ok(found.filter(|_| fits).map(|found| found.message))
    })
    .await
    .with_context(|| format!("last seen: {:?}", last.borrow()))
}
