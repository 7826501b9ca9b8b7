//! What the operator may do is what it does: read off the chart, and held against what a real API server wrote down about
//! a real operator under the chart's ServiceAccount.

use std::collections::BTreeSet;

use cardea_tests::others;
use serde_json::{Value, json};

use crate::cluster::{install, install_crds};
use crate::operator::{Asked, Operator, asked, audited};
use crate::tools::{
    SYSTEM, cluster, document, documents, eventually, files, kubectl, kubectl_with, object, render, repository, text,
    variable,
};

#[test]
fn every_rule_says_which_code_needs_it() {
    let mut rules = 0;
    for template in ["operator_rights", "user_rights"] {
        let text = text(&format!("charts/cardea/templates/{template}.yaml"));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.starts_with("- apiGroups:") && !line.starts_with("- nonResourceURLs:") {
                continue;
            }
            rules += 1;
            let comment: Vec<&str> =
                lines[..number].iter().rev().take_while(|line| line.starts_with("# ")).copied().collect();
            let named: Vec<&str> = comment
                .iter()
                .flat_map(|line| line.split([' ', ',', ':', '(']))
                .filter(|word| word.starts_with("src/"))
                .collect();
            assert!(!named.is_empty(), "{template}: {line} names no code");
            for file in named {
                assert!(repository(file).is_file(), "{template}: {line}: there is no {file}");
            }
        }
    }
    let rendered: usize =
        documents(&render("cardea", &[])).iter().filter_map(|object| Some(object["rules"].as_array()?.len())).sum();
    assert_eq!(rules, rendered, "a rule hides from this test");
}

