//! The kinds of External Secrets Operator and of the Secrets Store CSI driver, as far as a server's children use them: an API
//! server that knows these refuses fields that they have not.

use serde_json::{Value, json};

/// Their CRDs.
pub fn crds() -> [Value; 2] {
    [
        crd(
            "external-secrets.io",
            "externalsecrets",
            "ExternalSecret",
            &json!({
                "refreshInterval": {"type": "string"},
                "secretStoreRef": {"type": "object", "properties": {"name": {"type": "string"}, "kind": {"type": "string"}}},
                "target": {"type": "object", "properties": {
                    "name": {"type": "string"}, "creationPolicy": {"type": "string"}, "deletionPolicy": {"type": "string"},
                }},
                "data": {"type": "array", "items": {"type": "object", "properties": {
                    "secretKey": {"type": "string"},
                    "remoteRef": {"type": "object", "properties": {"key": {"type": "string"}, "property": {"type": "string"}}},
                }}},
            }),
        ),
        crd(
            "secrets-store.csi.x-k8s.io",
            "secretproviderclasses",
            "SecretProviderClass",
            &json!({
                "provider": {"type": "string"},
                "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
            }),
        ),
    ]
}

fn crd(group: &str, plural: &str, kind: &str, spec: &Value) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}
