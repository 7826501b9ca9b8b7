//! The pods: the proxy as a native sidecar, the server behind it, both within the *restricted* Pod Security Standard.

use cardea_api::v1alpha1::Secret;
use cardea_contract::pod;
use serde_json::{Value, json};

use super::{agent, config_map, fetcher, selector, trust_config_map};
use crate::children::{MANAGED_BY, SERVER_LABEL};
use crate::installation::Installation;
use crate::material::{certificate_secret, service_account};
use crate::validate::{ProxySecret, ValidatedServer};

/// User and group of the proxy, and group of every mounted file: `nonroot` of distroless images.
pub(super) const NOBODY: i64 = 65532;

pub(super) fn deployment(server: &ValidatedServer, installation: &Installation) -> Value {
    json!({"spec": {
        "replicas": server.workload.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector(&server.name)},
        "template": {
            "metadata": {"labels": {
                MANAGED_BY.0: MANAGED_BY.1,
                SERVER_LABEL: server.name,
                "app.kubernetes.io/name": "mcp-server",
                "app.kubernetes.io/instance": server.name,
            }},
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
    env.extend(server.secrets.iter().flat_map(secret_env));
    let mut mounts = vec![json!({"name": "tmp", "mountPath": "/tmp"})];
    mounts.extend(server.secrets.iter().filter(|secret| has_files(secret)).map(|secret| {
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
    volumes.extend(server.secrets.iter().filter(|secret| has_files(secret)).map(|secret| {
        let items: Vec<Value> =
            secret.keys.iter().filter_map(|key| Some(json!({"key": key.key, "path": key.file.as_ref()?}))).collect();
        json!({
            "name": secret_volume(secret),
            "secret": {"secretName": secret_name(secret), "defaultMode": 0o440, "items": items},
        })
    }));
    volumes.extend(server.serve.iter().flat_map(agent::volumes));
    volumes.extend(server.fetched.iter().flat_map(|fetched| fetcher::volumes(server, fetched)));
    volumes
}

fn credential_volume(secret: &ProxySecret) -> String {
    format!("credential-{}", folder(secret.file))
}

fn secret_env(secret: &Secret) -> impl Iterator<Item = Value> {
    let name = secret_name(secret);
    secret.keys.iter().filter_map(move |key| {
        Some(json!({
            "name": key.env.as_ref()?,
            "valueFrom": {"secretKeyRef": {"name": name?, "key": key.key}},
        }))
    })
}

/// The Kubernetes Secret that it is in, if it is in one.
fn secret_name(secret: &Secret) -> Option<&str> {
    secret.from.kubernetes_secret.as_ref().map(|source| source.name.as_str())
}

pub(super) fn secret_volume(secret: &Secret) -> String {
    format!("secret-{}", secret.name)
}

/// Whether the kubelet brings files of it.
fn has_files(secret: &Secret) -> bool {
    secret_name(secret).is_some() && secret.keys.iter().any(|key| key.file.is_some())
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
