//! The questions: two agents in pods of their own, one with everything it needs and one without a certificate.

use std::collections::BTreeMap;

use anyhow::Context as _;
use cardea_tests::client_pod::ClientPod;
use cardea_tests::kubectl::{apply, kubectl, read};
use cardea_tests::plan::{Action, Evidence, Found, Outcome, Step};
use serde_json::{Map, Value, json};

use crate::install::{AGENT, AGENT_CERTIFICATE, AGENTS, Images, SERVERS};
use crate::say;

const EVERYTHING: &str = "https://everything.demo.svc/mcp";
const WHOAMI: &str = "https://whoami.demo.svc/mcp";
/// A tool that nobody may use: it tells the server's environment.
pub(crate) const FORBIDDEN: &str = "get-env";

/// What the steps of both client pods found, by name.
pub(crate) type Findings = BTreeMap<String, Found>;

/// Runs an agent that has everything it needs, and beside it one that has a token but no certificate.
pub(crate) fn ask(images: &Images) -> anyhow::Result<Findings> {
    say("calling from two agents, one of them without a certificate");
    let trust = read(SERVERS, "configmap/everything-trust")?;
    apply(&[json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "everything-trust", "namespace": AGENTS},
        "data": {"ca.crt": trust["data"]["ca.crt"]},
    })])?;
    let address = read(SERVERS, "mcpserver/everything")?;
    let url = address.pointer("/status/address/url").and_then(Value::as_str).context("the status has no URL")?;
    anyhow::ensure!(url == EVERYTHING, "the status says {url}, the demo calls {EVERYTHING}");
    let pod_address = pod_address("everything")?;

    let image = images.reference("mcp-client");
    let with = ClientPod {
        namespace: AGENTS,
        name: "agent",
        account: AGENT,
        image: &image,
        pull_policy: images.pull_policy(),
        trust: "everything-trust",
        certificate: Some(AGENT_CERTIFICATE),
        tokens: &[("everything", EVERYTHING), ("whoami", WHOAMI), ("other", "https://elsewhere.example")],
    };
    let without = ClientPod { name: "agent-without-certificate", certificate: None, ..with.clone() };
    let (with, without) = std::thread::scope(|scope| {
        let without = scope.spawn(|| without.run(&steps_without(&pod_address)));
        (with.run(&steps_with()), without.join())
    });
    let without = without.map_err(|_| anyhow::anyhow!("waiting for a client pod broke off"))??;
    Ok(with?.into_iter().chain(without).map(|Outcome { name, found }| (name, found)).collect())
}

/// Address of a pod that serves, and not of one that a former run of the demo left ending.
fn pod_address(server: &str) -> anyhow::Result<String> {
    kubectl(&["rollout", "status", &format!("deployment/{server}"), "--namespace", SERVERS, "--timeout=90s"])?;
    let addresses = kubectl(&[
        "get",
        "endpointslices",
        "--namespace",
        SERVERS,
        &format!("--selector=kubernetes.io/service-name={server}"),
        "--output=jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses[0]}",
    ])?;
    let address = addresses.split_whitespace().next();
    Ok(address.with_context(|| format!("no pod of {server} serves"))?.to_owned())
}

fn steps_with() -> Vec<Step> {
    let token =
        |audience: &str| Evidence { certificate: true, token: Some(audience.to_owned()), ..Evidence::default() };
    let call = |url: &str, tool: &str, arguments: Value| Action::Call {
        url: url.to_owned(),
        tool: tool.to_owned(),
        arguments: arguments.as_object().cloned().unwrap_or_default(),
    };
    let step = |name: &str, evidence: Evidence, action: Action| Step { name: name.to_owned(), evidence, action };
    let spoofed = ["x-cardea-identity", "x-forwarded-user", "x-user"].map(|name| (name.to_owned(), "admin".to_owned()));
    vec![
        step("list", token("everything"), Action::List { url: EVERYTHING.to_owned() }),
        step("permitted", token("everything"), call(EVERYTHING, "get-sum", json!({"a": 19, "b": 23}))),
        step("forbidden", token("everything"), call(EVERYTHING, FORBIDDEN, json!({}))),
        step("missing", token("everything"), call(EVERYTHING, "no-such-tool", json!({}))),
        step("no token", Evidence { certificate: true, ..Evidence::default() }, initialize()),
        step("other token", token("other"), initialize()),
        step(
            "spoofed",
            Evidence { headers: spoofed.into(), ..token("whoami") },
            call(WHOAMI, "whoami", Value::Object(Map::new())),
        ),
    ]
}

fn steps_without(pod_address: &str) -> Vec<Step> {
    let step = |name: &str, token: Option<&str>, action: Action| Step {
        name: name.to_owned(),
        evidence: Evidence { token: token.map(str::to_owned), ..Evidence::default() },
        action,
    };
    vec![
        step("no certificate", Some("everything"), initialize()),
        step("proxy port", None, Action::Connect { address: format!("{pod_address}:8443") }),
        step("server port", None, Action::Connect { address: format!("{pod_address}:8080") }),
        step("admin port", None, Action::Connect { address: format!("{pod_address}:9090") }),
    ]
}

fn initialize() -> Action {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "demo", "version": "1"}});
    Action::Post {
        url: EVERYTHING.to_owned(),
        body: json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}),
    }
}
