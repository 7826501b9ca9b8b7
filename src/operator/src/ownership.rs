//! Whether an object still says what we applied, told from its metadata alone.
//!
//! The API server keeps, per field manager, the set of fields whose value that manager set last (KEP-555). Whoever
//! changes or removes one of ours takes it out of our set. So an object says what we applied as long as our set covers
//! it, and no content has to be watched, fetched or compared.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

/// The field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "cardea";

/// Our set of fields, as compact JSON, from an object's `metadata.managedFields`.
pub fn our_fields(managed: &[ManagedFieldsEntry]) -> Option<Box<str>> {
    managed
        .iter()
        .find(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.is_none()
        })
        .and_then(|entry| serde_json::to_string(&entry.fields_v1.as_ref()?.0).ok())
        .map(String::into_boxed_str)
}

/// Whether our set of fields covers `body`, an object as we apply it.
pub fn covers(fields: Option<&str>, body: &Value) -> bool {
    let Some(fields) = fields.and_then(|fields| serde_json::from_str::<Value>(fields).ok()) else {
        return false;
    };
    let Value::Object(members) = body else { return false };
    members.iter().all(|(name, value)| match name.as_str() {
        "apiVersion" | "kind" => true,
        "metadata" => ["labels", "annotations", "ownerReferences"].iter().all(|part| {
            value.get(part).is_none_or(|value| {
                fields.pointer(&format!("/f:metadata/f:{part}")).is_some_and(|owned| holds(owned, value))
            })
        }),
        _ => fields.get(format!("f:{name}")).is_some_and(|owned| holds(owned, value)),
    })
}

/// An empty set is a leaf: the value is owned whole. Otherwise members are `f:NAME`, elements of keyed lists `k:{…}`,
/// elements of sets `v:…`.
fn holds(owned: &Value, value: &Value) -> bool {
    let Value::Object(set) = owned else { return false };
    if set.is_empty() {
        return true;
    }
    match value {
        Value::Object(members) => {
            members.iter().all(|(name, value)| set.get(&format!("f:{name}")).is_some_and(|owned| holds(owned, value)))
        }
        Value::Array(elements) => {
            elements.iter().all(|element| set.iter().any(|(name, owned)| names(name, element) && holds(owned, element)))
        }
        _ => false,
    }
}

/// Whether a path element of a list names this element. A key that the element leaves out was defaulted.
fn names(path: &str, element: &Value) -> bool {
    let parse = |json: &str| serde_json::from_str::<Value>(json).ok();
    if let Some(keys) = path.strip_prefix("k:").and_then(parse) {
        keys.as_object()
            .is_some_and(|keys| keys.iter().all(|(name, wanted)| element.get(name).is_none_or(|found| found == wanted)))
    } else if let Some(wanted) = path.strip_prefix("v:").and_then(parse) {
        *element == wanted
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields() -> String {
        json!({
            "f:metadata": {
                "f:labels": {"f:app": {}},
                "f:ownerReferences": {"k:{\"uid\":\"u1\"}": {}},
            },
            "f:spec": {
                "f:selector": {},
                "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"web\"}": {
                        ".": {}, "f:name": {}, "f:image": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    },
                }}},
            },
        })
        .to_string()
    }

    fn body() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "demo", "labels": {"app": "web"}, "ownerReferences": [{"uid": "u1"}]},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [
                    {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]},
                ]}},
            },
        })
    }

    #[test]
    fn what_we_applied_is_covered() {
        assert!(covers(Some(&fields()), &body()));
    }

    #[test]
    fn a_field_that_somebody_took_is_not() {
        for (taken, by) in [("\"f:image\":{}", "image"), ("\"f:app\":{}", "label"), ("\"f:selector\":{}", "selector")] {
            let fields = fields().replace(&format!("{taken},"), "").replace(taken, "\"f:other\":{}");
            assert!(!covers(Some(&fields), &body()), "{by}");
        }
    }

    #[test]
    fn an_element_that_is_gone_is_not() {
        let mut body = body();
        body["spec"]["template"]["spec"]["containers"][0]["name"] = json!("other");
        assert!(!covers(Some(&fields()), &body));
        assert!(!covers(None, &body));
    }
}