#[test]
fn nobody_gets_a_right_on_all_secrets_or_on_everything() {
    let objects = documents(&render("cardea", &["namespaces={tools,agents,tools}"]));
    let words = |rule: &Value, member: &str| -> Vec<String> {
        rule[member].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let rules = |role: &Value| role["rules"].as_array().unwrap().clone();
    for rule in objects.iter().filter(|object| object["rules"].is_array()).flat_map(rules) {
        for member in ["apiGroups", "resources", "verbs", "nonResourceURLs"] {
            assert!(words(&rule, member).iter().all(|word| !word.contains('*')), "a wildcard: {rule}");
        }
        for verb in ["escalate", "bind", "impersonate"] {
            assert!(!words(&rule, "verbs").contains(&verb.to_owned()), "{verb}: {rule}");
        }
    }
    let on_secrets = |role: &Value| {
        rules(role).iter().any(|rule| words(rule, "resources").iter().any(|resource| resource.starts_with("secrets")))
    };
    for binding in objects.iter().filter(|object| object["kind"] == "ClusterRoleBinding") {
        let role = document(&objects, "ClusterRole", binding["roleRef"]["name"].as_str().unwrap());
        assert!(!on_secrets(role), "bound in the whole cluster: {role}");
    }
    for role in objects.iter().filter(|object| object["metadata"]["labels"].to_string().contains("aggregate-to-")) {
        assert!(!on_secrets(role), "aggregated: {role}");
    }
    let bound: Vec<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "RoleBinding" && object["roleRef"]["name"] == "cardea-server-secrets")
        .map(|binding| binding["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(bound, ["tools", "agents"]);
    let nowhere = render("cardea", &[]);
    assert!(!documents(&nowhere).iter().any(|object| object["roleRef"]["name"] == "cardea-server-secrets"));
}

/// Rights that no request of the operator's own shows.
const UNSEEN: [(&str, &str, &str); 2] = [
    // Asked for by the admission plugin OwnerReferencesPermissionEnforcement, which few clusters run.
    ("everywhere", "mcpservers/finalizers", "update"),
    // Only a proxy that runs can be behind: the test of a node sees it used.
    ("namespaces of servers", "pods", "patch"),
];

#[test]
fn the_operator_uses_every_right_it_has_and_lacks_none() {
    let Some(_turn) = cluster() else { return };
    let program = variable("CARDEA_OPERATOR_BIN")
        .or_else(|| Some(format!("{}/cardea-operator", variable("CARDEA_BIN_DIR")?)))
        .expect("CARDEA_BIN_DIR is the folder of the operator's program, or CARDEA_OPERATOR_BIN the program");
    for namespace in ["tools", "elsewhere"] {
        kubectl(&["create", "namespace", namespace]);
    }
    install_crds();
    install("cardea", &["namespaces={tools}"]);
    let audited_before = audited();
    let mut operator = Operator::start(&program);

    a_server_is_deleted();
    every_example_becomes_what_it_shall_be();
    changes_and_losses_are_made_good();
    what_is_foreign_is_looked_at_and_what_is_not_wanted_deleted();
    an_event_that_comes_again_is_counted_up();
    without_a_right_on_secrets_the_server_says_so();
    its_children_are_gone();
    a_policy_goes_with_the_last_server_that_uses_it();
    what_others_bring_is_asked_for_and_let_go();
    operator.stop();

    let asked = asked(audited_before);
    let denied: Vec<&Asked> = asked.iter().filter(|asked| asked.code == 403).collect();
    for asked in &denied {
        assert!(asked.namespace == "elsewhere" && asked.resource == "secrets", "denied: {asked:?}");
    }
    assert!(!denied.is_empty(), "nothing was denied, so this test proves nothing");
    let used: BTreeSet<Right> = asked.iter().filter(|asked| asked.code != 403).flat_map(Asked::rights).collect();
    let mut granted = granted();
    for (place, resource, verb) in UNSEEN {
        assert!(granted.remove(&right(place, resource, verb)), "{verb} on {resource} is not granted any more");
    }
    let unused: Vec<_> = granted.difference(&used).collect();
    assert!(unused.is_empty(), "granted and not used: {unused:?}");
    let from_elsewhere: Vec<_> = used.difference(&granted).collect();
    assert!(from_elsewhere.is_empty(), "used, though the chart does not grant it: {from_elsewhere:?}");
    for line in operator.log().lines().filter(|line| line.to_lowercase().contains("forbidden")) {
        assert!(line.contains("elsewhere") && line.to_lowercase().contains("secrets"), "{line}");
    }
}

/// One after the other under the same name, so that each is also a change of the one before it.
fn every_example_becomes_what_it_shall_be() {
    let authority = object(&["configmap", "kube-root-ca.crt", "--namespace=tools"]).unwrap()["data"]["ca.crt"].clone();
    let of_clients = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "agents-ca", "namespace": "tools"}, "data": {"ca.crt": authority},
    });
    kubectl_with(&["apply", "--filename=-"], &of_clients.to_string());
    kubectl(&[
        "create",
        "secret",
        "generic",
        "notes-database",
        "--namespace=tools",
        "--from-literal=password=x",
        "--from-literal=api-key=x",
    ]);
    for (name, value) in [("notes-client", "client-secret=x"), ("notes-tokens", "tokens.json={}")] {
        let value = format!("--from-literal={value}");
        kubectl(&["create", "secret", "generic", name, "--namespace=tools", &value]);
    }
    // Those of one server; the others are taken by the API server in a trial of their own.
    for (name, example) in
        files("deploy/examples", ".yaml").into_iter().filter(|(_, text)| text.contains("\n  name: notes\n"))
    {
        kubectl_with(&["apply", "--filename=-"], &example);
        eventually(&format!("{name} stands"), || {
            for (kind, reason) in
                [("Accepted", "Accepted"), ("CertificateReady", "Issued"), ("PolicyReady", "Compiled")]
            {
                condition_is("tools", "notes", kind, "True", reason)?;
            }
            let names_secrets =
                ["kubernetesSecret:", "clientSecretRef:", "secretRef:"].iter().any(|field| example.contains(field));
            let fetches = example.contains("storeRef:");
            let secrets = match (fetches, names_secrets) {
                (true, _) => ("Unknown", "Pending"),
                (false, true) => ("True", "Mounted"),
                (false, false) => ("True", "NoneDeclared"),
            };
            condition_is("tools", "notes", "SecretsReady", secrets.0, secrets.1)?;
            let opened =
                if fetches || example.contains("  issuers:") { ("False", "Opened") } else { ("True", "Closed") };
            condition_is("tools", "notes", "Hardened", opened.0, opened.1)?;
            children("tools", "notes")
        });
    }
}

