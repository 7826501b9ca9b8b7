//! What must hold for whatever bytes come in, one function for each reader. The targets in `fuzz/` find bytes; the corpus
//! there is read here too, so that what once broke a reader is tried in every run of the tests.
//!
//! Not for others: this is there with the feature `fuzzing` alone.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "finds, by breaking"
)]

use std::sync::{Arc, LazyLock};

use cardea_contract::{ArgumentCondition, Effect, PrincipalMatch, Rule};
use cardea_policy::{Action, Catalog, Evidence, Policy, Principal, ToolDefinition, rule_warnings};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::Value;

use crate::authn::Means;
use crate::config::ConfigStore;
use crate::headers::{self, Era};
use crate::jsonrpc::{self, Kind};
use crate::known::Known;
use crate::limits::MAX_FILTERED_BYTES;
use crate::limits::Slots;
use crate::metrics::Metrics;
use crate::response::Filter;
use crate::sse::{Event, Splitter};
use crate::stray::Watch;
use crate::{authn, host, mcp};

/// Everybody may call `echo` and `get_*`, nobody `get_secret`.
const CONFIGURATION: &str = r#"{
    "generation": 1, "namespace": "a", "name": "b", "resource": "https://mcp.test/mcp", "hosts": ["mcp.test"],
    "trustDomain": "cluster.local", "operator": "spiffe://cluster.local/o", "clientAuth": "None",
    "upstream": {"listens": {"port": 1}, "path": "/"},
    "authentication": {"clientCertificates": true, "issuers": [{
        "name": "corp", "url": "https://issuer.test", "audiences": ["https://mcp.test/mcp"],
        "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}},
        "keys": {"inline": {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "use": "sig",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}}}
    }]},
    "rules": [
        {"name": "all", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["echo", "get_*"]},
        {"name": "not", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["get_secret"]}
    ],
    "limits": {"maxBodyBytes": 1, "requestSeconds": 1, "concurrent": 1}, "audit": "None"
}"#;

/// About any tool, and about none.
const RULES: &str = r#"[
    {"name": "any", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["*"], "arguments": [
        {"path": "/a", "equals": "x"}, {"path": "/a/b", "in": [1, 2.5]}, {"path": "/a/*/b", "prefix": "x"},
        {"path": "/a/0", "min": 1}, {"path": "/b", "type": "Boolean"}, {"path": "/b", "size": {"max": 3}},
        {"path": "/c", "absent": true}
    ]},
    {"name": "none", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["t", "x*"]}
]"#;

struct Scene {
    config: Arc<ConfigStore>,
    metrics: Arc<Metrics>,
    principal: Arc<Principal>,
}

fn means() -> Means {
    Means::new(Default::default(), Default::default(), Arc::new(Metrics::new()))
}

static SCENE: LazyLock<Scene> = LazyLock::new(|| Scene {
    config: Arc::new(ConfigStore::of(CONFIGURATION, means())),
    metrics: Arc::new(Metrics::new()),
    principal: Arc::new(Principal::named("x".into(), u64::MAX, Evidence::Certificate { spiffe_id: None })),
});

/// A body: what is read is what every other reader of JSON reads too.
pub fn message(bytes: &[u8]) {
    let Ok(message) = jsonrpc::read(bytes) else { return };
    let value: Value = serde_json::from_slice(bytes).expect("what is read is JSON");
    match &message.kind {
        Kind::Request { method, .. } => {
            assert_eq!(value["method"], method.as_str());
            assert!(value["id"].is_string() || value["id"].is_i64(), "{value}");
        }
        Kind::Notification { method } => {
            assert_eq!(value["method"], method.as_str());
            assert!(value.get("id").is_none());
        }
        Kind::Answer => assert!(value.get("method").is_none()),
    }
    if let Some(name) = message.params.name.text() {
        assert_eq!(value["params"]["name"], name);
    }
    if let Some(uri) = message.params.uri.text() {
        assert_eq!(value["params"]["uri"], uri);
    }
}

