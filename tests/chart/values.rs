//! The values: what they may be, and that nothing else is taken.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::tools::{documents, helm, render, render_refused, repository, succeed, text};

#[test]
fn helm_finds_nothing_to_complain_about() {
    for chart in ["cardea", "cardea-crds"] {
        let chart = repository("charts").join(chart);
        succeed(helm(&["lint", "--strict", "--kube-version", "1.33.0"]).arg(chart), None);
    }
}

#[test]
fn a_value_that_does_not_exist_or_has_the_wrong_type_is_refused() {
    for (chart, setting, named) in [
        ("cardea", "replica=3", "replica"),
        ("cardea", "image.name=x", "name"),
        ("cardea", "networkPolicy.egress=x", "egress"),
        ("cardea", "replicas=many", "replicas"),
        ("cardea", "namespaces=tools", "namespaces"),
        ("cardea", "namespaces={Not A Name}", "namespaces"),
        ("cardea", "image.digest=sha1:abc", "digest"),
        ("cardea", "image.pullPolicy=Sometimes", "pullPolicy"),
        ("cardea", "metrics.service.enabled=perhaps", "enabled"),
        ("cardea-crds", "crds=x", "crds"),
        ("cardea-crds", "keep=never", "keep"),
    ] {
        let refusal = render_refused(chart, &[setting]);
        assert!(refusal.contains("don't meet the specifications of the schema"), "{setting}: {refusal}");
        assert!(refusal.contains(named), "{setting}: {refusal}");
    }
}

/// A value without a schema would be refused, a schema without a value is one that nobody finds.
#[test]
fn values_and_their_schema_have_the_same_members() {
    fn compare(path: &str, values: &Value, schema: &Value, root: &Value) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else {
            return;
        };
        // Objects of Kubernetes are empty by default.
        if values.is_empty() {
            return;
        }
        assert_eq!(schema["additionalProperties"], false, "{path} is open");
        let known: BTreeSet<&String> = properties.keys().filter(|name| *name != "global").collect();
        let given: BTreeSet<&String> = values.keys().collect();
        assert_eq!(given, known, "{path}");
        for (name, value) in values {
            compare(&format!("{path}.{name}"), value, &properties[name], root);
        }
    }
    for chart in ["cardea", "cardea-crds"] {
        let values = &documents(&text(&format!("charts/{chart}/values.yaml")))[0];
        let schema: Value = serde_json::from_str(&text(&format!("charts/{chart}/values.schema.json"))).unwrap();
        compare(chart, values, &schema, &schema);
    }
}

#[test]
fn a_chart_can_be_part_of_another_one() {
    render("cardea", &["global.registry=x"]);
    render("cardea-crds", &["global.registry=x"]);
}
