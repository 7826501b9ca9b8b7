//! Step 4: from a checked server to the objects it shall be. Pure and infallible.

mod agent;
mod brought;
mod configuration;
mod fetcher;
mod network_policy;
mod workload;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cardea_contract::pod;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::children::{APPLIED_ANNOTATION, Kind, MANAGED_BY, Owner, SERVER_LABEL};
use crate::installation::Installation;
use crate::material::{
    ACCOUNT_ANNOTATION, IssuedLeaf, LeafMaterial, Material, NOT_AFTER_ANNOTATION, NOT_BEFORE_ANNOTATION,
    REQUEST_ANNOTATION, SERIAL_ANNOTATION, certificate_secret, service_account,
};
use crate::pods::ROTATION_ANNOTATION;
use crate::validate::ValidatedServer;

pub use brought::brought_by;
pub use configuration::configuration;

/// Wanted objects that nobody has applied yet.
pub struct Prepared;
/// Wanted objects that stand in the cluster as wanted. Only `apply` makes these, so a status computed from them is one
/// of what was really applied.
pub struct Applied;

/// The objects that a server shall be.
pub struct Desired<Stage> {
    /// Objects to apply: all but the last before the last, which is the workload.
    pub objects: Vec<Object>,
    /// Objects that stay as they are.
    pub kept: Vec<(Kind, String)>,
    /// SHA-256 (hex) of the proxy's configuration file.
    pub configuration: String,
    stage: PhantomData<Stage>,
}

impl Desired<Prepared> {
    /// To be called when every object stands.
    pub(crate) fn applied(self) -> Desired<Applied> {
        Desired { objects: self.objects, kept: self.kept, configuration: self.configuration, stage: PhantomData }
    }
}

/// One object that a server shall have.
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it that is ours to say.
    pub body: Value,
    /// Digest of the body, also in its annotation.
    pub digest: String,
}

/// The objects of a server.
pub fn build(server: &ValidatedServer, material: &Material, installation: &Installation) -> Desired<Prepared> {
    let (config, configuration) = proxy_configuration(server, installation);
    let mut objects = vec![
        object(server.owner(), Kind::NetworkPolicy, &server.name, network_policy::spec(server, installation)),
        config,
        object(server.owner(), Kind::ConfigMap, &trust_config_map(&server.name), trust_data(server, material)),
        object(server.owner(), Kind::Service, &server.name, service(server)),
    ];
    if service_account(server) == server.name {
        let account = json!({"automountServiceAccountToken": false});
        objects.push(object(server.owner(), Kind::ServiceAccount, &server.name, account));
    }
    objects.extend(brought::objects(server));
    let mut kept = Vec::new();
    match &material.leaf {
        LeafMaterial::Kept => kept.push((Kind::Secret, certificate_secret(&server.name))),
        LeafMaterial::Issued(issued) => objects.push(certificate(server.owner(), issued)),
    }
    objects.push(deployment(server, installation));
    Desired { objects, kept, configuration, stage: PhantomData }
}

fn deployment(server: &ValidatedServer, installation: &Installation) -> Object {
    let body = workload::deployment(server, installation);
    let mut deployment = object(server.owner(), Kind::Deployment, &server.name, body);
    if let Some(rotation) = &server.rotation {
        // Here it is read back: the watch remembers nothing of a template.
        annotate(&mut deployment.body, [(ROTATION_ANNOTATION, rotation.clone())]);
    }
    deployment
}

/// The ConfigMap with the proxy's configuration, and the digest (SHA-256, hex) of the file in it.
pub fn proxy_configuration(server: &ValidatedServer, installation: &Installation) -> (Object, String) {
    let file = configuration::file(server, installation);
    let data = configuration::data(&file);
    (object(server.owner(), Kind::ConfigMap, &config_map(&server.name), data), hex(&Sha256::digest(file)))
}

/// The Secret with a new leaf.
pub fn certificate(owner: Owner<'_>, issued: &IssuedLeaf) -> Object {
    let leaf = &issued.leaf;
    let mut secret = object(
        owner,
        Kind::Secret,
        &certificate_secret(owner.name),
        json!({
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": BASE64.encode(&leaf.certificate_pem),
                "tls.key": BASE64.encode(leaf.key_pem.as_bytes()),
                pod::SESSION_KEY: BASE64.encode(issued.session_key.as_slice()),
            },
        }),
    );
    annotate(
        &mut secret.body,
        [
            (SERIAL_ANNOTATION, leaf.serial.clone()),
            (NOT_BEFORE_ANNOTATION, leaf.not_before.to_string()),
            (NOT_AFTER_ANNOTATION, leaf.not_after.to_string()),
            (REQUEST_ANNOTATION, issued.request.clone()),
            (ACCOUNT_ANNOTATION, issued.account.clone()),
        ],
    );
    secret
}

/// Name of the ConfigMap with the proxy's configuration.
pub fn config_map(server: &str) -> String {
    format!("{server}-proxy")
}

/// Name of the ConfigMap with the trust bundle, which clients use as well.
pub fn trust_config_map(server: &str) -> String {
    format!("{server}-trust")
}

/// Labels by which Service, NetworkPolicy and Deployment find the pods.
pub fn selector(server: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(MANAGED_BY.0, MANAGED_BY.1.to_owned()), (SERVER_LABEL, server.to_owned())])
}

fn service(server: &ValidatedServer) -> Value {
    json!({"spec": {
        "type": "ClusterIP",
        "selector": selector(&server.name),
        "ports": [{
            "name": "mcp",
            "port": 443,
            "targetPort": pod::PROXY_PORT,
            "protocol": "TCP",
            "appProtocol": "https",
        }],
    }})
}

fn trust_data(server: &ValidatedServer, material: &Material) -> Value {
    json!({"data": {
        pod::TRUST_BUNDLE_KEY: material.trust_bundle,
        pod::CLIENT_CA_KEY: server.client_ca,
    }})
}

/// Completes an object with what all have in common: what it is, whose it is, and the digest of what it says.
fn object(owner: Owner<'_>, kind: Kind, name: &str, mut body: Value) -> Object {
    drop_nulls(&mut body);
    let resource = kind.resource();
    if let Value::Object(members) = &mut body {
        members.insert("apiVersion".into(), json!(resource.api_version));
        members.insert("kind".into(), json!(resource.kind));
        members.insert(
            "metadata".into(),
            json!({
                "name": name,
                "namespace": owner.namespace,
                "labels": {
                    MANAGED_BY.0: MANAGED_BY.1,
                    SERVER_LABEL: owner.name,
                    "app.kubernetes.io/name": "mcp-server",
                    "app.kubernetes.io/instance": owner.name,
                },
                "ownerReferences": [{
                    "apiVersion": "cardea.dev/v1alpha1",
                    "kind": "McpServer",
                    "name": owner.name,
                    "uid": owner.uid,
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            }),
        );
    }
    let digest = digest(&body);
    annotate(&mut body, [(APPLIED_ANNOTATION, digest.clone())]);
    Object { kind, name: name.to_owned(), body, digest }
}

fn annotate<const N: usize>(body: &mut Value, annotations: [(&str, String); N]) {
    if let Some(Value::Object(meta)) = body.get_mut("metadata")
        && let Value::Object(all) = meta.entry("annotations").or_insert_with(|| json!({}))
    {
        all.extend(annotations.map(|(name, value)| (name.to_owned(), Value::String(value))));
    }
}

fn digest(body: &Value) -> String {
    hex(Sha256::digest(body.to_string()).get(..8).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is unset is not said. An explicit null would be a value of its own to server-side apply.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
