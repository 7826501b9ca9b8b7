//! What is written twice says the same twice. `UPDATE=1` rewrites the copies.

use std::collections::BTreeMap;
use std::sync::Once;

use serde_json::Value;

use crate::tools::{documents, files, render, repository, text, variable};

/// Before the manifests of the plain installation.
const INTRODUCTION: &str = "\
# Cardea without Helm: the namespace, the CRDs and the operator, as the charts render them.
#   kubectl apply --server-side -f install.yaml
#
# The operator may use Secrets nowhere but in its own namespace yet. For each namespace in which McpServers shall live:
#   for role in cardea-server-secrets cardea-server-pods; do
#     kubectl create rolebinding $role -n NAMESPACE --clusterrole=$role --serviceaccount=cardea-system:cardea-operator
#   done
#
# Deleting this file's objects deletes the CRDs, and with them every McpServer.
---
apiVersion: v1
kind: Namespace
metadata:
  name: cardea-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
";

#[test]
fn the_copies_of_the_crds_and_the_plain_manifests_are_up_to_date() {
    let crds = crds();
    for (name, crd) in &crds {
        assert!(!crd.contains("{{"), "{name} holds what Helm takes for a template");
    }
    assert_eq!(crds.len(), files("charts/cardea-crds/files", ".yaml").len(), "charts/cardea-crds/files: too many");
    let install = [INTRODUCTION, &render("cardea-crds", &["keep=false"]), &render("cardea", &[])].concat();
    is_up_to_date("deploy/manifests/install.yaml", &install);
}

/// The CRDs, once their copies are checked or rewritten: tests run side by side, and some render the copies.
fn crds() -> Vec<(String, String)> {
    static COPIED: Once = Once::new();
    let crds = files("crds", ".yaml");
    COPIED.call_once(|| {
        for (name, crd) in &crds {
            is_up_to_date(&format!("charts/cardea-crds/files/{name}"), crd);
        }
    });
    crds
}

fn is_up_to_date(path: &str, wanted: &str) {
    if variable("UPDATE").is_some() {
        std::fs::write(repository(path), wanted).unwrap();
    }
    assert!(text(path) == wanted, "{path} is out of date: run this test again with UPDATE=1");
}

#[test]
fn the_chart_adds_nothing_to_the_crds_but_that_they_are_kept() {
    let named = |objects: &str| -> BTreeMap<String, Value> {
        documents(objects).into_iter().map(|crd| (crd["metadata"]["name"].to_string(), crd)).collect()
    };
    let own: BTreeMap<String, Value> = crds().iter().flat_map(|(_, crd)| named(crd)).collect();
    assert_eq!(named(&render("cardea-crds", &["keep=false"])), own);
    let mut kept = named(&render("cardea-crds", &[]));
    for crd in kept.values_mut() {
        let annotations = crd["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
        assert_eq!(annotations, serde_json::json!({"helm.sh/resource-policy": "keep"}));
    }
    assert_eq!(kept, own);
}

#[test]
fn charts_and_gitops_samples_bear_the_version_of_the_program() {
    let manifest = text("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .expect("the workspace has a version");
    for chart in ["cardea", "cardea-crds"] {
        let chart = &documents(&text(&format!("charts/{chart}/Chart.yaml")))[0];
        assert_eq!((chart["version"].as_str(), chart["appVersion"].as_str()), (Some(version), Some(version)));
    }
    let pinned = |file: &str, pointer: &str| -> Vec<String> {
        documents(&text(file))
            .iter()
            .filter_map(|document| Some(document.pointer(pointer)?.as_str()?.to_owned()))
            .collect()
    };
    assert_eq!(pinned("deploy/gitops/argo-cd.yaml", "/spec/source/targetRevision"), [version, version]);
    assert_eq!(pinned("deploy/gitops/flux.yaml", "/spec/chart/spec/version"), [version, version]);
}
