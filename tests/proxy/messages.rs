//! Messages that are read strictly, and both eras of the protocol.

use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Reply, World, message, tool_call, with_header};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

#[tokio::test]
async fn e01_e02_e03_what_could_be_read_in_two_ways_never_reaches_the_server() {
    let world = World::start().await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{}{}}}}}"#,
        "[".repeat(70),
        "]".repeat(70)
    );
    for (body, code) in [
        (r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}]"#.as_bytes(), -32600),
        (b" [] ", -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"hidden"}}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","n\u0061me":"hidden"}}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Name":"hidden"}}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name\u0000":"hidden"}}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":{"b":1,"b":2}}}}"#, -32600),
        (deep.as_bytes(), -32600),
        (br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping"}{}"#, -32700),
        (b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700),
        (b"", -32700),
    ] {
        let answer = world.alice(message(bytes::Bytes::copy_from_slice(body))).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code), "{text}");
        assert!(answer.json()["id"].is_null(), "{text}");
        assert_eq!(world.last_line()["reason"], "message", "{text}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn what_is_sent_is_what_was_decided_on_to_the_byte() {
    let world = World::start().await;
    let body = "  {\"params\" : {\"arguments\":{\"x\":1.0,\"y\":\"\\u00e9\",\"z\":[1 , 2]}, \"name\":\"echo\"},\"id\":\"1\", \"jsonrpc\":\"2.0\",\"method\":\"tools/call\"}\n";
    assert_eq!(world.alice(message(body)).await.status, 200);
    assert_eq!(world.server.only().body, body.as_bytes());
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let world = World::start().await;
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let mut request = tool_call("echo", json!({}));
        request.headers_mut().insert("content-type", media_type.parse().unwrap());
        assert_eq!(world.alice(request).await.status, 415, "{media_type}");
    }
    assert_eq!(world.alice(with_header(tool_call("echo", json!({})), "content-encoding", "gzip")).await.status, 415);
    assert!(world.server.seen().is_empty());
    let mut request = tool_call("echo", json!({}));
    request.headers_mut().insert("content-type", "Application/JSON; charset=utf-8".parse().unwrap());
    assert_eq!(world.alice(request).await.status, 200);
}

#[tokio::test]
async fn a_modern_call_with_headers_that_agree_passes_and_keeps_them() {
    let world = World::start().await;
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo",{META}}}}}"#);
    let mut request = message(body);
    for (name, value) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("mcp-param-region", "eu"),
        ("mcp-session-id", "left over"),
        ("last-event-id", "left over"),
    ] {
        request = with_header(request, name, value);
    }
    assert_eq!(world.alice(request).await.status, 200);
    let seen = world.server.only();
    assert_eq!(seen.header("mcp-protocol-version"), "2026-07-28");
    assert_eq!((seen.header("mcp-method"), seen.header("mcp-name")), ("tools/call", "echo"));
    assert_eq!(seen.header("mcp-param-region"), "eu");
    assert!(!seen.headers.contains_key("mcp-session-id") && !seen.headers.contains_key("last-event-id"));
}

#[tokio::test]
async fn e07_the_decision_is_the_bodys_and_the_headers_must_agree() {
    let world = World::start().await;
    let hidden = format!(r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{{"name":"hidden",{META}}}}}"#);
    let send = async |name: &'static str, body: &str| {
        let mut request = message(body.to_owned());
        for (header, value) in
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", name)]
        {
            request = with_header(request, header, value);
        }
        world.alice(request).await
    };
    let answer = send("echo", &hidden).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32020));
    assert_eq!(answer.json()["id"], "x");
    assert_eq!(send("hidden", &hidden).await.status, 403);
    // The same body in the other era: the mirrored headers are not asked, nor passed on.
    let legacy = tool_call("echo", json!({}));
    assert_eq!(world.alice(with_header(legacy, "mcp-name", "other")).await.status, 200);
    assert_eq!(world.server.only().header("mcp-name"), "");
}

