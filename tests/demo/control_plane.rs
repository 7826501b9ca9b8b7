//! What can be shown without a node: that the charts install, that the operator turns a manifest into closed objects, and
//! that a bad manifest is refused with a reason. No pod runs.

use cardea_tests::cluster::eventually;
use cardea_tests::kubectl::{kubectl, read, run};
use cardea_tests::operator::Operator;

use crate::install::{Images, SERVERS, SYSTEM, apply_servers, install};
use crate::say;
use crate::table::Table;

/// What this tier cannot show.
const NOT_SHOWN: [&str; 8] = [
    "a permitted tool being called",
    "the list of tools without the others, and a denied call",
    "401 with the pointer to the metadata",
    "a spoofed identity that is not believed",
    "a pod without a certificate being refused",
    "the server's own port not answering",
    "logs without tokens",
    "the pods themselves running under the restricted standard",
];

pub(crate) async fn show(images: &Images) -> anyhow::Result<Table> {
    install(images)?;
    say("starting the operator as a process, since no pod runs here");
    let operator = Operator::start(SYSTEM, "demo").await?;
    operator.leads().await?;
    apply_servers(images)?;

    let mut table = Table::default();
    children(&mut table).await?;
    refusals(&mut table)?;
    operator.stop()?;
    say("not shown, since no pod runs here:");
    for what in NOT_SHOWN {
        say(&format!("  {what}"));
    }
    Ok(table)
}

async fn children(table: &mut Table) -> anyhow::Result<()> {
    say("waiting for the server's objects");
    for object in [
        "serviceaccount/everything",
        "networkpolicy/everything",
        "configmap/everything-proxy",
        "configmap/everything-trust",
        "secret/everything-tls",
        "service/everything",
        "deployment/everything",
    ] {
        let made = eventually(object, async || Ok(read(SERVERS, object).ok())).await;
        table.check(object, "is there", if made.is_ok() { "is there" } else { "is missing" }, made.is_ok());
    }
    let policy = read(SERVERS, "networkpolicy/everything")?;
    let both = policy["spec"]["policyTypes"].as_array().map_or(0, Vec::len) == 2;
    let ports: Vec<String> = policy["spec"]["ingress"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| rule["ports"][0]["port"].to_string())
        .collect();
    let closed = both && !ports.is_empty() && ports.iter().all(|port| port == "8443");
    table.check("the network policy", "lets in to port 8443 alone", ports.join(", "), closed);
    Ok(())
}

fn refusals(table: &mut Table) -> anyhow::Result<()> {
    let good = kubectl(&["get", "mcpserver/whoami", "--namespace", SERVERS, "--output=json"])?;
    for (what, pointer, bad) in [
        ("a server on the proxy's port", "/spec/transport", serde_json::json!({"port": 8443})),
        ("a server from nowhere", "/spec/source", serde_json::json!({})),
        ("a rule about nobody", "/spec/access/rules/0/principals", serde_json::json!([{}])),
    ] {
        let mut server: serde_json::Value = serde_json::from_str(&good)?;
        server["metadata"] = serde_json::json!({"name": "bad", "namespace": SERVERS});
        match server.pointer_mut(pointer) {
            Some(place) => *place = bad,
            None => server["spec"]["transport"] = bad,
        }
        let outcome = run("kubectl", &["apply", "--dry-run=server", "--filename=-"], &server.to_string());
        let got = outcome.as_ref().err().map(|error| {
            let text = error.to_string();
            text.rsplit("Invalid value: ").next().unwrap_or(&text).chars().take(90).collect::<String>()
        });
        table.check(
            what,
            "is refused with a reason",
            got.unwrap_or_else(|| "was accepted".to_owned()),
            outcome.is_err(),
        );
    }
    Ok(())
}
