//! Which requests are for this server at all, and what a caller may do.

use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{World, message, tool_call, with_header};

#[tokio::test]
async fn e20_a_denied_tool_does_not_reach_the_server_and_looks_like_a_missing_one() {
    let world = World::start().await;
    let hidden = world.alice(tool_call("get_secret", json!({}))).await;
    let missing = world.alice(tool_call("no-such-tool", json!({}))).await;
    assert_eq!(hidden.status, 403);
    assert_eq!(
        hidden.json(),
        json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -32003, "message": "not permitted"}})
    );
    let shape = |answer: &crate::support::Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        headers.remove("x-request-id");
        (answer.status, headers, answer.body.clone())
    };
    assert_eq!(shape(&hidden), shape(&missing));
    assert!(world.server.seen().is_empty());
    assert_eq!(world.lines()[0]["rule"], "no-secrets");
    assert_eq!(world.lines()[1]["reason"], "nothing-allows");
}

#[tokio::test]
async fn who_calls_decides_what_may_be_called() {
    let world = World::start().await;
    let other = world.token(&json!({"sub": "bob", "groups": ["ops"]}));
    assert_eq!(world.with_token(&other, tool_call("echo", json!({}))).await.status, 403);
    let nobody = world.token(&json!({"groups": null}));
    assert_eq!(world.with_token(&nobody, tool_call("echo", json!({}))).await.status, 403);
    assert!(world.server.seen().is_empty());
    assert_eq!(world.alice(tool_call("get_a", json!({}))).await.status, 200);
}

#[tokio::test]
async fn hosts_and_origins_are_checked_before_anything_else() {
    let world = World::start().await;
    for (host, origin, status) in [
        ("evil.test", None, 403),
        ("mcp.test.evil.test", None, 403),
        ("127.0.0.1", None, 403),
        ("mcp.test:80", None, 403),
        ("mcp.test", Some("https://evil.test"), 403),
        ("mcp.test", Some("http://mcp.test"), 403),
        ("mcp.test", Some("null"), 403),
        ("mcp.test", Some("https://mcp.test.evil.test"), 403),
        ("MCP.test:8443", None, 401),
        ("mcp.test", Some("https://mcp.test"), 401),
    ] {
        let mut request = message("not even JSON");
        request.headers_mut().insert("host", host.parse().unwrap());
        if let Some(origin) = origin {
            request = with_header(request, "origin", origin);
        }
        assert_eq!(world.anonymous().send(request).await.status, status, "{host} {origin:?}");
    }
    let preflight = Request::options("/mcp").header("host", "mcp.test").header("origin", "https://evil.test");
    let answer = world.anonymous().send(preflight.body(Full::default()).unwrap()).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
    // Not even the metadata.
    let metadata = Request::get("/.well-known/oauth-protected-resource").header("host", "evil.test");
    assert_eq!(world.anonymous().send(metadata.body(Full::default()).unwrap()).await.status, 403);
}

#[tokio::test]
async fn http2_is_spoken_with_the_same_checks() {
    let world = World::start().await;
    let client = crate::support::Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut sender = client.http2().await;
    let mut request = |authority: &str| {
        let mut request = world.as_alice(tool_call("echo", json!({})));
        *request.uri_mut() = format!("https://{authority}/mcp").parse().unwrap();
        request.headers_mut().remove("host");
        *request.version_mut() = http::Version::HTTP_2;
        sender.send_request(request)
    };
    assert_eq!(request("mcp.test").await.unwrap().status(), 200);
    assert_eq!(request("evil.test").await.unwrap().status(), 403);
    let mut two_hosts = world.as_alice(tool_call("echo", json!({})));
    *two_hosts.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
    two_hosts.headers_mut().insert("host", "evil.test".parse().unwrap());
    assert_eq!(sender.send_request(two_hosts).await.unwrap().status(), 400);
    assert_eq!(world.server.seen().len(), 1);
}

#[tokio::test]
async fn paths_and_methods_beside_the_endpoint_do_not_exist() {
    let world = World::start().await;
    for path in [
        "/",
        "/mcp/",
        "/server",
        "/MCP",
        "/mcp/../server",
        "/.cardea/status",
        "/metrics",
        "/.well-known/openid-configuration",
    ] {
        let mut request = tool_call("echo", json!({}));
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(world.alice(request).await.status, 404, "{path}");
    }
    for method in ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE"] {
        let request = Request::builder().method(method).uri("/mcp").header("host", "mcp.test");
        let answer = world.alice(request.body(Full::default()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, POST, DELETE"), "{method}");
    }
    assert!(world.server.seen().is_empty());
    let mut request = tool_call("echo", json!({}));
    *request.uri_mut() = "/mcp?debug=1".parse().unwrap();
    assert_eq!(world.alice(request).await.status, 200);
    assert_eq!(world.server.only().uri, "/server", "a query goes no further");
}

#[tokio::test]
async fn a_message_whose_length_is_told_in_two_ways_is_refused_or_read_in_the_one_way_of_the_standard() {
    let world = World::start().await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\n",
        world.token(&json!({}))
    );
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for lengths in [
        format!("content-length: {}\r\ncontent-length: 5\r\n\r\n{body}", body.len()),
        format!("content-length: {0}, {0}\r\n\r\n{body}", body.len()),
        format!("content-length: +{}\r\n\r\n{body}", body.len()),
        format!("content-length: {}\r\n folded: x\r\n\r\n{body}", body.len()),
        format!("transfer-encoding: chunked, gzip\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        format!("transfer-encoding: xchunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        let answer = world.anonymous().raw(format!("{head}{lengths}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
    assert!(world.server.seen().is_empty());
    // RFC 9112 section 6.3: chunks win over a length. What goes on has one length, ours.
    for order in
        [["content-length: 3", "transfer-encoding: chunked"], ["transfer-encoding: chunked", "content-length: 3"]]
    {
        let lengths =
            format!("{}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\nGET /mcp HTTP/1.1\r\n\r\n", order.join("\r\n"), body.len());
        let answer = world.anonymous().raw(format!("{head}{lengths}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let seen = world.server.only();
        assert_eq!((seen.body.as_ref(), seen.header("content-length")), (body.as_bytes(), "40"));
        assert!(!seen.headers.contains_key("transfer-encoding"));
        world.server.forget();
    }
}
