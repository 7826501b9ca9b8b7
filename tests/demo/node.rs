//! The whole show, on a cluster that runs pods: every check is made from a pod, by the Service's name.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use cardea_tests::kubectl::{read, wait};
use serde_json::Value;

use crate::ask::ask;
use crate::install::{CARDEA, FIXTURES, Images, SERVERS, apply_servers, install};
use crate::table::Table;
use crate::{judge, say};

const READY: Duration = Duration::from_secs(180);

pub(crate) fn show(images: &Images) -> anyhow::Result<Table> {
    images.announce();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| images.load(&FIXTURES));
        let installed = images.load(&CARDEA).and_then(|()| install(images));
        loading.join().map_err(|_| anyhow::anyhow!("loading the images broke off"))?.and(installed)
    })?;
    apply_servers(images)?;
    await_ready()?;
    let found = ask(images)?;

    let mut table = Table::default();
    let everything = read(SERVERS, "mcpserver/everything")?;
    judge::tools(&mut table, &found, &everything);
    judge::evidence(&mut table, &found)?;
    judge::network(&mut table, &found);
    judge::logs(&mut table)?;
    Ok(table)
}

/// Waits until both servers can be used and tells what they still lack.
fn await_ready() -> anyhow::Result<()> {
    say("waiting until both servers are Ready");
    let servers = ["mcpserver/everything", "mcpserver/whoami"];
    let mut said = BTreeMap::new();
    wait(SERVERS, &servers, "condition=Ready", READY, || {
        for server in servers {
            if let Some(lack) = lack(server)
                && said.insert(server, lack.clone()).as_ref() != Some(&lack)
            {
                say(&format!("  {server}: {lack}"));
            }
        }
    })
    .with_context(|| {
        servers.iter().filter_map(|server| Some(format!("{server}: {}", lack(server)?))).collect::<Vec<_>>().join("; ")
    })
}

/// What the operator says a server still lacks.
fn lack(server: &str) -> Option<String> {
    let server = read(SERVERS, server).ok()?;
    let Some(conditions) = server.pointer("/status/conditions").and_then(Value::as_array) else {
        return Some("the operator has not looked at it yet".to_owned());
    };
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready")?;
    let text = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
    (ready["status"] != "True").then(|| format!("{}: {}", text("reason"), text("message")))
}