/// Lines of headers, an empty line, a body: what is decided on is what the body says, and only what is listed passes.
pub fn request(bytes: &[u8]) {
    let (lines, body) = bytes.split_at(bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len()));
    let body = body.strip_prefix(b"\n\n").unwrap_or(body);
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        if let (Ok(name), Ok(value)) = (name, value) {
            map.append(name, value);
        }
    }
    let passed = headers::for_upstream(&map, Era::Modern);
    for name in [AUTHORIZATION.as_str(), COOKIE.as_str(), "host", "connection", cardea_contract::pod::IDENTITY_HEADER] {
        assert!(!passed.contains_key(name), "{name}");
    }
    let mut head = Request::post("/mcp").body(()).unwrap().into_parts().0;
    head.headers = map;
    let known = host::check(&head, &["mcp.test".into()]);
    let map = head.headers;
    if headers::duplicate(&map).is_some() || known.is_err() {
        return;
    }
    let _ = mcp::of_session(&map, "(stream)");
    let Ok(message) = jsonrpc::read(body) else { return };
    let Ok(asked) = mcp::of_message(&map, &message) else { return };
    let value: Value = serde_json::from_slice(body).expect("what is read is JSON");
    if let Action::CallTool(tool) = asked.action {
        assert_eq!((&value["method"], &value["params"]["name"]), (&"tools/call".into(), &tool.into()));
    }
    let modern =
        map.get("mcp-protocol-version").is_some_and(|version| version.as_bytes().trim_ascii() == b"2026-07-28");
    assert_eq!(asked.era == Era::Modern, modern);
    if modern && value.get("id").is_some() {
        assert_eq!(map["mcp-method"].as_bytes().trim_ascii(), value["method"].as_str().unwrap().as_bytes());
    }
}

/// A stream, cut into chunks as its first byte says: no byte is lost or made, however it is cut, and no tool is shown that
/// may not be.
pub fn events(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let size = usize::from(*size).max(1);
    let split = |size: usize| {
        let (mut splitter, mut events) = (Splitter::new(MAX_FILTERED_BYTES), Vec::new());
        for chunk in stream.chunks(size) {
            splitter.push(chunk, |event| events.push(event.0)).expect("short");
        }
        events.extend(splitter.rest().map(|event| event.0));
        events
    };
    let events = split(size);
    assert_eq!(events.concat(), stream);
    let watch = |size: usize| {
        let mut watch = Watch::events();
        stream.chunks(size).any(|chunk| watch.finds(chunk))
    };
    assert_eq!(watch(size), watch(1));
    for era in [Era::Legacy, Era::Modern] {
        let Scene { config, metrics, principal } = &*SCENE;
        let filter = Filter {
            config: config.clone(),
            metrics: metrics.clone(),
            principal: principal.clone(),
            era,
            private: false,
            known: Arc::new(Known::new(std::time::Duration::ZERO)),
            read: Slots::default(),
        };
        for event in &events {
            let Some(shown) = filter.event(Event(event.clone())) else { continue };
            let Some(Ok(message)) = shown.data().map(|data| serde_json::from_slice::<Value>(&data)) else { continue };
            for tool in message["result"]["tools"].as_array().into_iter().flatten() {
                let name = tool["name"].as_str().expect("a name");
                assert!(name == "echo" || (name.starts_with("get_") && name != "get_secret"), "{name}");
            }
        }
    }
}

/// The value of an `Authorization` header, and a query: nothing that was not signed by the issuer is somebody.
pub fn token(bytes: &[u8]) {
    if let Ok(query) = std::str::from_utf8(bytes) {
        authn::names_access_token(query);
    }
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut request = Request::get("/mcp").body(()).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    let snapshot = SCENE.config.current();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(authn::authenticate(&request.into_parts().0, None, false, &snapshot));
    assert!(outcome.is_err(), "{outcome:?}");
}

/// A configuration file: it compiles or is refused, and what compiles can be written and read again.
pub fn configuration(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<cardea_contract::ProxyConfig>(bytes) else { return };
    // Clients of fetched keys are too slow to be made a thousand times a second.
    if config.authentication.issuers.iter().any(|issuer| !is_inline(&issuer.keys)) {
        return;
    }
    let _ = crate::config::compiles(bytes, &means());
    let written = serde_json::to_vec(&config).expect("written");
    assert_eq!(serde_json::from_slice::<cardea_contract::ProxyConfig>(&written).expect("read again"), config);
}

