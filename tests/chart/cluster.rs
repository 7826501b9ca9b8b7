//! The charts and the examples on a real API server.

use std::process::Command;

use serde_json::{Value, json};

use crate::tools::{
    SYSTEM, cluster, document, documents, files, helm, kubectl, kubectl_refused, kubectl_with, object, render,
    repository, succeed, text,
};

/// Installs or upgrades a chart, as of `helm upgrade --install`.
pub(crate) fn install(chart: &str, settings: &[&str]) {
    let mut helm = helm(&["upgrade", "--install", chart, "--namespace", SYSTEM, "--create-namespace"]);
    helm.arg(repository("charts").join(chart));
    settings.iter().for_each(|setting| {
        helm.args(["--set", setting]);
    });
    succeed(&mut helm, None);
}

/// Installs the CRDs and waits until the API server serves them.
pub(crate) fn install_crds() {
    install("cardea-crds", &[]);
    await_crds();
}

fn await_crds() {
    let crds = ["mcpservers.cardea.dev", "mcpauthpolicies.cardea.dev"];
    kubectl(&[&["wait", "--for=condition=Established", "--timeout=30s", "crd"], &crds[..]].concat());
}

fn uninstall(release: &str) {
    succeed(&mut helm(&["uninstall", release, "--namespace", SYSTEM, "--wait"]), None);
}

#[test]
fn the_crds_are_upgraded_and_outlive_their_release() {
    let Some(_turn) = cluster() else { return };
    // An older chart, whose CRD has another short name.
    let older = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("older-crds");
    let _ = std::fs::remove_dir_all(&older);
    succeed(Command::new("cp").arg("-r").arg(repository("charts/cardea-crds")).arg(&older), None);
    let file = older.join("files/cardea.dev_mcpservers.yaml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace("- cmcp\n", "- former\n")).unwrap();
    let mut first = helm(&["install", "cardea-crds", "--namespace", SYSTEM, "--create-namespace"]);
    succeed(first.arg(&older), None);
    let short_names = || object(&["crd", "mcpservers.cardea.dev"]).unwrap()["spec"]["names"]["shortNames"].clone();
    assert_eq!(short_names(), json!(["former"]));
    await_crds();
    kubectl(&["create", "namespace", "tools"]);
    kubectl_with(&["apply", "--filename=-"], &text("deploy/examples/smallest.yaml"));

    install_crds();
    assert_eq!(short_names(), json!(["cmcp"]));
    install("cardea", &[]);
    uninstall("cardea");
    uninstall("cardea-crds");
    object(&["mcpservers.cardea.dev", "notes", "--namespace=tools"]).unwrap();
    // What was left behind is taken up again.
    install_crds();
}

#[test]
fn an_upgrade_gives_and_takes_the_right_on_a_namespaces_secrets() {
    let Some(_turn) = cluster() else { return };
    kubectl(&["create", "namespace", "tools"]);
    let binding = || object(&["rolebinding", "cardea-server-secrets", "--namespace=tools"]);
    let account = format!("--as=system:serviceaccount:{SYSTEM}:cardea-operator");
    let may = |namespace: &str| {
        let mut asked = Command::new("kubectl");
        asked.args(["auth", "can-i", "list", "secrets", "--quiet", &account, "--namespace", namespace]);
        asked.status().unwrap().success()
    };
    install_crds();
    install("cardea", &[]);
    assert!(binding().is_err() && !may("tools"));
    install("cardea", &["namespaces={tools}"]);
    assert!(binding().is_ok() && may("tools"));
    assert!(!may("default") && !may("kube-system") && !may(SYSTEM));
    install("cardea", &["namespaces=null"]);
    assert!(binding().is_err() && !may("tools"));
}

#[test]
fn the_pods_of_the_operator_are_admitted_where_restricted_is_enforced() {
    let Some(_turn) = cluster() else { return };
    install("cardea", &[]);
    kubectl(&["label", "namespace", SYSTEM, "pod-security.kubernetes.io/enforce=restricted"]);
    let objects = documents(&render("cardea", &[]));
    let template = &document(&objects, "Deployment", "cardea-operator")["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "operator", "namespace": SYSTEM, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    });
    let create = ["create", "--dry-run=server", "--validate=strict", "--filename=-"];
    kubectl_with(&create, &pod.to_string());
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = Value::Bool(true);
    let refusal = kubectl_refused(&create, &pod.to_string());
    assert!(refusal.contains("violates PodSecurity"), "{refusal}");
}

#[test]
fn every_value_renders_to_objects_that_the_api_server_takes() {
    let Some(_turn) = cluster() else { return };
    kubectl(&["create", "namespace", SYSTEM]);
    kubectl(&["create", "namespace", "tools"]);
    let everything = [
        "namespaces={tools}",
        "imagePullSecrets[0].name=registry",
        "podDisruptionBudget.minAvailable=50%",
        "networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus",
        "networkPolicy.apiServer.to[0].ipBlock.cidr=192.0.2.10/32",
        "networkPolicy.extraEgress[0].to[0].ipBlock.cidr=169.254.20.10/32",
        "networkPolicy.extraEgress[0].ports[0].port=53",
        "metrics.service.enabled=true",
        "priorityClassName=system-cluster-critical",
        "nodeSelector.disk=fast",
        "tolerations[0].operator=Exists",
        "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
        "resources.limits.cpu=1",
    ];
    for settings in [&[][..], &everything[..]] {
        kubectl_with(&DRY_RUN, &render("cardea", settings));
    }
}

const DRY_RUN: [&str; 5] = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-"];

#[test]
fn every_example_is_taken_by_the_api_server() {
    let Some(_turn) = cluster() else { return };
    install_crds();
    kubectl(&["create", "namespace", "tools"]);
    kubectl(&["label", "namespace", "tools", "pod-security.kubernetes.io/enforce=restricted"]);
    for (name, example) in files("deploy/examples", ".yaml") {
        assert!(example.starts_with("# "), "{name} does not say what it is for");
        // A dry run leaves nothing behind, and a pod is refused without its account.
        for account in documents(&example).iter().filter(|object| object["kind"] == "ServiceAccount") {
            kubectl_with(&["apply", "--filename=-"], &account.to_string());
        }
        kubectl_with(&DRY_RUN, &example);
        let refusal = kubectl_refused(&DRY_RUN, &example.replace("      ref:", "      reference:"));
        assert!(refusal.contains("reference"), "{name}: {refusal}");
    }
}

#[test]
fn the_plain_manifests_install_the_same_without_helm() {
    let Some(_turn) = cluster() else { return };
    let file = repository("deploy/manifests/install.yaml");
    let file = file.to_str().unwrap();
    kubectl(&["apply", "--server-side", "--validate=strict", "--filename", file]);
    await_crds();
    object(&["deployment", "cardea-operator", "--namespace", SYSTEM]).unwrap();
    kubectl(&["create", "namespace", "tools"]);
    // The command that the file names.
    kubectl(&[
        "create",
        "rolebinding",
        "cardea-server-secrets",
        "--namespace=tools",
        "--clusterrole=cardea-server-secrets",
        "--serviceaccount=cardea-system:cardea-operator",
    ]);
    kubectl(&["delete", "--filename", file]);
}