#[tokio::test]
async fn a_header_that_decides_must_not_come_twice() {
    let world = World::start().await;
    for (name, value) in [
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-session-id", "s"),
        ("host", "mcp.test"),
        ("origin", "https://mcp.test"),
        ("content-type", "application/json"),
        ("last-event-id", "1"),
    ] {
        let request = with_header(with_header(tool_call("echo", json!({})), name, value), name, value);
        assert_eq!(world.alice(request).await.status, 400, "{name}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e08_revisions_and_eras_are_not_guessed() {
    let world = World::start().await;
    let list = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    let send = async |version: Option<&str>, body: String| {
        let mut request = message(body);
        if let Some(version) = version {
            request = with_header(request, "mcp-protocol-version", version);
        }
        let answer = world.alice(request).await;
        (answer.status.as_u16(), answer.code())
    };
    let plain = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
    assert_eq!(send(Some("1999-01-01"), plain("tools/list")).await, (400, -32022));
    assert_eq!(send(None, list.clone()).await, (400, -32020));
    assert_eq!(send(Some("2025-11-25"), list).await, (400, -32020));
    assert_eq!(send(Some("2026-07-28"), plain("tools/list")).await, (400, -32602));
    assert_eq!(send(None, plain("server/discover")).await, (400, -32601));
    let answer = plain("x").replace(r#""method":"x""#, r#""result":{}"#);
    assert_eq!(send(Some("2026-07-28"), answer).await, (400, -32600));
    let initialize = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{{META}}}}}"#);
    let modern = with_header(message(initialize), "mcp-protocol-version", "2026-07-28");
    let modern = world.alice(with_header(modern, "mcp-method", "initialize")).await;
    assert_eq!((modern.status.as_u16(), modern.code()), (404, -32601));
    for method in ["GET", "DELETE"] {
        let request = Request::builder().method(method).uri("/mcp").header("host", "mcp.test");
        let request = request.header("mcp-protocol-version", "2026-07-28").body(Full::default()).unwrap();
        let answer = world.alice(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"), "{method}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_legacy_session_passes() {
    let world = World::start().await;
    let session = world.session(&world.token(&json!({})), "s").await;
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let answer = world.alice(with_header(message(initialized.to_string()), "mcp-session-id", &session)).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    let reply = message(r#"{"jsonrpc":"2.0","id":"server-1","result":{"roots":[]}}"#);
    assert_eq!(world.alice(with_header(reply, "mcp-session-id", &session)).await.status, 200);
    let seen = world.server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.header("mcp-session-id") == "s"));
}

/// A request of 2026-07-28 with its mirrored headers.
fn modern(method: &str, name: Option<&str>, mut params: serde_json::Value) -> Request<Full<bytes::Bytes>> {
    let meta: serde_json::Value = serde_json::from_str(&format!("{{{META}}}")).unwrap();
    params["_meta"] = meta["_meta"].clone();
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = with_header(message(body.to_string()), "mcp-protocol-version", "2026-07-28");
    let request = with_header(request, "mcp-method", method);
    name.into_iter().fold(request, |request, name| with_header(request, "mcp-name", name))
}

#[tokio::test]
async fn e07_mirrored_values_that_cannot_be_read_are_refused() {
    let world = World::start().await;
    // In base64: `echo` and a line feed, an escape, a delete.
    for (tool, name) in [
        ("echo\n", "ZWNobwo="),
        ("echo\u{1b}", "ZWNobxs="),
        ("echo\u{7f}", "ZWNob38="),
        ("echo", "ZWNo*w=="),
        ("echo", "/w=="),
    ] {
        let name = format!("=?base64?{name}?=");
        let answer = world.alice(modern("tools/call", Some(&name), json!({"name": tool}))).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32020), "{tool:?} {name}");
    }
    for value in ["=?base64?YQo=?=", "=?base64?!!?=", "=?base64?/w==?=", "a\tb"] {
        let request = with_header(modern("tools/call", Some("echo"), json!({"name": "echo"})), "mcp-param-x", value);
        let answer = world.alice(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, -32020), "{value:?}");
    }
    assert!(world.server.seen().is_empty());
    for value in ["=?base64?w7w=?=", "", "eu west"] {
        let request = with_header(modern("tools/call", Some("echo"), json!({"name": "echo"})), "mcp-param-x", value);
        assert_eq!(world.alice(request).await.status, 200, "{value:?}");
        assert_eq!(world.server.only().header("mcp-param-x"), value);
        world.server.forget();
    }
}

