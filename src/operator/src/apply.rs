//! Step 5: make the cluster say what was built. One request an object, and none for one that says it already.
//!
//! # Guarantees
//! - An object that is not ours is never written, not even for a moment. An object that we do not know is applied with a
//!   resource version that no object has, so the API server creates it or refuses with a conflict; one that we know is
//!   applied under its UID, so one that took its place is refused the same way.
//! - The workload comes last: the policy, the certificate and the configuration stand before a pod can.
//! - What is ours and no longer wanted is deleted, under its UID.
//!
//! # Errors
//! The first object that could not be applied; the rest of its stage may have been. Everything is safe to repeat.

use futures::future::try_join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use crate::build::{Applied, Desired, Object, Prepared};
use crate::children::{APPLIED_ANNOTATION, Child, ChildIndex, Children, Kind, ServerKey};
use crate::metrics::Metrics;
use crate::ownership::{self, FIELD_MANAGER};

/// A resource version that no object has: every write to etcd has a higher one.
const NO_OBJECT: &str = "1";

/// Why an object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of this name exists and is not ours.
    #[error(
        "the {} {name:?} already exists and belongs to {owner}: rename or delete it, or choose another name for the McpServer",
        kind.as_str()
    )]
    Foreign {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// An object of this name belongs to a former server of the same name, and is on its way out.
    #[error("the {} {name:?} of a former McpServer of this name is still being deleted", kind.as_str())]
    Leftover {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// The API server failed or refused.
    #[error("cannot apply the {} {name:?}: {}", kind.as_str(), said(source))]
    Api {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
        /// What it said.
        source: Box<kube::Error>,
    },
}

/// What applying needs of its surroundings.
pub struct Applier<'a> {
    /// The API server.
    pub client: &'a Client,
    /// Where what was written is remembered at once, ahead of the watch.
    pub index: &'a ChildIndex,
    /// Where writes are counted.
    pub metrics: &'a Metrics,
    /// The server.
    pub server: &'a ServerKey,
    /// Its UID.
    pub uid: &'a str,
}

impl Applier<'_> {
    /// Applies everything, then prunes.
    ///
    /// # Errors
    /// See the module.
    pub async fn apply(&self, desired: Desired<Prepared>, known: &Children) -> Result<Desired<Applied>, ApplyError> {
        if let Some((workload, rest)) = desired.objects.split_last() {
            try_join_all(rest.iter().map(|object| self.apply_one(object, known))).await?;
            self.apply_one(workload, known).await?;
        }
        self.prune(&desired, known).await?;
        Ok(desired.applied())
    }

    /// Applies one object, and only that.
    ///
    /// # Errors
    /// See the module.
    pub async fn apply_one(&self, object: &Object, known: &Children) -> Result<(), ApplyError> {
        let child = known.get(&(object.kind, object.name.clone()));
        match child {
            Some(child) if child.owner.as_deref() != Some(self.uid) => Err(in_the_way(object, child, None)),
            Some(child) if says(child, object) => Ok(()),
            known => {
                let precondition =
                    known.map_or_else(|| json!({"resourceVersion": NO_OBJECT}), |child| json!({"uid": child.uid}));
                match self.patch(object, precondition).await {
                    Err(ApplyError::Api { source, .. }) if is_taken(&source) => self.apply_to_unknown(object).await,
                    outcome => outcome,
                }
            }
        }
    }

    /// An object of that name exists though we do not know it: it is foreign, or our watch is behind.
    async fn apply_to_unknown(&self, object: &Object) -> Result<(), ApplyError> {
        let found = self
            .api(object.kind)
            .get_metadata(&object.name)
            .await
            .map_err(|source| failed(object.kind, &object.name, source))?;
        let child = Child::of(&found.metadata);
        if child.owner.as_deref() != Some(self.uid) {
            return Err(in_the_way(object, &child, found.metadata.owner_references.iter().flatten().next()));
        }
        if says(&child, object) {
            self.remember(object, child);
            return Ok(());
        }
        self.patch(object, json!({"uid": child.uid})).await
    }

    async fn patch(&self, object: &Object, precondition: Value) -> Result<(), ApplyError> {
        let mut body = object.body.clone();
        if let (Some(Value::Object(meta)), Value::Object(precondition)) = (body.get_mut("metadata"), precondition) {
            meta.extend(precondition);
        }
        self.metrics.wrote(object.kind, "apply");
        let applied = self
            .api(object.kind)
            .patch(&object.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body))
            .await
            .map_err(|source| failed(object.kind, &object.name, source))?;
        self.remember(object, Child::of(&applied.metadata));
        Ok(())
    }

    /// Of a kind that no watch follows nothing is remembered: nobody would tell when it goes.
    fn remember(&self, object: &Object, child: Child) {
        if !Kind::LISTED.contains(&object.kind) {
            self.index.put(self.server, object.kind, &object.name, child);
        }
    }

    async fn prune(&self, desired: &Desired<Prepared>, known: &Children) -> Result<(), ApplyError> {
        let wanted = |kind: Kind, name: &str| {
            desired.objects.iter().any(|object| object.kind == kind && object.name == name)
                || desired.kept.iter().any(|(kept, its_name)| *kept == kind && its_name == name)
        };
        for ((kind, name), child) in known {
            if child.owner.as_deref() == Some(self.uid) && !wanted(*kind, name) {
                self.metrics.wrote(*kind, "delete");
                let only_this = DeleteParams::default()
                    .preconditions(Preconditions { uid: Some(child.uid.clone()), resource_version: None });
                match self.api(*kind).delete(name, &only_this).await {
                    Ok(_) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                    Err(source) => return Err(failed(*kind, name, source)),
                }
            }
        }
        Ok(())
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.server.0, &kind.resource())
    }
}

/// Why an object that is not this server's is not written. What we applied for another owner was for a server of the same
/// name: no two names share an object.
fn in_the_way(wanted: &Object, found: &Child, owner: Option<&OwnerReference>) -> ApplyError {
    let (kind, name) = (wanted.kind, wanted.name.clone());
    match (&found.owner, owner) {
        (Some(_), _) if found.fields.is_some() => ApplyError::Leftover { kind, name },
        (_, Some(owner)) => ApplyError::Foreign { kind, name, owner: format!("{} {:?}", owner.kind, owner.name) },
        (Some(_), None) => ApplyError::Foreign { kind, name, owner: "another owner".to_owned() },
        (None, None) => ApplyError::Foreign { kind, name, owner: "nobody that Cardea knows".to_owned() },
    }
}

/// Whether an object says what we would apply: nobody took a field of ours, and we would not say more or else.
fn says(child: &Child, object: &Object) -> bool {
    child.annotations.get(APPLIED_ANNOTATION) == Some(&object.digest)
        && ownership::covers(child.fields.as_deref(), &object.body)
}

/// Another object than we thought has this name, or one where we knew of none.
fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 || (status.code == 422 && status.message.contains("metadata.uid")))
}

/// The API server's own sentence, which is written for people; without the rest of its answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => crate::watches::chain(other),
    }
}

fn failed(kind: Kind, name: &str, source: kube::Error) -> ApplyError {
    ApplyError::Api { kind, name: name.to_owned(), source: Box::new(source) }
}
