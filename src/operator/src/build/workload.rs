//! The pods: the proxy as a native sidecar, the server behind it, both within the *restricted* Pod Security Standard.

use cardea_api::v1alpha1::{Secret, SecretKey};
use cardea_contract::pod;
use serde_json::{Value, json};

use super::brought::{self, brought_by};
use super::{agent, config_map, fetcher, selector, trust_config_map};
use crate::children::{MANAGED_BY, SERVER_LABEL};
use crate::installation::Installation;
use crate::material::{certificate_secret, service_account};
use crate::pods::ROTATION_ANNOTATION;
use crate::validate::{ProxySecret, ValidatedServer};

/// Annotation with the digest of the further authorities of stores: whoever fetches reads them when it starts.
const AUTHORITIES_ANNOTATION: &str = "cardea.dev/store-authorities";

/// User and group of the proxy, and group of every mounted file: `nonroot` of distroless images.
pub(super) const NOBODY: i64 = 65532;

pub(super) fn deployment(server: &ValidatedServer, installation: &Installation) -> Value {
    json!({"spec": {
        "replicas": server.workload.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector(&server.name)},
        "template": {
            "metadata": {
                "annotations": annotations(server),
                "labels": {
                    MANAGED_BY.0: MANAGED_BY.1,
                    SERVER_LABEL: server.name,
                    "app.kubernetes.io/name": "mcp-server",
                    "app.kubernetes.io/instance": server.name,
                },
            },
            "spec": {
                "serviceAccountName": service_account(server),
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "runtimeClassName": server.workload.runtime_class_name,
                "imagePullSecrets": image_pull_secrets(server),
                "terminationGracePeriodSeconds": 40,
                "securityContext": {
                    "runAsNonRoot": true,
                    "fsGroup": NOBODY,
                    "fsGroupChangePolicy": "OnRootMismatch",
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "initContainers": init_containers(server, installation),
                "containers": [mcp_server(server)],
                "volumes": volumes(server),
            },
        },
    }})
}

/// What pods are replaced for beside what they are.
fn annotations(server: &ValidatedServer) -> Option<Value> {
    let authorities = server.fetched.as_ref().and_then(fetcher::authorities);
    let all = [(ROTATION_ANNOTATION, server.rotation.clone()), (AUTHORITIES_ANNOTATION, authorities)];
    let said: serde_json::Map<_, _> =
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect();
    (!said.is_empty()).then_some(Value::Object(said))
}

/// In this order: who can be asked how things are, then whatever the server waits for.
fn init_containers(server: &ValidatedServer, installation: &Installation) -> Vec<Value> {
    let mut containers = vec![proxy(server, installation)];
    containers.extend(server.serve.is_some().then(|| agent::install(installation)));
    containers.extend(server.fetched.iter().map(|fetched| fetcher::sidecar(server, fetched, installation)));
    containers
}

/// A native sidecar (KEP-753): it runs before the server starts and after it has ended. Its startup probe asks only
/// whether the door stands, its readiness whether somebody is home.
fn proxy(server: &ValidatedServer, installation: &Installation) -> Value {
    let probe = |path: &str, period: i64, failures: i64| {
        json!({
            "httpGet": {"path": path, "port": pod::ADMIN_PORT, "scheme": "HTTP"},
            "periodSeconds": period,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
        })
    };
    let mut mounts = vec![
        json!({"name": "config", "mountPath": folder(pod::CONFIG_FILE), "readOnly": true}),
        json!({"name": "certificate", "mountPath": pod::TLS_DIR, "readOnly": true}),
        json!({"name": "trust", "mountPath": pod::TRUST_DIR, "readOnly": true}),
    ];
    mounts.extend(server.proxy_secrets.iter().map(|secret| {
        let path = format!("{}/{}", pod::CREDENTIALS_DIR, folder(secret.file));
        json!({"name": credential_volume(secret), "mountPath": path, "readOnly": true})
    }));
    mounts.extend(server.serve.iter().filter_map(agent::proxy_mount));
    mounts.extend(server.fetched.iter().map(|_| fetcher::proxy_mount()));
    json!({
        "name": "cardea-proxy",
        "image": installation.proxy_image,
        "imagePullPolicy": installation.proxy_pull_policy,
        "restartPolicy": "Always",
        "ports": [
            {"name": "mcp", "containerPort": pod::PROXY_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": pod::ADMIN_PORT, "protocol": "TCP"},
        ],
        "startupProbe": probe("/healthz", 1, 60),
        "livenessProbe": probe("/healthz", 10, 3),
        "readinessProbe": probe("/readyz", 2, 2),
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": hardened(Some(NOBODY)),
        "volumeMounts": mounts,
    })
}

fn mcp_server(server: &ValidatedServer) -> Value {
    let workload = &server.workload;
    let mut env: Vec<Value> = workload.env.iter().map(|variable| json!(variable)).collect();
    env.extend(server.secrets.iter().flat_map(|secret| secret_env(server, secret)));
    let mut mounts = vec![json!({"name": "tmp", "mountPath": "/tmp"})];
    mounts.extend(server.secrets.iter().filter(|secret| files(server, secret).is_some()).map(|secret| {
        json!({
            "name": secret_volume(secret),
            "mountPath": format!("{}/{}", pod::SECRETS_DIR, secret.name),
            "readOnly": true,
        })
    }));
    mounts.extend(fetcher::server_mounts(server));
    let (command, args) = match &server.serve {
        Some(serve) => {
            env.push(agent::told(serve));
            mounts.extend(agent::server_mounts(serve));
            (json!([pod::AGENT_PROGRAM, "serve"]), Value::Null)
        }
        None => (json!(unless_empty(&workload.command)), json!(unless_empty(&workload.args))),
    };
    json!({
        "name": "server",
        "image": server.image.reference,
        "imagePullPolicy": server.image.pull_policy,
        "command": command,
        "args": args,
        "env": (!env.is_empty()).then_some(env),
        "resources": workload.resources,
        "securityContext": hardened(workload.run_as_user),
        "volumeMounts": mounts,
    })
}

/// What the *restricted* Pod Security Standard asks of a container, and a root file system that nobody writes to.
pub(super) fn hardened(user: Option<i64>) -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "runAsUser": user,
    })
}