/// Deletes a server, whose children go in time: just after a CRD is made, the cluster's garbage collector needs half a
/// minute to notice.
fn a_server_is_deleted() {
    kubectl_with(&["create", "--filename=-"], &server("tools", "former", &json!({})));
    eventually("the server stands", || children("tools", "former"));
    kubectl(&["delete", "mcpservers.cardea.dev", "former", "--namespace=tools"]);
}

/// Also because nobody could release it once the operator has stopped.
fn a_policy_goes_with_the_last_server_that_uses_it() {
    kubectl(&["delete", "mcpauthpolicies.cardea.dev", "company", "--namespace=tools", "--wait=false"]);
    let policy = object(&["mcpauthpolicies.cardea.dev", "company", "--namespace=tools"]).unwrap();
    assert_eq!(policy["metadata"]["finalizers"], json!(["cardea.dev/in-use"]));
    kubectl(&["delete", "mcpservers.cardea.dev", "calendar", "--namespace=tools"]);
    eventually("the policy is gone", || gone("mcpauthpolicies.cardea.dev", "company"));
    kubectl(&["delete", "mcpservers.cardea.dev", "notes", "--namespace=tools"]);
    kubectl(&["delete", "mcpsecretstores.cardea.dev", "--all", "--namespace=tools"]);
}

fn what_others_bring_is_asked_for_and_let_go() {
    for crd in others::crds() {
        kubectl_with(&["apply", "--filename=-"], &crd.to_string());
        let name = crd["metadata"]["name"].as_str().unwrap();
        kubectl(&["wait", "--for=condition=Established", "crd", name]);
    }
    let from = |from: Value| json!({"secrets": [{"name": "files", "from": from, "keys": [{"file": "a"}]}]});
    let external = from(json!({"externalSecret": {"secretStoreRef": {"name": "corp"}, "remoteKey": "apps"}}));
    let csi = from(json!({"csi": {"provider": "vault"}}));
    for (kind, secrets) in
        [("externalsecrets.external-secrets.io", external), ("secretproviderclasses.secrets-store.csi.x-k8s.io", csi)]
    {
        kubectl_with(&["create", "--filename=-"], &server("tools", "bringing", &secrets));
        eventually("it is asked for", || object(&[kind, "bringing.files", "--namespace=tools"]).map(drop));
        patch("tools", "bringing", &json!({"secrets": null}));
        eventually("it is let go", || gone(kind, "bringing.files"));
        kubectl(&["delete", "mcpservers.cardea.dev", "bringing", "--namespace=tools"]);
        // One of that name that is somebody's is looked at, and no more.
        let (plural, group) = kind.split_once('.').unwrap();
        let kind = if plural == "externalsecrets" { "ExternalSecret" } else { "SecretProviderClass" };
        let foreign = json!({
            "apiVersion": format!("{group}/v1"), "kind": kind,
            "metadata": {"name": format!("keeping-{plural}.files"), "namespace": "tools"},
        });
        kubectl_with(&["create", "--filename=-"], &foreign.to_string());
        let keeping = format!("keeping-{plural}");
        kubectl_with(&["create", "--filename=-"], &server("tools", &keeping, &secrets));
        eventually("it keeps off", || condition_is("tools", &keeping, "Accepted", "False", "ForeignObject"));
        kubectl(&["delete", "mcpservers.cardea.dev", &keeping, "--namespace=tools"]);
    }
}

fn its_children_are_gone() {
    eventually("the children of a deleted server are gone", || {
        CHILDREN.into_iter().try_for_each(|(kind, suffix)| gone(kind, &format!("former{suffix}")))
    });
}

/// Kinds of children, and what their names add to the server's.
const CHILDREN: [(&str, &str); 7] = [
    ("serviceaccount", ""),
    ("networkpolicy", ""),
    ("configmap", "-proxy"),
    ("configmap", "-trust"),
    ("secret", "-tls"),
    ("service", ""),
    ("deployment", ""),
];

