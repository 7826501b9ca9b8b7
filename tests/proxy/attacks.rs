//! What an attacker tried, each by the name of the attempt. What a server makes of the bytes it is sent is told in a word
//! where a test rests on it.

use std::time::Duration;

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Client, Reply, World, eventually, message, tool_call, with_header};

/// Reads a body to its end or its break: what came, and whether it was whole.
async fn to_its_end(response: http::Response<hyper::body::Incoming>) -> (String, bool) {
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend(frame.into_data().unwrap()),
            Err(_) => return (String::from_utf8(text).unwrap(), false),
        }
    }
    (String::from_utf8(text).unwrap(), true)
}

/// Express (and with it `createMcpExpressApp` of the TypeScript SDK) decodes a body by the `charset` of its media type,
/// `utf-7` among them: there these bytes name `hidden`.
#[tokio::test]
async fn a_charset_that_makes_another_message_of_the_same_bytes() {
    let world = World::start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"x":"+ACIAfQ-,+ACI-name+ACI-:+ACI-hidden+ACI-,+ACI-y+ACI-:+AHsAIg-z+ACI-:+ACI-"}}}"#;
    for parameter in ["charset=utf-7", "charset=\"UTF-7\"", "charset=utf-8; charset=utf-7", "charset=shift_jis", "x=y"]
    {
        let mut request = message(body);
        request.headers_mut().insert("content-type", format!("application/json; {parameter}").parse().unwrap());
        assert_eq!(world.alice(request).await.status, 200, "{parameter}");
        let seen = world.server.only();
        assert_eq!((seen.body.as_ref(), seen.header("content-type")), (body.as_bytes(), "application/json"));
        assert_eq!(seen.headers.get_all("content-type").iter().count(), 1);
        world.server.forget();
    }
}

/// SDKs find the stream for an answer by the request's id: with one id used twice, a list that is late arrives where the
/// call was sent.
#[tokio::test]
async fn e19_a_list_that_arrives_where_a_call_was_permitted() {
    let world = World::start().await;
    let list = r#"{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"hidden"}]}}"#;
    world.server.once(Reply::text("application/json", list));
    let sent = world.anonymous().http1().await.send_request(world.as_alice(tool_call("echo", json!({})))).await;
    if let Ok(answer) = sent {
        let (text, whole) = to_its_end(answer).await;
        assert!(!whole && !text.contains("hidden"), "{text}");
    }

    for request in [tool_call("echo", json!({})), message(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#)] {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let answer = world.anonymous().open(world.as_alice(request)).await;
        let progress = "data: {\"method\":\"notifications/progress\"}\n\n";
        let events = format!("{progress}event: message\nid: 1\ndata: {list}\n\n");
        tokio::spawn(async move {
            for byte in events.bytes() {
                if feed.send(vec![byte].into()).await.is_err() {
                    return;
                }
            }
            feed.closed().await;
        });
        let read = tokio::time::timeout(Duration::from_secs(5), to_its_end(answer)).await;
        let (text, whole) = read.expect("broken off at once");
        assert!(!whole && text.starts_with(progress) && !text.contains("hidden"), "{text}");
    }
}

/// HTTP/2 lets a caller ask without ever reading: beyond its window nothing goes into any buffer but ours.
#[tokio::test]
async fn lists_that_nobody_reads_take_no_more_room_than_the_limit() {
    let world = World::with(|config| {
        config["limits"]["concurrent"] = json!(2);
        config["limits"]["concurrentPerPrincipal"] = json!(2);
    })
    .await;
    world.server.script(|_| {
        let tool = json!({"name": "echo", "description": "x".repeat(4 << 20)});
        Reply::json(&json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool]}}))
    });
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut sender = client.http2().await;
    let mut list = || {
        let mut request = world.as_alice(message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#));
        *request.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        sender.send_request(request)
    };
    let mut unread = Vec::new();
    for _ in 0..2 {
        let answer = list().await.unwrap();
        assert_eq!(answer.status(), 200);
        unread.push(answer);
    }
    assert_eq!(list().await.unwrap().status(), 503);
    let (text, whole) = to_its_end(unread.pop().unwrap()).await;
    assert!(whole && text.len() > 4 << 20);
    assert_eq!(list().await.unwrap().status(), 200);
}

