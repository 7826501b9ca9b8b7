//! Step 1: everything the other steps look at, gathered in one place. Most of it comes from what the watches remember;
//! only what a manifest refers to is read from the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cardea_api::v1alpha1::{self as api, McpAuthPolicy, McpAuthPolicySpec, McpSecretStore, McpServer, SecretStatus};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};

use crate::build::brought_by;
use crate::children::{Child, Children, Kind, MANAGED_BY, Owner, SERVER_LABEL};
use crate::cluster_issuer::ClusterIssuer;
use crate::governance::Governing;
use crate::inquiry::Answers;
use crate::pods::Workload;

/// Authorities (PEM) by the ConfigMap that they are in; none where there is no such certificate.
pub type Authorities = BTreeMap<String, Option<String>>;

/// McpSecretStores of a namespace by name.
pub type SecretStores = BTreeMap<String, Arc<McpSecretStore>>;

/// One server as it is asked for and as it is.
pub struct Observed {
    /// What is asked for.
    pub server: Arc<McpServer>,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The policy that it refers to for what counts as evidence; none if there is no such policy, or none is named.
    pub auth_policy: Option<Arc<McpAuthPolicy>>,
    /// The policies that govern it.
    pub governing: Governing,
    /// What exists of it.
    pub children: Children,
    /// Its Deployment and pods.
    pub workload: Workload,
    /// What its proxies reported last.
    pub answers: Answers,
    /// The stores that its secrets are in, those that there are. None: wherever it runs, values come from elsewhere.
    pub secret_stores: Option<SecretStores>,
    /// The authorities that it refers to.
    pub authorities: Authorities,
    /// Whether the operator may use Secrets in this namespace.
    pub may_use_secrets: bool,
    /// Secrets that it refers to and that do not exist.
    pub missing_secrets: BTreeSet<String>,
    /// Kinds of children that it may need and that the cluster does not know.
    pub missing_kinds: BTreeSet<Kind>,
    /// Who signs ServiceAccount tokens in this cluster.
    pub cluster_issuer: Option<Arc<ClusterIssuer>>,
}

impl Observed {
    /// Whose the children are.
    pub fn owner(&self) -> Owner<'_> {
        Owner { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// Where that is said, as people find it.
    pub fn auth_at(&self) -> String {
        match &self.auth_policy {
            Some(policy) => format!("McpAuthPolicy {:?}: spec", policy.name_any()),
            None => "spec.auth".to_owned(),
        }
    }

    /// What counts as evidence, wherever it is said.
    pub fn auth(&self) -> Option<&McpAuthPolicySpec> {
        evidence(&self.server, self.auth_policy.as_deref())
    }
}

/// What counts as evidence for a server whose policy, if it names one, is this.
fn evidence<'a>(server: &'a McpServer, policy: Option<&'a McpAuthPolicy>) -> Option<&'a McpAuthPolicySpec> {
    let auth = server.spec.auth.as_ref()?;
    if auth.policy_ref.is_some() { policy.map(|policy| &policy.spec) } else { Some(&auth.inline) }
}

/// Reads the ConfigMaps with authorities that a server, its policy and its stores refer to.
///
/// # Errors
/// When the API server does not answer.
pub async fn authorities(
    client: &Client,
    server: &McpServer,
    policy: Option<&McpAuthPolicy>,
    stores: &SecretStores,
    namespace: &str,
) -> Result<Authorities, kube::Error> {
    let of_clients = server.spec.tls.iter().filter_map(|tls| tls.client_ca_ref.as_ref());
    let issuers = evidence(server, policy).into_iter().flat_map(|auth| &auth.issuers);
    let of_issuers = issuers.filter_map(|issuer| issuer.ca_ref.as_ref());
    let of_stores = stores.values().filter_map(|store| store.spec.ca_bundle_ref.as_ref());
    let mut found = BTreeMap::new();
    for reference in of_clients.chain(of_issuers).chain(of_stores) {
        if !found.contains_key(&reference.name) {
            found.insert(reference.name.clone(), authority(client, namespace, &reference.name).await?);
        }
    }
    Ok(found)
}

/// The authorities in one ConfigMap.
///
/// # Errors
/// When the API server does not answer.
pub async fn authority(client: &Client, namespace: &str, name: &str) -> Result<Option<String>, kube::Error> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(name).await?;
    Ok(map.and_then(|map| map.data?.remove("ca.crt")).filter(|pem| pem.contains("BEGIN CERTIFICATE")))
}

