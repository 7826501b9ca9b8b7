//! The admin port.

use serde_json::json;

use crate::support::{Reply, World, tool_call};

#[tokio::test]
async fn healthy_without_the_server_ready_with_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let world = World::with(|config| config["upstream"]["port"] = json!(port)).await;
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