fn volumes(server: &ValidatedServer) -> Vec<Value> {
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": config_map(&server.name)}}),
        json!({"name": "certificate", "secret": {"secretName": certificate_secret(&server.name), "defaultMode": 0o440}}),
        json!({"name": "trust", "configMap": {"name": trust_config_map(&server.name)}}),
        json!({"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}}),
    ];
    volumes.extend(server.proxy_secrets.iter().map(|secret| {
        let file = secret.file.rsplit('/').next();
        json!({
            "name": credential_volume(secret),
            "secret": {
                "secretName": secret.secret,
                "defaultMode": 0o440,
                "items": [{"key": secret.key, "path": file}],
            },
        })
    }));
    volumes.extend(server.secrets.iter().filter_map(|secret| files(server, secret)));
    volumes.extend(server.serve.iter().flat_map(agent::volumes));
    volumes.extend(server.fetched.iter().flat_map(|fetched| fetcher::volumes(server, fetched)));
    volumes
}

fn credential_volume(secret: &ProxySecret) -> String {
    format!("credential-{}", folder(secret.file))
}

fn secret_env(server: &ValidatedServer, secret: &Secret) -> Vec<Value> {
    let Some(name) = secret_name(server, secret) else { return Vec::new() };
    let variable = |key: &SecretKey| {
        let of = json!({"name": name, "key": key_in(secret, key)});
        Some(json!({"name": key.env.as_ref()?, "valueFrom": {"secretKeyRef": of}}))
    };
    secret.keys.iter().filter_map(variable).collect()
}

/// The Kubernetes Secret that it comes in, if it comes in one.
fn secret_name(server: &ValidatedServer, secret: &Secret) -> Option<String> {
    let named = secret.from.kubernetes_secret.as_ref().map(|source| source.name.clone());
    named.or_else(|| secret.from.external_secret.as_ref().map(|_| brought_by(&server.name, secret)))
}

/// The key of that Secret.
fn key_in<'s>(secret: &Secret, key: &'s SecretKey) -> Option<&'s str> {
    if secret.from.external_secret.is_some() { brought::key_in_secret(key) } else { key.key.as_deref() }
}

/// The volume with the files that the kubelet or a driver brings, if there are some.
fn files(server: &ValidatedServer, secret: &Secret) -> Option<Value> {
    if secret.from.csi.is_some() {
        return Some(brought::csi_volume(&secret_volume(secret), &brought_by(&server.name, secret)));
    }
    let item = |key: &SecretKey| Some(json!({"key": key_in(secret, key), "path": key.file.as_ref()?}));
    let (name, items) = (secret_name(server, secret)?, secret.keys.iter().filter_map(item).collect::<Vec<_>>());
    (!items.is_empty()).then(|| {
        json!({
            "name": secret_volume(secret),
            "secret": {"secretName": name, "defaultMode": 0o440, "items": items},
        })
    })
}

/// Name of the volume of a secret.
pub(super) fn secret_volume(secret: &Secret) -> String {
    format!("secret-{}", secret.name)
}

fn image_pull_secrets(server: &ValidatedServer) -> Option<Vec<Value>> {
    let names = &server.image.pull_secrets;
    (!names.is_empty()).then(|| names.iter().map(|name| json!({"name": name})).collect())
}

fn unless_empty(list: &[String]) -> Option<&[String]> {
    (!list.is_empty()).then_some(list)
}

/// Folder of a file.
pub(super) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("/", |(folder, _)| folder)
}