/// A tool as a server lists it: its digest is that of the same tool written otherwise, and what is said of it does nothing
/// to a terminal.
pub fn tool(bytes: &[u8]) {
    let Some(tool) = std::str::from_utf8(bytes).ok().and_then(ToolDefinition::read) else { return };
    assert_eq!(tool.digest.len(), "sha256:".len() + 64);
    let value: Value = serde_json::from_slice(bytes).expect("it was read");
    let digest = |text: &str| ToolDefinition::read(text).map(|tool| tool.digest);
    assert_eq!(digest(&value.to_string()), digest(&serde_json::to_string_pretty(&value).unwrap()));
    assert!(tool.mirrors().iter().all(|mirror| HeaderName::try_from(&mirror.header).is_ok()));
    let rules: Vec<Rule> = serde_json::from_str(RULES).unwrap();
    for warning in rule_warnings(&rules, &ToolDefinition::together(vec![tool.clone(), tool])) {
        assert!(!warning.message.contains(char::is_control) && warning.message.len() < 4096, "{warning:?}");
    }
}

/// A line of conditions, a line of CEL, arguments: what compiles is judged, in the same way however it is asked, and what an
/// Allow permits by it a Deny refuses.
pub fn conditions(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (asked, when, given) = (lines.next(), lines.next(), lines.next());
    let Ok(arguments) = serde_json::from_slice::<Vec<ArgumentCondition>>(asked.unwrap_or_default()) else { return };
    let Ok(given) = serde_json::from_slice::<Value>(given.unwrap_or_default()) else { return };
    let Ok(when) = std::str::from_utf8(when.unwrap_or_default()) else { return };
    let rule = |name: &str, effect, arguments: &[ArgumentCondition], when: &str| Rule {
        name: name.into(),
        effect,
        principals: vec![PrincipalMatch::AnyAuthenticated],
        tools: vec!["*".into()],
        prompts: Vec::new(),
        resources: Vec::new(),
        methods: Vec::new(),
        arguments: arguments.to_vec(),
        when: (!when.is_empty()).then(|| when.to_owned()),
        scopes: Vec::new(),
        broader_scopes: Default::default(),
        not_after: None,
    };
    let all = rule("all", Effect::Allow, &[], "");
    let Ok(allow) = Policy::compile(&[rule("allow", Effect::Allow, &arguments, when)]) else { return };
    let deny = Policy::compile(&[rule("deny", Effect::Deny, &arguments, when), all]).expect("of the same conditions");
    let permits = |policy: &Policy| {
        let (caller, action) = (&*SCENE.principal, Action::CallTool("deploy"));
        let decision = policy.decide(caller, action, &given);
        let explanation = policy.explain(caller, action, &given);
        match (&decision, &explanation.decision) {
            (Ok(permit), Ok(rule)) => assert_eq!(permit.rule(), rule.as_deref()),
            (Err(denial), Err(reason)) => assert_eq!(denial.reason, *reason),
            (decision, explanation) => panic!("{decision:?}, and {explanation:?}"),
        }
        if decision.is_ok() {
            assert!(policy.shows(caller, Catalog::Tools, "deploy"), "it may be called and is not shown");
        }
        decision.is_ok()
    };
    assert!(!(permits(&allow) && permits(&deny)), "what holds for an Allow does not for a Deny");
}

fn is_inline(keys: &cardea_contract::KeySource) -> bool {
    matches!(keys, cardea_contract::KeySource::Inline { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_once_broke_a_reader_breaks_none_now() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let reads = |name: &str, read: fn(&[u8])| {
            let files: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(!files.is_empty(), "{name}");
            for file in files {
                read(&std::fs::read(file.unwrap().path()).unwrap());
            }
        };
        reads("message", message);
        reads("request", request);
        reads("events", events);
        reads("token", token);
        reads("configuration", configuration);
        reads("tool", tool);
        reads("conditions", conditions);
    }
}
