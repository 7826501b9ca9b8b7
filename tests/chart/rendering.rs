//! What values do to the objects.

use serde_json::{Value, json};

use crate::tools::{document, documents, render};

fn objects(settings: &[&str]) -> Vec<Value> {
    documents(&render("cardea", settings))
}

fn container(settings: &[&str]) -> Value {
    document(&objects(settings), "Deployment", "cardea-operator")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn images_are_named_by_registry_and_tag_or_by_digest() {
    let version = env!("CARGO_PKG_VERSION");
    let digest = format!("sha256:{}", "a".repeat(64));
    for (settings, image) in [
        (vec![], format!("cardea/operator:{version}")),
        (vec!["image.tag=dev".to_owned()], "cardea/operator:dev".to_owned()),
        (vec!["image.registry=registry.example".to_owned()], format!("registry.example/cardea/operator:{version}")),
        (vec!["image.tag=dev".to_owned(), format!("image.digest={digest}")], format!("cardea/operator@{digest}")),
    ] {
        let own: Vec<&str> = settings.iter().map(String::as_str).collect();
        assert_eq!(container(&own)["image"], image.as_str());
        for (part, variable) in [("proxy", "CARDEA_PROXY_IMAGE"), ("agent", "CARDEA_AGENT_IMAGE")] {
            let its: Vec<String> = settings.iter().map(|setting| format!("{part}.{setting}")).collect();
            let its: Vec<&str> = its.iter().map(String::as_str).collect();
            let env = container(&its)["env"].clone();
            let named = env.as_array().unwrap().iter().find(|found| found["name"] == variable).unwrap();
            assert_eq!(named["value"], image.replace("operator", part).as_str());
        }
    }
}

#[test]
fn a_budget_is_made_only_where_it_does_not_block_a_drain() {
    let budgets =
        |settings: &[&str]| objects(settings).iter().filter(|object| object["kind"] == "PodDisruptionBudget").count();
    assert_eq!(budgets(&[]), 1);
    assert_eq!(budgets(&["replicas=1"]), 0);
    assert_eq!(budgets(&["podDisruptionBudget.enabled=false"]), 0);
}

#[test]
fn nobody_reaches_the_operator_unless_it_is_named() {
    let ingress =
        |settings: &[&str]| document(&objects(settings), "NetworkPolicy", "cardea-operator")["spec"]["ingress"].clone();
    assert_eq!(ingress(&[]), json!([]));
    let from = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team";
    assert_eq!(
        ingress(&[&format!("{from}=monitoring")]),
        json!([{
            "from": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
            "ports": [{"port": 9090, "protocol": "TCP"}],
        }])
    );
}

#[test]
fn the_operator_reaches_dns_the_api_server_and_proxies() {
    let open = |settings: &[&str]| {
        document(&objects(settings), "NetworkPolicy", "cardea-operator")["spec"]["egress"].as_array().unwrap().clone()
    };
    let [dns, api_server, proxies] = open(&[]).try_into().unwrap();
    assert_eq!(dns["to"][0]["podSelector"]["matchLabels"]["k8s-app"], "kube-dns");
    assert_eq!(api_server["to"], Value::Null);
    let ports: Vec<_> = api_server["ports"].as_array().unwrap().iter().map(|port| port["port"].clone()).collect();
    assert_eq!(ports, [443, 6443]);
    assert_eq!(proxies["to"][0]["podSelector"]["matchLabels"], json!({"app.kubernetes.io/managed-by": "cardea"}));
    let narrowed = open(&["networkPolicy.apiServer.to[0].ipBlock.cidr=192.0.2.10/32"]);
    assert_eq!(narrowed[1]["to"], json!([{"ipBlock": {"cidr": "192.0.2.10/32"}}]));
}

/// The NetworkPolicy of each server admits the operator by namespace and label; the metrics Service finds it the same way.
#[test]
fn the_pods_bear_the_label_that_servers_admit() {
    let objects = objects(&["metrics.service.enabled=true"]);
    let label = json!("cardea-operator");
    let pods = &document(&objects, "Deployment", "cardea-operator")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pods["app.kubernetes.io/name"], label);
    let service = document(&objects, "Service", "cardea-operator-metrics");
    assert_eq!(service["spec"]["selector"], json!({"app.kubernetes.io/name": label}));
}
