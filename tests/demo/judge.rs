//! The answers: what should have come of each question, and what came.

use anyhow::Context as _;
use cardea_tests::kubectl::kubectl;
use cardea_tests::plan::Found;
use serde_json::Value;

use crate::ask::{FORBIDDEN, Findings};
use crate::install::{AGENT, AGENTS, SERVERS, SYSTEM};
use crate::table::Table;

const PERMITTED: [&str; 2] = ["echo", "get-sum"];

/// Layer 3: which tools.
pub(crate) fn tools(table: &mut Table, found: &Findings, server: &Value) {
    let permitted = found.get("permitted");
    let sum = matches!(permitted, Some(Found::Answer { text, error: false }) if text.contains("42"));
    table.check("a permitted tool", "is called: 19 + 23 = 42", told(permitted), sum);

    let (list, all) = (found.get("list"), server["status"]["toolCount"].as_u64().unwrap_or_default());
    let hidden = matches!(list, Some(Found::Tools(names)) if *names == PERMITTED);
    let got = format!("{} of {all} tools", told(list));
    table.check("the list of tools", "shows the permitted ones alone", got, hidden && all > 2);

    let (forbidden, missing) = (found.get("forbidden"), found.get("missing"));
    let name = format!("a tool that is not permitted ({FORBIDDEN})");
    table.check(name, "is denied", told(forbidden), matches!(forbidden, Some(Found::Refused { .. })));
    let same = matches!(forbidden, Some(Found::Refused { .. })) && forbidden == missing;
    table.check("a tool that does not exist", "is denied in the same words", told(missing), same);
}

/// Layer 2: who is calling.
pub(crate) fn evidence(table: &mut Table, found: &Findings) -> anyhow::Result<()> {
    let metadata = "resource_metadata=\"https://everything.demo.svc/.well-known/oauth-protected-resource/mcp\"";
    let none = found.get("no token");
    let challenged = |found: Option<&Found>, wanted: &str| match found {
        Some(Found::Http { status: 401, headers, .. }) => {
            headers.get("www-authenticate").is_some_and(|challenge| challenge.contains(wanted))
        }
        _ => false,
    };
    table.check("no token", "401 that points to the metadata", challenge(none), challenged(none, metadata));
    let other = found.get("other token");
    let refused = challenged(other, "invalid_token");
    table.check("a token made for another server", "401 invalid_token", challenge(other), refused);

    let spoofed = found.get("spoofed");
    let seen: Value = match spoofed {
        Some(Found::Answer { text, error: false }) => serde_json::from_str(text).context("the answer of whoami")?,
        _ => Value::Null,
    };
    let headers: Vec<&str> = seen["headers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let subject = format!("system:serviceaccount:{AGENTS}:{AGENT}");
    let identities = seen["identities"].as_array().map(Vec::as_slice).unwrap_or_default();
    let believed = matches!(identities, [one] if one["sub"] == subject);
    let clean = ["authorization", "x-forwarded-user", "x-user"].iter().all(|name| !headers.contains(name));
    let got = match identities {
        [one] => format!("{} and no other, signed by the proxy", one["sub"].as_str().unwrap_or("an unsigned identity")),
        _ => told(spoofed),
    };
    table.check("identity headers that say admin", "the server sees who it really is", got, believed && clean);
    Ok(())
}

/// Layer 1: who gets there at all.
pub(crate) fn network(table: &mut Table, found: &Findings) {
    let bare = found.get("no certificate");
    // In TLS 1.3 the refusal comes after the client's part of the handshake: it is met while asking, or before.
    let words = ["CertificateRequired", "connection was not ready"];
    let refused = matches!(bare, Some(Found::Failed(why)) if words.iter().any(|word| why.contains(word)));
    table.check("a pod without a certificate", "gets no connection", told(bare), refused);
    let (proxy, server) = (found.get("proxy port"), found.get("server port"));
    let closed = matches!(server, Some(Found::Failed(_))) && proxy == Some(&Found::Connected);
    let got = format!("{} (while the proxy's port is {})", told(server), told(proxy));
    table.check("the server's own port, from another pod", "does not answer", got, closed);
    let admin = found.get("admin port");
    let closed = matches!(admin, Some(Found::Failed(_)));
    table.check("the proxy's admin port, from another pod", "does not answer", told(admin), closed);
}

/// Nothing that could be used again stands in a log. Every token here is a JWT, which begins with the same three letters.
pub(crate) fn logs(table: &mut Table) -> anyhow::Result<()> {
    let of = |namespace: &str, label: &str| {
        let label = format!("--selector={label}");
        kubectl(&[
            "logs",
            "--namespace",
            namespace,
            &label,
            "--all-containers",
            "--tail=-1",
            "--max-log-requests=20",
            "--ignore-errors",
        ])
    };
    let operator = of(SYSTEM, "app.kubernetes.io/name=cardea-operator")?;
    let pods = of(SERVERS, "app.kubernetes.io/managed-by=cardea")?;
    let clean =
        |log: &str| !log.is_empty() && ["eyJ", "Bearer ", "PRIVATE KEY"].iter().all(|trace| !log.contains(trace));
    for (whose, log) in [("the operator's log", &operator), ("the logs of proxies and servers", &pods)] {
        let got =
            format!("{} lines, {}", log.lines().count(), if clean(log) { "none with one" } else { "some with one" });
        table.check(whose, "no token, no key", got, clean(log));
    }
    let subject = format!("system:serviceaccount:{AGENTS}:{AGENT}");
    let audited = pods.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).any(|line| {
        line["kind"] == "audit" && line["decision"] == "Deny" && line["tool"] == FORBIDDEN && line["subject"] == subject
    });
    let got = if audited { "one line says who and what" } else { "no such line" };
    table.check("the denied call", "is in the audit log", got, audited);
    Ok(())
}

fn told(found: Option<&Found>) -> String {
    let beginning = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(80).collect::<String>()
    };
    match found {
        None => "nothing".to_owned(),
        Some(Found::Tools(names)) => names.join(", "),
        Some(Found::Answer { text, .. }) => beginning(text),
        Some(Found::Refused { code, message }) => format!("{code} {message}"),
        Some(Found::Http { status, body, .. }) => format!("{status} {}", beginning(body)),
        Some(Found::Connected) => "open".to_owned(),
        Some(Found::Failed(why)) => why.rsplit(": ").next().unwrap_or(why).to_owned(),
    }
}

fn challenge(found: Option<&Found>) -> String {
    match found {
        Some(Found::Http { status, headers, .. }) => {
            format!("{status} {}", headers.get("www-authenticate").map_or("without a challenge", String::as_str))
        }
        found => told(found),
    }
}