fn changes_and_losses_are_made_good() {
    kubectl_with(&["apply", "--filename=-"], &server("tools", "notes", &json!({})));
    eventually("the server stands", || children("tools", "notes"));
    let before = generation_in_proxy();
    patch("tools", "notes", &json!({"limits": {"concurrent": 7}}));
    eventually("the change reaches the proxy's configuration", || {
        if generation_in_proxy() == before { Err("it is the former".to_owned()) } else { Ok(()) }
    });
    for (kind, suffix) in CHILDREN {
        kubectl(&["delete", kind, &format!("notes{suffix}"), "--namespace=tools", "--now"]);
    }
    eventually("what was lost is there again", || children("tools", "notes"));
}

fn generation_in_proxy() -> Value {
    let configuration = object(&["configmap", "notes-proxy", "--namespace=tools"]).unwrap();
    let text = configuration["data"]["proxy.json"].as_str().unwrap().to_owned();
    serde_json::from_str::<Value>(&text).unwrap()["generation"].clone()
}

fn what_is_foreign_is_looked_at_and_what_is_not_wanted_deleted() {
    let owner = object(&["mcpservers.cardea.dev", "notes", "--namespace=tools"]).unwrap();
    let owned = json!({
        "labels": {"app.kubernetes.io/managed-by": "cardea", "cardea.dev/server": "notes"},
        "ownerReferences": [{
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "name": "notes",
            "uid": owner["metadata"]["uid"], "controller": true,
        }],
    });
    for (kind, suffix) in CHILDREN {
        let existing = object(&[kind, &format!("notes{suffix}"), "--namespace=tools"]).unwrap();
        let another = |name: &str, mut metadata: Value| {
            metadata["name"] = json!(name);
            metadata["namespace"] = json!("tools");
            let mut copy =
                json!({"apiVersion": existing["apiVersion"], "kind": existing["kind"], "metadata": metadata});
            for member in ["spec", "data", "type"] {
                if let Some(value) = existing.get(member) {
                    copy[member] = value.clone();
                }
            }
            if kind == "service" {
                copy["spec"] = json!({"ports": [{"port": 443}]});
            }
            kubectl_with(&["create", "--filename=-"], &copy.to_string());
        };
        let foreign = format!("foreign-{kind}{}", suffix.replace('-', ""));
        another(&format!("{foreign}{suffix}"), json!({}));
        kubectl_with(&["create", "--filename=-"], &server("tools", &foreign, &json!({})));
        eventually(&format!("{foreign} keeps off"), || {
            condition_is("tools", &foreign, "Accepted", "False", "ForeignObject")
        });
        kubectl(&["delete", "mcpservers.cardea.dev", &foreign, "--namespace=tools"]);
        let stray = format!("stray{suffix}");
        another(&stray, owned.clone());
        eventually(&format!("the {kind} {stray} is pruned"), || gone(kind, &stray));
    }
}

fn an_event_that_comes_again_is_counted_up() {
    let with_authority = json!({"tls": {"clientCaRef": {"name": "none"}}});
    kubectl_with(&["create", "--filename=-"], &server("tools", "events", &with_authority));
    let missing = || condition_is("tools", "events", "CertificateReady", "False", "CaNotFound");
    eventually("the authority is missed", missing);
    patch("tools", "events", &json!({"tls": null}));
    eventually("the certificate is issued", || condition_is("tools", "events", "CertificateReady", "True", "Issued"));
    patch("tools", "events", &with_authority);
    eventually("the authority is missed again", missing);
    eventually("the event is counted up", || {
        let events = object(&["events.events.k8s.io", "--namespace=tools"])?;
        let counted = events["items"].as_array().into_iter().flatten().any(|event| {
            event["regarding"]["name"] == "events" && event["reason"] == "CaNotFound" && event["series"]["count"] == 2
        });
        if counted { Ok(()) } else { Err(events.to_string()) }
    });
}