/// Which of the Secrets that a server, its policy and its stores refer to do not exist. Asks for metadata only: the operator has no use for the
/// values.
///
/// # Errors
/// When the API server does not answer.
pub async fn missing_secrets(
    client: &Client,
    server: &McpServer,
    policy: Option<&McpAuthPolicy>,
    stores: &SecretStores,
    namespace: &str,
) -> Result<BTreeSet<String>, kube::Error> {
    let of_the_server = server.spec.secrets.iter().filter_map(|secret| secret.from.kubernetes_secret.as_ref());
    let of_the_proxy = evidence(server, policy).into_iter().flat_map(McpAuthPolicySpec::secret_names);
    let of_the_stores = stores.values().filter_map(|store| store.spec.one_password_connect.as_ref());
    let of_the_stores = of_the_stores.map(|store| store.token_secret_ref.name.as_str());
    let of_the_server = of_the_server.map(|secret| secret.name.as_str());
    let named = of_the_server.chain(of_the_proxy).chain(of_the_stores).map(str::to_owned);
    let of_others = server.spec.secrets.iter().filter(|secret| secret.from.external_secret.is_some());
    let brought = of_others.map(|secret| brought_by(&server.name_any(), secret));
    let wanted: BTreeSet<String> = named.chain(brought).collect();
    let mut missing = BTreeSet::new();
    for name in wanted {
        if Api::<Secret>::namespaced(client.clone(), namespace).get_metadata_opt(&name).await?.is_none() {
            missing.insert(name);
        }
    }
    Ok(missing)
}

/// The children of kinds that no watch follows, and those of these kinds that the cluster does not know. Asks only about a
/// server that has, or had when its status was written, a secret that needs one.
///
/// # Errors
/// When the API server does not answer.
pub async fn listed(
    client: &Client,
    server: &McpServer,
    namespace: &str,
) -> Result<(Children, BTreeSet<Kind>), kube::Error> {
    let (mut children, mut unknown) = (Children::new(), BTreeSet::new());
    for kind in Kind::LISTED {
        let has = server.spec.secrets.iter().any(|secret| kind_of(secret) == Some(kind));
        let had = server.status.iter().flat_map(|status| &status.secrets).any(|secret| was_of(secret, kind));
        if !has && !had {
            continue;
        }
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind.resource());
        let labels = format!("{}={},{SERVER_LABEL}={}", MANAGED_BY.0, MANAGED_BY.1, server.name_any());
        match api.list_metadata(&ListParams::default().labels(&labels)).await {
            Ok(list) => {
                let found = list.items.iter().map(|object| ((kind, object.name_any()), Child::of(&object.metadata)));
                children.extend(found);
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                unknown.insert(kind);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((children, unknown))
}

/// The kind of the child that a secret needs, if it needs one of others'.
pub fn kind_of(secret: &api::Secret) -> Option<Kind> {
    let external = secret.from.external_secret.is_some().then_some(Kind::ExternalSecret);
    external.or(secret.from.csi.is_some().then_some(Kind::SecretProviderClass))
}

fn was_of(secret: &SecretStatus, kind: Kind) -> bool {
    secret.store == if kind == Kind::ExternalSecret { "ExternalSecret" } else { "Csi" }
}

/// Namespace, name and UID of a server; none while the API server has not given it all three.
pub fn identity(server: &McpServer) -> Option<(String, String, String)> {
    Some((server.namespace()?, server.name_any(), server.uid()?))
}
