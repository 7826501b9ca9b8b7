//! The fetcher of secrets: a native sidecar of the agent's image. It alone has the identity for the stores; with the server it
//! shares a volume in memory for each secret, and with the proxy its report.

use cardea_api::v1alpha1::Secret;
use cardea_contract::pod;
use serde_json::{Value, json};

use super::agent::variable;
use super::digest;
use super::workload::{NOBODY, folder, hardened, secret_volume};
use crate::installation::Installation;
use crate::material::certificate_secret;
use crate::validate::{Fetched, StoreAccess, StoreToken, ValidatedServer};

const STORES_VOLUME: &str = "stores";
const KEY_VOLUME: &str = "secrets-key";
const REPORT_VOLUME: &str = "report";
/// Seconds that a token for a store is good for. The kubelet brings another before its end.
const TOKEN_SECONDS: i64 = 3600;
/// Holds two versions of the largest secret with all of its keys.
const SECRET_SIZE: &str = "8Mi";

/// The sidecar. Its startup probe holds the server back for as long as it takes.
pub(super) fn sidecar(server: &ValidatedServer, fetched: &Fetched, installation: &Installation) -> Value {
    let mut mounts = vec![
        json!({"name": STORES_VOLUME, "mountPath": pod::STORES_DIR, "readOnly": true}),
        json!({"name": KEY_VOLUME, "mountPath": folder(pod::SECRETS_KEY_FILE), "readOnly": true}),
        json!({"name": REPORT_VOLUME, "mountPath": folder(pod::SECRETS_REPORT)}),
    ];
    mounts.extend(delivered(server).map(|secret| mount(secret, false)));
    json!({
        "name": "cardea-secrets",
        "image": installation.agent_image,
        "imagePullPolicy": installation.agent_pull_policy,
        "args": ["fetch"],
        "env": [variable(pod::SECRETS_CONFIG, &json!(fetched.config))],
        "restartPolicy": "Always",
        "startupProbe": {
            "exec": {"command": ["/cardea-agent", "ready"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            // A store may be down for longer than anybody wants to say.
            "failureThreshold": i32::MAX,
        },
        "resources": {
            "requests": {"cpu": "10m", "memory": "16Mi"},
            // What it writes stays in memory.
            "limits": {"memory": "256Mi"},
        },
        // As the server, if it is known as whom: then nobody else need read the files.
        "securityContext": hardened(Some(server.workload.run_as_user.unwrap_or(NOBODY))),
        "volumeMounts": mounts,
    })
}

/// Where the server finds its secrets.
pub(super) fn server_mounts(server: &ValidatedServer) -> impl Iterator<Item = Value> {
    delivered(server).map(|secret| mount(secret, true))
}

/// Where the proxy finds the report.
pub(super) fn proxy_mount() -> Value {
    json!({"name": REPORT_VOLUME, "mountPath": folder(pod::SECRETS_REPORT), "readOnly": true})
}

pub(super) fn volumes(server: &ValidatedServer, fetched: &Fetched) -> Vec<Value> {
    let memory = |name: &str, size: &str| json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}});
    let sources: Vec<Value> = fetched.stores.iter().flat_map(|(name, access)| sources(name, access)).collect();
    let key = pod::SECRETS_KEY_FILE.rsplit('/').next();
    let mut volumes = vec![
        json!({"name": STORES_VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}),
        json!({
            "name": KEY_VOLUME,
            "secret": {
                "secretName": certificate_secret(&server.name),
                "defaultMode": 0o440,
                "items": [{"key": pod::SESSION_KEY, "path": key}],
            },
        }),
        memory(REPORT_VOLUME, "1Mi"),
    ];
    volumes.extend(delivered(server).map(|secret| memory(&secret_volume(secret), SECRET_SIZE)));
    volumes
}

/// Digest of the further authorities of all stores.
pub(super) fn authorities(fetched: &Fetched) -> Option<String> {
    let all: Vec<_> = fetched.stores.values().filter_map(|store| store.authorities.as_ref()).collect();
    (!all.is_empty()).then(|| digest(&json!(all)))
}

/// What lies in the folder of a store.
fn sources(name: &str, access: &StoreAccess) -> Vec<Value> {
    let token = format!("{name}/{}", pod::STORE_TOKEN);
    let token = match &access.token {
        StoreToken::ServiceAccount(audience) => json!({
            "serviceAccountToken": {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": token},
        }),
        StoreToken::Secret { name, key } => json!({"secret": {"name": name, "items": [{"key": key, "path": token}]}}),
    };
    let authorities = access.authorities.as_ref().map(|(map, _)| {
        let path = format!("{name}/{}", pod::STORE_CA);
        json!({"configMap": {"name": map, "items": [{"key": "ca.crt", "path": path}]}})
    });
    std::iter::once(token).chain(authorities).collect()
}

fn mount(secret: &Secret, read_only: bool) -> Value {
    let path = format!("{}/{}", pod::SECRETS_DIR, secret.name);
    json!({"name": secret_volume(secret), "mountPath": path, "readOnly": read_only.then_some(true)})
}

/// The secrets that it brings.
fn delivered(server: &ValidatedServer) -> impl Iterator<Item = &Secret> {
    let fetched = server.fetched.is_some();
    server.secrets.iter().filter(move |secret| fetched && secret.store_ref.is_some())
}
