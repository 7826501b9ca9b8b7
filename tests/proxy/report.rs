//! The report for the operator, and the handshake in it.

use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;
use sha2::Digest;

use crate::support::{OPERATOR, Reply, World, with_header};

fn status() -> Request<Full<bytes::Bytes>> {
    Request::get("/.cardea/status").header("host", "mcp.test").body(Full::default()).unwrap()
}

#[tokio::test]
async fn the_report_says_what_is_in_force() {
    let world = World::start().await;
    let report = world.report().await;
    assert_eq!(report["generation"], 1);
    let file: String =
        sha2::Sha256::digest(world.config.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["configuration"], file);
    assert_eq!(report["leaf"]["serial"], "0abc");
    assert!(report["leaf"]["notAfter"].as_i64().unwrap() > 1_800_000_000);
    let digest: String = sha2::Sha256::digest(&world.authority.pem).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["trustBundle"], digest);
    let tool = |definition: &str| {
        let digest: String = sha2::Sha256::digest(definition).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "name": serde_json::from_str::<serde_json::Value>(definition).unwrap()["name"],
            "digest": format!("sha256:{digest}")
        })
    };
    assert_eq!(
        report["handshake"],
        json!({"succeeded": {
            "name": "double", "version": "1", "protocolVersion": "2025-11-25",
            "tools": [
                tool(r#"{"inputSchema":{"type":"object"},"name":"echo"}"#),
                tool(r#"{"name":"get_a"}"#),
                tool(r#"{"name":"get_secret"}"#),
                tool(r#"{"name":"hidden"}"#),
            ]
        }})
    );
    // It reads as what the contract says.
    serde_json::from_value::<cardea_contract::ProxyReport>(report).unwrap();
    let methods: Vec<_> = world.server.seen().iter().map(|seen| seen.json()["method"].clone()).collect();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/list"]);
    for seen in world.server.seen() {
        assert_eq!((seen.uri.as_str(), seen.headers.contains_key("x-cardea-identity")), ("/server", true));
    }
    // The next look within the time costs the server nothing.
    world.report().await;
    assert_eq!(world.server.seen().len(), 3);
}

#[tokio::test]
async fn for_everyone_else_there_is_no_such_path() {
    let world = World::start().await;
    let unknown = world
        .anonymous()
        .send(Request::get("/nothing").header("host", "mcp.test").body(Full::default()).unwrap())
        .await;
    let agent = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/cardea/sa/cardea-operator2"]);
    let named = world.authority.sign(1, OPERATOR, &["cardea-operator"]);
    for client in [world.anonymous(), world.bearing(&agent), world.bearing(&named)] {
        let answer = client.send(status()).await;
        assert_eq!((answer.status, answer.body), (unknown.status, unknown.body.clone()));
        assert_eq!(client.send(world.as_alice(status())).await.status, 404);
    }
    let post = Request::post("/.cardea/status").header("host", "mcp.test").body(Full::default()).unwrap();
    assert_eq!(world.operator().send(post).await.status, 404);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_session_of_the_handshake_is_ended() {
    let world = World::start().await;
    world.server.script(|seen| {
        let message = seen.json();
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}}),
            _ => return Reply::Whole(StatusCode::ACCEPTED, vec![], "".into()),
        };
        let event = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let (reply, feed) = Reply::events();
        // The stream stays open: the answer counts when it is there.
        tokio::spawn(async move {
            feed.send(format!(": hi\n\nid: 1\ndata:\n\ndata: {event}\n\n").into()).await.unwrap();
            feed.closed().await;
        });
        match reply {
            Reply::Stream(mut headers, receiver) => {
                headers.push(("mcp-session-id", "abc".into()));
                Reply::Stream(headers, receiver)
            }
            reply => reply,
        }
    });
    let report = world.report().await;
    assert_eq!(report["handshake"]["succeeded"]["protocolVersion"], "2025-06-18");
    assert_eq!(report["handshake"]["succeeded"]["tools"], json!([]));
    let seen = world.server.seen();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[2].method.as_str(), seen[2].header("mcp-session-id")), ("DELETE", "abc"));
    assert_eq!(seen[1].header("mcp-protocol-version"), "2025-06-18");
}

#[tokio::test]
async fn a_server_of_the_modern_era_is_discovered() {
    let world = World::start().await;
    world.server.script(|seen| {
        let message = seen.json();
        let id = &message["id"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "new\u{1b}[31m", "version": "2"}}
            }),
            "tools/list" if message["params"]["cursor"] == "next" => json!({"tools": [{"name": "a"}]}),
            "tools/list" => json!({"tools": [{"name": "b"}], "nextCursor": "next"}),
            _ => {
                let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "secret detail"}});
                let headers = vec![("content-type", "application/json".to_owned())];
                return Reply::Whole(StatusCode::NOT_FOUND, headers, error.to_string().into());
            }
        };
        assert_eq!(seen.header("mcp-method"), message["method"].as_str().unwrap());
        Reply::json(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
    });
    let told = world.report().await["handshake"]["succeeded"].clone();
    let names: Vec<_> = told["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((&told["name"], &told["version"]), (&json!("new[31m"), &json!("2")));
    assert_eq!(told["protocolVersion"], "2026-07-28");
}

#[tokio::test]
async fn a_handshake_that_fails_says_so_in_our_words_and_is_tried_again() {
    let world = World::start().await;
    for (reply, expected) in [
        (StatusCode::INTERNAL_SERVER_ERROR, "the server answered with HTTP status 500"),
        (StatusCode::UNAUTHORIZED, "the server answered with HTTP status 401"),
        (StatusCode::OK, "the server's answer is not MCP"),
    ] {
        world.server.script(move |_| {
            Reply::Whole(reply, vec![("content-type", "text/html".into())], "<html>secret detail".into())
        });
        crate::support::eventually(expected, async || {
            let handshake = world.report().await["handshake"].clone();
            assert!(!handshake.to_string().contains("secret"));
            handshake == json!({"failed": {"message": expected}})
        })
        .await;
    }
    // A header more does not make a caller of it.
    assert_eq!(world.operator().send(with_header(status(), "origin", "https://evil.test")).await.status, 200);
}
