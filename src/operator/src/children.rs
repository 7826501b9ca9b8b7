//! What exists of each server, remembered from the watches as little as possible: metadata, and of that what later
//! steps ask for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;

use crate::ownership;

/// Label with the name of the server that an object belongs to.
pub const SERVER_LABEL: &str = "cardea.dev/server";
/// Label and value by which the watches find what is ours.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "cardea");
/// Annotation with the digest of what was applied.
pub const APPLIED_ANNOTATION: &str = "cardea.dev/applied";

/// Kinds of children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` ServiceAccount
    ServiceAccount,
    /// `networking.k8s.io/v1` NetworkPolicy
    NetworkPolicy,
    /// `v1` ConfigMap
    ConfigMap,
    /// `v1` Secret
    Secret,
    /// `v1` Service
    Service,
    /// `apps/v1` Deployment
    Deployment,
    /// `external-secrets.io/v1` ExternalSecret
    ExternalSecret,
    /// `secrets-store.csi.x-k8s.io/v1` SecretProviderClass
    SecretProviderClass,
}

impl Kind {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::ExternalSecret => "ExternalSecret",
            Self::SecretProviderClass => "SecretProviderClass",
        }
    }

    /// Kinds that a cluster may not know. Few servers have such children, so no watch follows them: they are listed when a
    /// server that has some is looked at.
    pub const LISTED: [Self; 2] = [Self::ExternalSecret, Self::SecretProviderClass];

    /// Group, version and plural.
    pub fn resource(self) -> ApiResource {
        let (group, plural) = match self {
            Self::ServiceAccount => ("", "serviceaccounts"),
            Self::NetworkPolicy => ("networking.k8s.io", "networkpolicies"),
            Self::ConfigMap => ("", "configmaps"),
            Self::Secret => ("", "secrets"),
            Self::Service => ("", "services"),
            Self::Deployment => ("apps", "deployments"),
            Self::ExternalSecret => ("external-secrets.io", "externalsecrets"),
            Self::SecretProviderClass => ("secrets-store.csi.x-k8s.io", "secretproviderclasses"),
        };
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version,
            kind: self.as_str().to_owned(),
            plural: plural.to_owned(),
        }
    }
}

/// One object that exists and bears our label.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its UID.
    pub uid: String,
    /// UID of its controller, if it has one.
    pub owner: Option<String>,
    /// Its resource version.
    pub resource_version: String,
    /// Its annotations under `cardea.dev/`.
    pub annotations: BTreeMap<String, String>,
    /// Our set of fields.
    pub fields: Option<Box<str>>,
}

impl Child {
    /// What there is to remember of an object's metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            owner: meta
                .owner_references
                .iter()
                .flatten()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone()),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            annotations: meta
                .annotations
                .iter()
                .flatten()
                .filter(|(name, _)| name.starts_with("cardea.dev/"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            fields: meta.managed_fields.as_deref().and_then(ownership::our_fields),
        }
    }
}

/// The children of one server by kind and name.
pub type Children = BTreeMap<(Kind, String), Child>;

/// An `McpServer`, as far as its children name it.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
}

/// Namespace and name of a server.
pub type ServerKey = (String, String);

/// The children of all servers.
#[derive(Default)]
pub struct ChildIndex(Mutex<HashMap<ServerKey, Children>>);

impl ChildIndex {
    /// The children of one server.
    pub fn of(&self, server: &ServerKey) -> Children {
        self.lock().get(server).cloned().unwrap_or_default()
    }

    /// Remembers an object. Says whether that is news: the watch echoes our own writes.
    pub fn put(&self, server: &ServerKey, kind: Kind, name: &str, child: Child) -> bool {
        let mut index = self.lock();
        let children = index.entry(server.clone()).or_default();
        let key = (kind, name.to_owned());
        let news = children.get(&key).is_none_or(|known| known.resource_version != child.resource_version);
        children.insert(key, child);
        news
    }

    /// Forgets an object. Says whether it was known: one that took its place stays.
    pub fn remove(&self, server: &ServerKey, kind: Kind, name: &str, uid: &str) -> bool {
        let mut index = self.lock();
        let Some(children) = index.get_mut(server) else {
            return false;
        };
        let key = (kind, name.to_owned());
        let known = children.get(&key).is_some_and(|child| child.uid == uid);
        if known {
            children.remove(&key);
        }
        if children.is_empty() {
            index.remove(server);
        }
        known
    }

    /// All objects of a kind in a namespace (or everywhere).
    pub fn known(&self, kind: Kind, namespace: Option<&str>) -> HashSet<(ServerKey, String)> {
        let index = self.lock();
        let here = index.iter().filter(|(server, _)| namespace.is_none_or(|namespace| namespace == server.0));
        here.flat_map(|(server, children)| {
            let names = children.keys().filter(|(its, _)| *its == kind).map(|(_, name)| name.clone());
            names.map(|name| (server.clone(), name))
        })
        .collect()
    }

    /// Forgets these objects of a kind. Gives the servers that lost one.
    pub fn forget(&self, kind: Kind, gone: HashSet<(ServerKey, String)>) -> Vec<ServerKey> {
        let mut index = self.lock();
        let mut losers = Vec::new();
        for (server, name) in gone {
            let Some(children) = index.get_mut(&server) else { continue };
            let known = children.remove(&(kind, name)).is_some();
            if children.is_empty() {
                index.remove(&server);
            }
            if known {
                losers.push(server);
            }
        }
        losers
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ServerKey, Children>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(uid: &str) -> Child {
        let meta = ObjectMeta { uid: Some(uid.into()), resource_version: Some(uid.into()), ..ObjectMeta::default() };
        Child::of(&meta)
    }

    fn web() -> ServerKey {
        ("demo".into(), "web".into())
    }

    #[test]
    fn a_late_deletion_leaves_what_took_the_place() {
        let index = ChildIndex::default();
        index.put(&web(), Kind::Secret, "web-tls", child("1"));
        index.put(&web(), Kind::Secret, "web-tls", child("2"));
        assert!(!index.remove(&web(), Kind::Secret, "web-tls", "1"));
        assert_eq!(index.of(&web()).len(), 1);
        assert!(index.remove(&web(), Kind::Secret, "web-tls", "2"));
        assert!(index.lock().is_empty(), "a server without children is still remembered");
    }

    #[test]
    fn a_list_forgets_what_was_there_before_it_and_no_more() {
        let index = ChildIndex::default();
        index.put(&web(), Kind::Secret, "web-tls", child("1"));
        index.put(&web(), Kind::Service, "web", child("2"));
        let other = ("elsewhere".into(), "web".into());
        index.put(&other, Kind::Secret, "web-tls", child("3"));
        let unlisted = index.known(Kind::Secret, Some("demo"));
        let meanwhile = ("demo".into(), "new".into());
        index.put(&meanwhile, Kind::Secret, "new-tls", child("4"));
        assert_eq!(index.forget(Kind::Secret, unlisted), [web()]);
        assert_eq!(index.of(&web()).len(), 1);
        assert_eq!((index.of(&meanwhile).len(), index.of(&other).len()), (1, 1));
    }
}