#[tokio::test]
async fn row29_a_modern_request_says_what_its_client_can_do() {
    let world = World::start().await;
    let body = r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let request = with_header(message(body), "mcp-protocol-version", "2026-07-28");
    let answer = world.alice(with_header(request, "mcp-method", "tools/list")).await;
    assert_eq!((answer.status.as_u16(), answer.code(), &answer.json()["id"]), (400, -32602, &json!(4)));
    assert!(world.server.seen().is_empty());
    assert_eq!(world.alice(modern("tools/list", None, json!({}))).await.status, 200);
}

#[tokio::test]
async fn e22_a_retry_is_judged_anew() {
    let world = World::start().await;
    let state = "opaque \\u0000\\u00e9 \\/ =";
    let asks =
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required","requestState":"{state}"}}}}"#);
    world.server.once(Reply::text("application/json", asks.clone()));
    let first = world.alice(modern("tools/call", Some("echo"), json!({"name": "echo", "arguments": {"a": 1}}))).await;
    assert_eq!(first.body, asks);
    world.server.forget();
    world.server.script(|_| Reply::json(&json!({"jsonrpc": "2.0", "id": 2, "result": {"content": []}})));
    let retry = |tool: &str, arguments: &str| {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"requestState":"{state}","inputResponses":{{"x":{{"action":"accept"}}}},{META}}}}}"#
        );
        let request = with_header(message(body.clone()), "mcp-protocol-version", "2026-07-28");
        (with_header(with_header(request, "mcp-method", "tools/call"), "mcp-name", tool), body)
    };
    let (again, body) = retry("echo", r#"{"a": 2}"#);
    assert_eq!(world.alice(again).await.status, 200);
    assert_eq!(world.server.only().body, body);
    assert_eq!(world.alice(retry("get_secret", r#"{"a": 1}"#).0).await.status, 403);
    let other = world.token(&json!({"sub": "bob", "groups": ["ops"]}));
    assert_eq!(world.with_token(&other, retry("echo", r#"{"a": 1}"#).0).await.status, 403);
    assert_eq!(world.anonymous().send(retry("echo", r#"{"a": 1}"#).0).await.status, 401);
    assert_eq!(world.server.seen().len(), 1);
    assert_eq!(world.last_line()["reason"], "no-evidence");
}

const ASKS: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"sampling/createMessage\",\"params\":{}}\n\n";
const TELLS: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"id\":1}}\n\n";

#[tokio::test]
async fn row33_a_modern_server_asks_its_clients_nothing() {
    let world = World::start().await;
    let answers = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[], \"method\":1}}\n\n";
    let listen = modern("subscriptions/listen", None, json!({"notifications": {"toolsListChanged": true}}));
    let list = modern("tools/list", None, json!({}));
    let call = modern("tools/call", Some("echo"), json!({"name": "echo"}));
    let mut dropped = 0;
    for (request, passes) in [(call, false), (list, false), (listen, false), (tool_call("echo", json!({})), true)] {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        tokio::spawn(async move { feed.send(format!("{TELLS}{ASKS}{answers}").into()).await });
        let answer = world.alice(request).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert_eq!(body, format!("{TELLS}{}{answers}", if passes { ASKS } else { "" }));
        dropped += u32::from(!passes);
        let told = world.admin("/metrics").await;
        let told = String::from_utf8_lossy(&told.body).into_owned();
        assert!(told.contains(&format!("cardea_proxy_events_dropped_total {dropped}\n")), "{told}");
    }
    world.server.once(Reply::text("application/json", r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#));
    assert_eq!(world.alice(modern("tools/list", None, json!({}))).await.status, 502);
}