/// Unread refusals hold no slot; a few thousand of them would be all the memory there is.
#[tokio::test]
async fn refusals_that_nobody_reads_are_not_kept_without_end() {
    let world = World::start().await;
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let request = || Request::get("https://mcp.test/mcp").version(http::Version::HTTP_2);
    let mut open = Vec::new();
    let mut ended = 0;
    for _ in 0..60 {
        let mut sender = client.http2_without_window().await;
        let asked = (0..100).map(|_| sender.send_request(request().body(Full::default()).unwrap())).collect::<Vec<_>>();
        for answer in futures::future::join_all(asked).await {
            match answer {
                Ok(answer) => open.push(answer),
                Err(_) => ended += 1,
            }
        }
        assert!(open.iter().all(|answer| answer.status() == 401));
    }
    // 60 connections with 100 each; beyond 4096 each has 4.
    assert!(ended > 1500 && open.len() >= 4096, "{ended} {}", open.len());
    // Whoever comes with less is served.
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test]
async fn large_bodies_that_never_end_take_no_more_room_than_there_is() {
    let world = World::with(|config| config["limits"]["maxBodyBytes"] = json!(16 << 20)).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        world.token(&json!({})),
        12 << 20
    );
    let mut open = Vec::new();
    for _ in 0..3 {
        let client = world.anonymous();
        let head = head.clone();
        open.push(Box::pin(async move {
            let mut stream = client.connect().await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            String::from_utf8_lossy(&status).into_owned()
        }));
    }
    // Two have room for what they announce; a third has not, whichever it is.
    let (status, _, open) = futures::future::select_all(open).await;
    assert_eq!(status, "HTTP/1.1 503");
    assert_eq!(world.alice(tool_call("echo", json!({"x": "small"}))).await.status, 200);
    drop(open);
    eventually("there is room again", async || {
        let sent = world
            .anonymous()
            .http1()
            .await
            .send_request(world.as_alice(tool_call("echo", json!({"x": "x".repeat(12 << 20)}))))
            .await;
        sent.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn forms_of_the_target_that_a_server_might_take_for_the_endpoint() {
    let world = World::start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let raw = async |line: &str, further: &str| {
        let head = format!(
            "{line} HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n{further}\r\n{body}",
            world.token(&json!({})),
            body.len()
        );
        let answer = world.anonymous().raw(head.as_bytes()).await;
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    for (line, status) in [
        ("POST //mcp", "404"),
        ("POST /mcp//", "404"),
        ("POST /%6dcp", "404"),
        ("POST /mcp%00", "404"),
        ("POST /mcp;x=y", "404"),
        ("POST /./mcp", "404"),
        ("POST /x/../mcp", "404"),
        ("POST /server", "404"),
        ("POST *", "404"),
        ("POST https://evil.test/mcp", "400"),
        ("POST https://x@mcp.test/mcp", "400"),
        ("CONNECT mcp.test:8443", "400"),
        ("CONNECT mcp.test", "404"),
        ("post /mcp", "405"),
    ] {
        assert_eq!(raw(line, "").await, status, "{line}");
    }
    assert!(world.server.seen().is_empty());
    // What passes goes where the configuration says, as what was decided on, whatever the head asks for besides.
    let further = "upgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\nx-http-method-override: DELETE\r\nx-original-url: /admin\r\n";
    assert_eq!(raw("POST https://mcp.test/mcp?x=/admin", further).await, "200");
    let seen = world.server.only();
    assert_eq!((seen.method.as_str(), seen.uri.as_str(), seen.body.as_ref()), ("POST", "/server", body.as_bytes()));
    for name in ["upgrade", "connection", "http2-settings", "x-http-method-override", "x-original-url"] {
        assert!(!seen.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn http2_headers_that_would_be_two_in_http1() {
    let world = World::start().await;
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut sender = client.http2().await;
    let mut request = world.as_alice(tool_call("echo", json!({})));
    *request.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
    request.headers_mut().remove("host");
    *request.version_mut() = http::Version::HTTP_2;
    let mut doubled = request.clone();
    doubled.headers_mut().append("authorization", "Bearer x".parse().unwrap());
    assert_eq!(sender.send_request(doubled).await.unwrap().status(), 400);
    // A length that is not the body's.
    let mut short = request.clone();
    short.headers_mut().insert("content-length", "5".parse().unwrap());
    assert!(
        sender.send_request(short).await.is_err_and(|error| !error.is_canceled()) || world.server.seen().is_empty()
    );
    assert!(world.server.seen().is_empty());
    for (name, value) in [("x-cardea-identity", "forged"), ("te", "trailers"), ("x-forwarded-user", "root")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let mut sender = client.http2().await;
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    let seen = world.server.only();
    assert_eq!(seen.headers.get_all("x-cardea-identity").iter().count(), 1);
    assert_ne!(seen.header("x-cardea-identity"), "forged");
    assert!(!seen.headers.contains_key("te") && !seen.headers.contains_key("x-forwarded-user"));
}

/// A name that a Deny does not spell and a lax server might fold to one that it does.
#[tokio::test]
async fn names_beside_the_one_that_is_denied() {
    let world = World::start().await;
    for (name, status) in
        [("get_secret", 403), ("get_\\u0073ecret", 403), ("\\u0067et_secret", 403), ("get_\\ud800", 400)]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
        assert_eq!(world.alice(message(body)).await.status, status, "{name}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_stream_asked_for_by_a_body_or_a_list_by_a_get() {
    let world = World::start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hidden"}}"#;
    for method in ["GET", "DELETE"] {
        let request = Request::builder().method(method).uri("/mcp").header("host", "mcp.test");
        let request = request.header("content-type", "application/json").body(Full::from(body)).unwrap();
        world.server.once(Reply::Whole(http::StatusCode::METHOD_NOT_ALLOWED, vec![], "".into()));
        assert_eq!(world.alice(request).await.status, 405, "{method}");
        let seen = world.server.only();
        assert!(seen.body.is_empty() && !seen.headers.contains_key("content-type"), "{method}");
        world.server.forget();
    }
    let both = with_header(tool_call("hidden", json!({})), "mcp-method", "tools/list");
    assert_eq!(world.alice(with_header(both, "mcp-name", "echo")).await.status, 403);
    assert!(world.server.seen().is_empty());
}
