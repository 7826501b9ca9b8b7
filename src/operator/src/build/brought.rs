//! Secrets that others bring: an ExternalSecret of External Secrets Operator, a SecretProviderClass of the Secrets Store CSI
//! driver. What they are told is theirs to judge.

use cardea_api::v1alpha1::{Csi, ExternalSecret, Secret, SecretKey};
use serde_json::{Value, json};

use super::{Object, object};
use crate::children::Kind;
use crate::validate::ValidatedServer;

/// Seconds between two looks of External Secrets Operator.
const REFRESH_SECONDS: i32 = 3600;

/// Name of the child that a secret needs, and of the Secret that comes of it. No server has a dot in its name, so no other has an
/// object of this name.
pub fn brought_by(server: &str, secret: &Secret) -> String {
    format!("{server}.{}", secret.name)
}

/// The children that the secrets of a server need.
pub(super) fn objects(server: &ValidatedServer) -> Vec<Object> {
    let child = |secret: &Secret| {
        let name = brought_by(&server.name, secret);
        let (kind, spec) = match (&secret.from.external_secret, &secret.from.csi) {
            (Some(asked), _) => (Kind::ExternalSecret, external_secret(secret, asked, &name)),
            (None, Some(asked)) => (Kind::SecretProviderClass, provider_class(asked)),
            (None, None) => return None,
        };
        Some(object(server.owner(), kind, &name, json!({"spec": spec})))
    };
    server.secrets.iter().filter_map(child).collect()
}

fn external_secret(secret: &Secret, asked: &ExternalSecret, target: &str) -> Value {
    let data = |key: &SecretKey| {
        let remote = json!({"key": asked.remote_key, "property": key.key});
        json!({"secretKey": key_in_secret(key), "remoteRef": remote})
    };
    json!({
        "refreshInterval": format!("{}s", secret.refresh_seconds.unwrap_or(REFRESH_SECONDS)),
        "secretStoreRef": {
            "name": asked.secret_store_ref.name,
            "kind": asked.secret_store_ref.kind.unwrap_or_default().as_str(),
        },
        // What its provider no longer has stays, as everywhere.
        "target": {"name": target, "creationPolicy": "Owner", "deletionPolicy": "Retain"},
        "data": secret.keys.iter().map(data).collect::<Vec<_>>(),
    })
}

/// Under which key of the Secret a value comes: that of the place it goes to, since a property may be called anything.
pub(super) fn key_in_secret(key: &SecretKey) -> Option<&str> {
    key.file.as_deref().or(key.env.as_deref())
}

fn provider_class(asked: &Csi) -> Value {
    json!({"provider": asked.provider, "parameters": asked.parameters})
}

/// The volume with the files of a SecretProviderClass.
pub(super) fn csi_volume(volume: &str, class: &str) -> Value {
    json!({"name": volume, "csi": {
        "driver": "secrets-store.csi.k8s.io",
        "readOnly": true,
        "volumeAttributes": {"secretProviderClass": class},
    }})
}