fn without_a_right_on_secrets_the_server_says_so() {
    let said = || condition_is("elsewhere", "notes", "CertificateReady", "False", "NoRightOnSecrets");
    kubectl_with(&["create", "--filename=-"], &server("elsewhere", "notes", &json!({})));
    eventually("a server without a right on Secrets says so", said);
    patch("elsewhere", "notes", &json!({"limits": {"concurrent": 7}}));
    eventually("and says so after a change", said);
    install("cardea", &["namespaces={tools,elsewhere}"]);
    eventually("it stands once the right is given", || {
        condition_is("elsewhere", "notes", "CertificateReady", "True", "Issued")?;
        children("elsewhere", "notes")
    });
    kubectl(&["delete", "mcpservers.cardea.dev", "notes", "--namespace=elsewhere"]);
}

fn server(namespace: &str, name: &str, more: &Value) -> String {
    let mut spec = json!({"source": {"image": {"ref": "registry.example/team/notes:1.0"}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
    .to_string()
}

fn patch(namespace: &str, name: &str, spec: &Value) {
    let patch = json!({"spec": spec}).to_string();
    kubectl(&["patch", "mcpservers.cardea.dev", name, "--namespace", namespace, "--type=merge", "--patch", &patch]);
}

/// Whether a condition that is about the current spec is as wanted.
fn condition_is(namespace: &str, server: &str, kind: &str, status: &str, reason: &str) -> Result<(), String> {
    let server = object(&["mcpservers.cardea.dev", server, "--namespace", namespace])?;
    let found = server["status"]["conditions"].as_array().into_iter().flatten().any(|condition| {
        condition["type"] == kind
            && condition["status"] == status
            && condition["reason"] == reason
            && condition["observedGeneration"] == server["metadata"]["generation"]
    });
    if found { Ok(()) } else { Err(server["status"].to_string()) }
}

fn children(namespace: &str, server: &str) -> Result<(), String> {
    CHILDREN.into_iter().try_for_each(|(kind, suffix)| {
        let child = object(&[kind, &format!("{server}{suffix}"), "--namespace", namespace])?;
        if child["metadata"]["deletionTimestamp"].is_null() { Ok(()) } else { Err(format!("the {kind} goes")) }
    })
}

fn gone(kind: &str, name: &str) -> Result<(), String> {
    match object(&[kind, name, "--namespace=tools"]) {
        Err(answer) if answer.contains("NotFound") => Ok(()),
        Err(answer) => Err(answer),
        Ok(_) => Err(format!("the {kind} {name} is still there")),
    }
}

/// Where a right holds, on what, to do what.
type Right = (String, String, String);

fn right(place: &str, resource: &str, verb: &str) -> Right {
    (place.to_owned(), resource.to_owned(), verb.to_owned())
}

fn granted() -> BTreeSet<Right> {
    let objects = documents(&render("cardea", &["namespaces={tools}"]));
    let mut rights = BTreeSet::new();
    for (kind, name, place) in [
        ("ClusterRole", "cardea-operator", "everywhere"),
        ("ClusterRole", "cardea-server-secrets", "namespaces of servers"),
        ("ClusterRole", "cardea-server-pods", "namespaces of servers"),
        ("ClusterRole", "cardea-server-external-secrets", "namespaces of servers"),
        ("Role", "cardea-operator", "own namespace"),
    ] {
        for rule in document(&objects, kind, name)["rules"].as_array().unwrap() {
            let words = |member: &str| rule[member].as_array().cloned().unwrap_or_default();
            for on in words("resources").into_iter().chain(words("nonResourceURLs")) {
                for verb in words("verbs") {
                    rights.insert(right(place, on.as_str().unwrap(), verb.as_str().unwrap()));
                }
            }
        }
    }
    rights
}

impl Asked {
    fn rights(&self) -> Vec<Right> {
        let place = match (self.resource.as_str(), self.namespace.as_str()) {
            ("secrets" | "leases", SYSTEM) => "own namespace",
            ("secrets" | "externalsecrets" | "secretproviderclasses", _) => "namespaces of servers",
            _ => "everywhere",
        };
        let mut rights = vec![right(place, &self.resource, &self.verb)];
        // An apply that made the object: the API server asks for both rights.
        if self.verb == "patch" && self.code == 201 {
            rights.push(right(place, &self.resource, "create"));
        }
        rights
    }
}
