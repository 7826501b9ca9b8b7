//! What the API server itself refuses by the admission policies of the chart.

use serde_json::{Value, json};

use crate::cluster::{install, install_crds};
use crate::tools::{SYSTEM, cluster, eventually, kubectl, kubectl_refused, kubectl_try, kubectl_with};

const CREATE: [&str; 3] = ["create", "--dry-run=server", "--filename=-"];

fn policy(access: &Value) -> String {
    let mut spec = json!({"targetRefs": [{"name": "notes"}]});
    spec.as_object_mut().unwrap().extend(access.as_object().unwrap().clone());
    json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy",
        "metadata": {"name": "platform", "namespace": "tools"}, "spec": spec,
    })
    .to_string()
}

fn server(access: &Value) -> String {
    json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "notes", "namespace": "tools"},
        "spec": {"source": {"image": {"ref": "registry.example/notes:1"}}, "access": access},
    })
    .to_string()
}

fn condition(members: &Value) -> Value {
    let mut condition = json!({"path": "/env"});
    condition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    json!({"rules": [{
        "name": "deploy", "principals": [{"anyAuthenticated": true}], "tools": ["deploy"], "arguments": [condition],
    }]})
}

/// Policies come into force some moments after they are made.
fn once_refused(manifest: &str) -> String {
    eventually("the admission policy is in force", || match kubectl_try(&CREATE, manifest) {
        Err(refusal) => Ok(refusal),
        Ok(said) => Err(said),
    })
}

#[test]
fn rules_that_make_no_sense_are_refused_when_they_are_applied() {
    let Some(_turn) = cluster() else { return };
    kubectl(&["create", "namespace", "tools"]);
    install_crds();
    install("cardea", &["namespaces={tools}"]);
    once_refused(&policy(&condition(&json!({"equals": {"a": 1}}))));
    let bundle = |named: &str| {
        let rule = json!({"name": "staff", "principals": [{"group": "staff"}], "scopeBundles": [named]});
        json!({"scopeBundles": [{"scope": "files-read", "tools": ["read"]}], "rules": [rule]})
    };
    for (access, says) in [
        (condition(&json!({"equals": {"a": 1}})), "equals compares with a text"),
        (condition(&json!({"equals": ["a"]})), "equals compares with a text"),
        (condition(&json!({"in": ["a", null]})), "in lists texts"),
        (condition(&json!({"min": 3, "max": 2.5})), "min is above max"),
        (condition(&json!({"size": {"min": 3, "max": 2}})), "size.min is above size.max"),
        (condition(&json!({"cidr": "10.0.0.0/33"})), "cidr is no network"),
        (condition(&json!({"pathUnder": "data"})), "pathUnder is a folder by its absolute path"),
        (bundle("files"), "scopeBundles names a scope that is not one of the scopeBundles"),
    ] {
        for manifest in [policy(&access), server(&access)] {
            let refusal = kubectl_refused(&CREATE, &manifest);
            assert!(refusal.contains(says), "{access}: {refusal}");
            assert!(
                refusal.contains("rule deploy: arguments at /env") || access["scopeBundles"].is_array(),
                "{refusal}"
            );
        }
    }
    for access in [
        condition(&json!({"equals": "production"})),
        condition(&json!({"equals": 1.5})),
        condition(&json!({"in": ["a", 1, true]})),
        condition(&json!({"min": 2, "max": 2, "size": {"max": 2}})),
        condition(&json!({"cidr": "fd00::/8", "pathUnder": "/"})),
        bundle("files-read"),
        json!({}),
    ] {
        for manifest in [policy(&access), server(&access)] {
            kubectl_with(&CREATE, &manifest);
        }
    }
}

