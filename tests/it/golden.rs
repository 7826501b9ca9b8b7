//! Whole stories as plain YAML: `cases/NAME/server.yaml` is what a person applies, `cases/NAME/objects.yaml` what the
//! operator makes of it, with the policies in `cases/NAME/policy.yaml` (McpAuthPolicy) and `cases/NAME/access.yaml` (McpAccessPolicy), and
//! the stores in `cases/NAME/store.yaml` (McpSecretStore), if there are.
//! `make update` rewrites them; a change there is a change for every cluster, so read it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpSecretStore, McpServer};
use cardea_operator::build::build;
use cardea_operator::children::Children;
use cardea_operator::cluster_issuer::ClusterIssuer;
use cardea_operator::governance::Governing;
use cardea_operator::inquiry::Answers;
use cardea_operator::installation::Installation;
use cardea_operator::material::material;
use cardea_operator::observe::Observed;
use cardea_operator::pods::Workload;
use cardea_operator::validate::validate;
use cardea_pki::{Authority, TrustDomain};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

/// Whether to rewrite what is generated.
pub(crate) fn update() -> bool {
    cardea_tests::cluster::setting("UPDATE").is_some()
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

fn installation() -> Installation {
    Installation {
        namespace: "cardea-system".into(),
        service_account: "cardea-operator".into(),
        trust_domain: TrustDomain::parse("cluster.local").unwrap(),
        cluster_domain: "cluster.local".into(),
        proxy_image: "cardea/proxy:test".into(),
        proxy_pull_policy: "IfNotPresent".into(),
        agent_image: "cardea/agent:test".into(),
        agent_pull_policy: "IfNotPresent".into(),
    }
}

fn observed(
    server: McpServer,
    auth_policy: Option<McpAuthPolicy>,
    access: Option<McpAccessPolicy>,
    store: Option<McpSecretStore>,
) -> Observed {
    let text = "-----BEGIN CERTIFICATE-----\nsomebody's authority\n-----END CERTIFICATE-----\n";
    Observed {
        namespace: server.metadata.namespace.clone().unwrap(),
        name: server.metadata.name.clone().unwrap(),
        uid: "11111111-2222-4333-8444-555555555555".into(),
        auth_policy: auth_policy.map(Arc::new),
        governing: Governing::among(access.into_iter().collect(), &server),
        children: Children::new(),
        workload: Workload::default(),
        answers: Answers::new(),
        secret_stores: Some(store.into_iter().map(|store| (store.name_any(), Arc::new(store))).collect()),
        authorities: ["agent-ca", "login-ca", "vault-ca"].map(|name| (name.into(), Some(text.into()))).into(),
        may_use_secrets: true,
        missing_secrets: Default::default(),
        missing_kinds: Default::default(),
        cluster_issuer: Some(Arc::new(ClusterIssuer {
            url: "https://kubernetes.default.svc".into(),
            jwks: json!({"keys": [{"kid": "cluster", "kty": "RSA"}]}),
        })),
        server: Arc::new(server),
    }
}

/// What differs from run to run stands as a word.
fn redact(value: &mut Value) {
    if value["kind"] == "Secret" {
        for part in ["tls.crt", "tls.key", "session.key"] {
            assert!(value["data"][part].is_string(), "{part}");
            value["data"][part] = json!("REDACTED");
        }
        if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
            annotations.values_mut().for_each(|value| *value = json!("REDACTED"));
        }
    }
    if value["kind"] == "ConfigMap" && value["data"]["ca.crt"].is_string() {
        value["data"]["ca.crt"] = json!("REDACTED");
        value["metadata"]["annotations"]["cardea.dev/applied"] = json!("REDACTED");
    }
    if let Some(config) = value["data"]["proxy.json"].as_str() {
        // Read as a person would, not as one line.
        value["data"]["proxy.json"] = serde_json::from_str(config).unwrap();
    }
}

#[test]
fn each_story_is_told_as_written() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let authority = Authority::create(&installation().trust_domain, now).unwrap();
    let cases = cases();
    assert!(!cases.is_empty());
    for case in cases {
        let text = std::fs::read_to_string(case.join("server.yaml")).unwrap();
        let mut server: McpServer = serde_yaml::from_str(&text).unwrap();
        server.metadata.generation = Some(1);
        let policy = std::fs::read_to_string(case.join("policy.yaml")).ok();
        let access = std::fs::read_to_string(case.join("access.yaml")).ok();
        let access = access.map(|text| serde_yaml::from_str(&text).unwrap());
        let store = std::fs::read_to_string(case.join("store.yaml")).ok();
        let store = store.map(|text| serde_yaml::from_str(&text).unwrap());
        let observed = observed(server, policy.map(|text| serde_yaml::from_str(&text).unwrap()), access, store);
        let server = validate(&observed, &installation())
            .unwrap_or_else(|rejection| panic!("{}: {rejection:?}", case.display()));
        let material = material(&server, &observed.children, &authority, &installation(), now).unwrap();
        let objects: String = build(&server, &material, &installation())
            .objects
            .iter()
            .map(|object| {
                let mut body = object.body.clone();
                redact(&mut body);
                format!("---\n{}", serde_yaml::to_string(&body).unwrap())
            })
            .collect();
        let path = case.join("objects.yaml");
        if update() {
            std::fs::write(&path, &objects).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            expected == objects,
            "{} is not what is built now: run `make update` and read the difference",
            path.display()
        );
    }
}
