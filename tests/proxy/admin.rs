//! The admin port.

use serde_json::json;

use crate::support::{Reply, World, tool_call};

#[tokio::test]
async fn healthy_without_the_server_ready_with_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let world = World::with(|config| config["upstream"]["listens"]["port"] = json!(port)).await;
    assert_eq!(world.admin("/healthz").await.status, 200);
    assert_eq!(world.admin("/readyz").await.status, 503);
    let _listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    assert_eq!(world.admin("/readyz").await.status, 200);
}

#[tokio::test]
async fn what_is_counted_has_closed_labels() {
    let world = World::start().await;
    world.alice(tool_call("echo", json!({}))).await;
    world.alice(tool_call("no-such-tool", json!({}))).await;
    world.anonymous().send(tool_call("echo", json!({}))).await;
    world.server.once(Reply::text("text/plain", "x"));
    let list = crate::support::message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(world.alice(list).await.status, 502);
    let answer = world.admin("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"cardea_proxy_requests_total{decision="Allow",method="CallTool"} 1"#,
        r#"cardea_proxy_requests_total{decision="Deny",method="CallTool"} 1"#,
        r#"cardea_proxy_requests_total{decision="Unauthenticated",method="Unread"} 1"#,
        r#"cardea_proxy_upstream_requests_total{outcome="Failed"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("no-such-tool") && !text.contains("alice"));
}

#[tokio::test]
async fn nothing_else_is_there_and_nothing_can_be_changed() {
    let world = World::start().await;
    for path in ["/", "/mcp", "/.cardea/status", "/debug/pprof"] {
        assert_eq!(world.admin(path).await.status, 404, "{path}");
    }
    let keys = world.admin("/identity/jwks.json").await.json();
    let key = keys["keys"][0].as_object().unwrap();
    assert_eq!((&key["alg"], &key["kty"]), (&json!("ES256"), &json!("EC")));
    assert!(!key.contains_key("d"), "no private key");
}

/// The table of `docs/guides/observe.md` and `/metrics` say the same, labels and their values included.
#[tokio::test]
async fn what_is_counted_is_what_the_guide_says() {
    use std::collections::{BTreeMap, BTreeSet};
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guides/observe.md")).unwrap();
    let table = |header: &str| -> BTreeMap<String, BTreeSet<String>> {
        let lines = guide.lines().skip_while(|line| !line.starts_with(header)).skip(2);
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let rows = lines.take_while(|line| line.starts_with('|')).map(|line| line.split('|').collect::<Vec<_>>());
        rows.map(|cells| (quoted(cells[1]).remove(0), quoted(cells[2]).into_iter().collect())).collect()
    };
    let (metrics, values) = (table("| Metric |"), table("| Label |"));

    let world = World::start().await;
    world.alice(tool_call("echo", json!({}))).await;
    world.alice(tool_call("hidden", json!({}))).await;
    world.anonymous().send(tool_call("echo", json!({}))).await;
    world.outcomes(1).await;
    let answer = world.admin("/metrics").await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut told = BTreeSet::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            told.insert(if kind == "counter" { format!("{name}_total") } else { name.to_owned() });
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let row = ["", "_bucket", "_sum", "_count"].iter().find_map(|end| metrics.get(name.strip_suffix(end)?));
            let row = row.unwrap_or_else(|| panic!("{name} is not in the guide"));
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
            for label in labels.split(',').filter(|label| !label.is_empty() && !label.starts_with("le=")) {
                let (label, value) = label.split_once('=').unwrap();
                assert!(row.contains(label), "{line}");
                assert!(values[label].contains(value.trim_matches('"')), "{line}");
            }
        }
    }
    assert_eq!(told, metrics.into_keys().collect());
    assert!(
        text.contains("cardea_proxy_config_generation 1") && text.contains("cardea_proxy_open_requests 0"),
        "{text}"
    );
}

#[tokio::test]
async fn e31_whoever_reaches_the_admin_port_learns_and_changes_nothing() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    world.with_token(&token, tool_call("echo", json!({"a": "argument-5b"}))).await;
    let paths = ["/metrics", "/healthz", "/readyz", "/identity/jwks.json", "/mcp", "/.cardea/status", "/config"];
    for method in ["GET", "POST", "PUT", "DELETE", "TRACE"] {
        for path in paths {
            let head =
                format!("{method} {path} HTTP/1.1\r\nhost: x\r\norigin: https://evil.test\r\nconnection: close\r\n");
            let answer = world.admin_raw(&format!("{head}content-length: 0\r\n\r\n")).await;
            let readable = method == "GET" && !["/mcp", "/.cardea/status", "/config"].contains(&path);
            assert_eq!(answer.starts_with("HTTP/1.1 200"), readable, "{method} {path}: {answer}");
            for secret in ["alice", "argument-5b", &token[..40], "\"d\"", "access-control-allow", "set-cookie"] {
                assert!(!answer.contains(secret), "{method} {path}: {answer}");
            }
        }
    }
    assert_eq!(world.server.seen().len(), 1);
}
