//! What is refused before anything is put in force.

use serde_json::{Value, json};

use super::*;
use crate::metrics::Metrics;

fn sample() -> Value {
    json!({
        "generation": 1, "namespace": "a", "name": "b",
        "resource": "https://b.a.svc:8443/mcp", "hosts": ["b.a.svc:8443"],
        "trustDomain": "cluster.local", "operator": "spiffe://cluster.local/ns/cardea/sa/operator",
        "upstream": {"listens": {"port": 8080}, "path": "/mcp"}, "clientAuth": "Required",
        "authentication": {"issuers": [], "clientCertificates": true}, "rules": [],
        "limits": {"maxBodyBytes": 1024, "requestSeconds": 5, "concurrent": 4}, "audit": "Decisions"
    })
}

fn compile(config: &Value) -> Result<Snapshot, ConfigError> {
    let means = Means::new(Default::default(), PathBuf::new(), Arc::new(Metrics::new()));
    Snapshot::compile(config.to_string().as_bytes(), None, &means)
}

#[test]
fn a_whole_configuration_compiles() {
    let snapshot = compile(&sample()).unwrap_or_else(|error| panic!("{}", reason(&error)));
    assert_eq!(snapshot.endpoint.path, "/mcp");
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    let issuer = |name: &str, url: &str| {
        json!({
            "name": name, "url": url, "audiences": ["x"], "keys": "discovery",
            "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}}
        })
    };
    for (pointer, value, expected) in [
        ("/resource", json!("http://b.a.svc/mcp"), "resource"),
        ("/resource", json!("https://b.a.svc/mcp?x"), "resource"),
        ("/resource", json!("/mcp"), "resource"),
        ("/hosts", json!([]), "hosts"),
        ("/hosts", json!(["B.a.svc"]), "hosts"),
        ("/trustDomain", json!("spiffe://x"), "trustDomain"),
        ("/operator", json!("spiffe://other.local/ns/cardea/sa/operator"), "operator"),
        ("/upstream/path", json!("mcp"), "upstream.path"),
        ("/upstream/listens/port", json!(0), "upstream.listens"),
        ("/limits/concurrent", json!(0), "limits"),
        ("/rules", json!([{"name": "r", "effect": "Allow", "principals": [], "tools": ["*"]}]), "rules"),
        (
            "/authentication/issuers",
            json!([issuer("a", "https://a.example"), issuer("a", "https://b.example")]),
            "issuers",
        ),
        (
            "/authentication/issuers",
            json!([issuer("a", "https://a.example"), issuer("b", "https://a.example")]),
            "issuers",
        ),
        ("/authentication/issuers", json!([issuer("a", "http://a.example")]), "issuer \"a\""),
        ("/clientAuth", json!("Maybe"), "not a proxy configuration"),
    ] {
        let mut config = sample();
        *config.pointer_mut(pointer).unwrap() = value.clone();
        let error = compile(&config).err().map(|error| reason(&error)).unwrap_or_default();
        assert!(error.contains(expected), "{pointer} {value}: {error:?}");
    }
    let mut unknown = sample();
    unknown["insecure"] = json!(true);
    assert!(compile(&unknown).is_err());
}
