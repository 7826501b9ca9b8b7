//! Manifests as a cluster has them: one McpServer, the policy that it names and the access policies of its namespace, read
//! with the caller's own rights. Writes nothing.

use anyhow::{Context as _, bail};
use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpServer};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config, Resource};
use serde_json::{Value, json};

use crate::documents::Document;
use crate::manifest::Manifests;

/// Flags that say which cluster, and where in it.
#[derive(clap::Args)]
pub(crate) struct Cluster {
    /// Namespace of an McpServer of a cluster. Default: that of the kubeconfig's context.
    #[arg(short, long, conflicts_with = "filename")]
    namespace: Option<String>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, conflicts_with = "filename")]
    context: Option<String>,
}

impl Cluster {
    /// Reads what there is to know of a server.
    ///
    /// # Errors
    /// When there is no such server, or the API server does not tell.
    pub(crate) fn manifests(&self, server: &str) -> anyhow::Result<Manifests> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        runtime.block_on(self.read(server))
    }

    async fn read(&self, name: &str) -> anyhow::Result<Manifests> {
        let config = match &self.context {
            None => {
                Config::infer().await.context("no cluster is known: say which file with -f FILE, or set KUBECONFIG")?
            }
            Some(context) => {
                let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                Config::from_kubeconfig(&options).await.with_context(|| format!("--context {context}"))?
            }
        };
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("cannot speak to the cluster")?;
        let place = Place { client, namespace };

        let Some(server) = place.get::<McpServer>(name).await? else {
            bail!(
                "no McpServer {name:?} in the namespace {:?}: say which with --server NAME -n NAMESPACE",
                place.namespace
            )
        };
        let policy = match server.pointer("/spec/auth/policyRef/name").and_then(Value::as_str) {
            Some(name) => place.get::<McpAuthPolicy>(name).await?,
            None => None,
        };
        let shared = place.list::<McpAccessPolicy>().await?;
        Ok([server].into_iter().chain(policy).chain(shared).map(Document::from).collect())
    }
}

/// A namespace. What is read is not fitted to what is known here: a field that is not would change the answer.
struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    async fn get<K: Resource<DynamicType = ()>>(&self, name: &str) -> anyhow::Result<Option<Value>> {
        let object = self.api::<K>().get_opt(name).await;
        let object = object.with_context(|| format!("cannot read the {} {name:?}", K::kind(&())))?;
        Ok(object.map(|object| whole::<K>(&object)))
    }

    async fn list<K: Resource<DynamicType = ()>>(&self) -> anyhow::Result<Vec<Value>> {
        match self.api::<K>().list(&ListParams::default()).await {
            Ok(objects) => Ok(objects.items.iter().map(whole::<K>).collect()),
            // A cluster that does not know the kind has none.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot list the objects of kind {}", K::kind(&()))),
        }
    }

    fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()))
    }
}

/// An object as a manifest: those of a list leave out what they are.
fn whole<K: Resource<DynamicType = ()>>(object: &DynamicObject) -> Value {
    let mut manifest = json!(object);
    if let Some(members) = manifest.as_object_mut() {
        members.insert("apiVersion".to_owned(), json!(K::api_version(&())));
        members.insert("kind".to_owned(), json!(K::kind(&())));
    }
    manifest
}