#[test]
fn a_platform_may_keep_rules_to_policies() {
    let Some(_turn) = cluster() else { return };
    kubectl(&["create", "namespace", "tools"]);
    install_crds();
    install("cardea", &["namespaces={tools}", "admission.forbidInlineRules=true"]);
    let access = condition(&json!({"equals": "production"}));
    let refusal = once_refused(&server(&access));
    assert!(refusal.contains("this cluster says in McpAccessPolicies who may use what"), "{refusal}");
    kubectl_with(&CREATE, &policy(&access));
    // What was there before goes as it came.
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    let mut former: Value = serde_json::from_str(&server(&json!({}))).unwrap();
    former["spec"].as_object_mut().unwrap().remove("access");
    former["metadata"]["finalizers"] = held["metadata"]["finalizers"].clone();
    kubectl_with(&["create", "--filename=-"], &former.to_string());
    install("cardea", &["namespaces={tools}"]);
    let rules = format!("--patch={}", json!({"spec": {"access": access}}));
    let patch = ["patch", "mcpservers.cardea.dev", "notes", "--namespace=tools", "--type=merge"];
    eventually("rules may stand there", || kubectl_try(&[&patch[..], &[&rules]].concat(), ""));
    install("cardea", &["namespaces={tools}", "admission.forbidInlineRules=true"]);
    let touched = r#"--patch={"metadata":{"labels":{"a":"b"}}}"#;
    eventually("they may not any more", || {
        match kubectl_try(&[&patch[..], &[touched, "--dry-run=server"]].concat(), "") {
            Err(refusal) => Ok(refusal),
            Ok(said) => Err(said),
        }
    });
    kubectl(&["delete", "mcpservers.cardea.dev", "notes", "--namespace=tools", "--wait=false"]);
    kubectl(&[&patch[..], &[r#"--patch={"metadata":{"finalizers":null}}"#]].concat());
}

#[test]
fn of_a_pod_the_operator_changes_one_annotation_and_no_more() {
    let Some(_turn) = cluster() else { return };
    kubectl(&["create", "namespace", "tools"]);
    install_crds();
    install("cardea", &["namespaces={tools}"]);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "tools", "labels": {"app": "web"}, "annotations": {"kept": "yes"}},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "a", "image": "registry.example/a:1"}]},
    });
    eventually("the pod is admitted", || kubectl_try(&["create", "--filename=-"], &pod.to_string()));
    let account = format!("--as=system:serviceaccount:{SYSTEM}:cardea-operator");
    // kubectl looks before it patches; the operator has no right to.
    let looks = format!("--serviceaccount={SYSTEM}:cardea-operator");
    kubectl(&["create", "rolebinding", "looks", "--clusterrole=view", &looks, "--namespace=tools"]);
    let attempt = |patch: &Value| {
        let patch = format!("--patch={patch}");
        kubectl_try(
            &["patch", "pod", "web", "--namespace=tools", "--dry-run=server", "--type=merge", &patch, &account],
            "",
        )
    };
    let told = json!({"metadata": {"annotations": {"cardea.dev/configuration-changed": "now"}}});
    attempt(&told).unwrap();
    for forbidden in [
        json!({"metadata": {"annotations": {"other": "now"}}}),
        json!({"metadata": {"annotations": {"kept": null}}}),
        json!({"metadata": {"annotations": {"kept": "no", "cardea.dev/configuration-changed": "then"}}}),
        json!({"metadata": {"labels": {"app": "other"}}}),
        json!({"metadata": {"labels": {"more": "x"}}}),
        json!({"metadata": {"finalizers": ["example.com/x"]}}),
        json!({"spec": {"containers": [{"name": "a", "image": "registry.example/evil:1"}]}}),
        json!({"spec": {"activeDeadlineSeconds": 1}}),
    ] {
        let refusal = eventually("it is refused", || match attempt(&forbidden) {
            Err(refusal) => Ok(refusal),
            Ok(said) => Err(said),
        });
        assert!(refusal.contains("the operator"), "{forbidden}: {refusal}");
    }
    // Whoever may change pods by another right still may.
    kubectl(&["label", "pod", "web", "--namespace=tools", "app=else", "--overwrite"]);
}
