//! The transport of 2024-11-05: a stream that names where messages go.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{INITIALIZE, Reply, World, eventually, message, tool_call, with_header};

const ENDPOINT: &str = "event: endpoint\ndata: /message?sessionId=a\n\n";

async fn world() -> World {
    World::with(|config| config["upstream"]["transport"] = json!("Sse")).await
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/mcp").header("host", "mcp.test").header("accept", "text/event-stream").body(Full::default()).unwrap()
}

fn at(mut request: Request<Full<Bytes>>, uri: &str) -> Request<Full<Bytes>> {
    *request.uri_mut() = uri.parse().unwrap();
    request
}

/// The server names its endpoint in these bytes, and takes every message.
async fn names(world: &World, opening: &str) -> mpsc::Sender<Bytes> {
    let (reply, feed) = Reply::events();
    feed.send(Bytes::copy_from_slice(opening.as_bytes())).await.unwrap();
    let mut stream = Some(reply);
    world.server.script(move |seen| match seen.method.as_str() {
        "GET" => stream.take().expect("one stream only"),
        _ => Reply::Whole(StatusCode::ACCEPTED, vec![("content-type", "text/plain".into())], "Accepted".into()),
    });
    feed
}

/// What comes next on a stream.
async fn next(body: &mut Incoming) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("something comes");
    String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap()
}

/// A stream of the one with this token, and where messages go.
struct Open {
    feed: mpsc::Sender<Bytes>,
    body: Incoming,
    endpoint: String,
}

async fn open(world: &World, token: &str, opening: &str) -> Open {
    let feed = names(world, opening).await;
    let request = with_header(get(), "authorization", &format!("Bearer {token}"));
    let response: Response<Incoming> = world.anonymous().open(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let told = next(&mut body).await;
    let endpoint = told.strip_prefix("event: endpoint\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
    let endpoint = endpoint.unwrap_or_else(|| panic!("{told}")).to_owned();
    world.server.forget();
    Open { feed, body, endpoint }
}

#[tokio::test]
async fn messages_go_where_the_stream_says_and_answers_come_on_it() {
    let world = world().await;
    let alice = world.token(&json!({}));
    let mut stream = open(&world, &alice, &format!(": hello\n\n{ENDPOINT}")).await;
    assert!(stream.endpoint.starts_with("/mcp?session=") && !stream.endpoint.contains("message"));
    let call = tool_call("echo", json!({"x": 1}));
    let sent = call.clone().into_body().collect().await.unwrap().to_bytes();
    let answer = world.alice(at(call, &stream.endpoint)).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    let seen = world.server.only();
    assert_eq!((seen.method.as_str(), seen.uri.as_str(), &seen.body), ("POST", "/message?sessionId=a", &sent));
    assert_eq!(seen.header("authorization"), "");
    let result = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n";
    stream.feed.send(result.into()).await.unwrap();
    assert_eq!(next(&mut stream.body).await, result);
}

#[tokio::test]
async fn e19_a_list_on_the_stream_is_filtered_for_whose_it_is() {
    let world = world().await;
    let list = |names: &str| {
        format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{names}]}}}}\n\n")
    };
    let all = list(r#"{"name":"hidden"},{"name":"echo"}"#);
    // With the endpoint's event and alone.
    let opening = format!("{ENDPOINT}{all}");
    let mut stream = open_with(&world, &opening).await;
    assert_eq!(stream.1, list(r#"{"name":"echo"}"#));
    stream.0.feed.send(all.into()).await.unwrap();
    assert_eq!(next(&mut stream.0.body).await, list(r#"{"name":"echo"}"#));
}

/// As `open`, where more came in one go.
async fn open_with(world: &World, opening: &str) -> (Open, String) {
    let feed = names(world, opening).await;
    let mut body = world.anonymous().open(world.as_alice(get())).await.into_body();
    let told = next(&mut body).await;
    let (first, more) = told.split_once("\n\n").unwrap();
    let endpoint = first.rsplit(' ').next().unwrap().to_owned();
    let more = if more.is_empty() { next(&mut body).await } else { more.to_owned() };
    (Open { feed, body, endpoint }, more)
}

#[tokio::test]
async fn what_is_posted_is_decided_on_like_everything() {
    let world = world().await;
    let stream = open(&world, &world.token(&json!({})), ENDPOINT).await;
    for (body, status) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hidden"}}"#, 403),
        (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///a"}}"#, 403),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","name":"hidden"}}"#, 400),
    ] {
        assert_eq!(world.alice(at(message(body), &stream.endpoint)).await.status, status, "{body}");
    }
    assert_eq!(world.anonymous().send(at(tool_call("echo", json!({})), &stream.endpoint)).await.status, 401);
    let meta = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let modern = with_header(at(message(meta), &stream.endpoint), "mcp-protocol-version", "2026-07-28");
    let answer = world.alice(with_header(modern, "mcp-method", "tools/list")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, -32022));
    assert!(!answer.json()["error"]["data"]["supported"].as_array().unwrap().contains(&json!("2026-07-28")));
    assert!(world.server.seen().is_empty());
    assert_eq!(world.alice(at(message(INITIALIZE), &stream.endpoint)).await.status, 202);
}

#[tokio::test]
async fn e16_an_endpoint_of_another_is_not_found() {
    let world = world().await;
    let (alice, bob) = (world.token(&json!({})), world.token(&json!({"sub": "bob"})));
    let stream = open(&world, &alice, ENDPOINT).await;
    let post = |uri: &str| at(tool_call("echo", json!({})), uri);
    let answer = world.with_token(&bob, post(&stream.endpoint)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, -32003));
    let line = world.last_line();
    assert_eq!((&line["reason"], &line["subject"]), (&json!("session-not-found"), &json!("bob")));
    for query in ["session=", "session=x", "sessionId=a", &format!("{}x", &stream.endpoint[5..]), "session=%2Fmessage"]
    {
        assert_eq!(world.alice(post(&format!("/mcp?{query}"))).await.status, 404, "{query}");
    }
    // A client of newer revisions learns that it must open a stream.
    let answer = world.alice(message(INITIALIZE)).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET"));
    let delete = Request::delete("/mcp").header("host", "mcp.test").body(Full::default()).unwrap();
    assert_eq!(world.alice(delete).await.status, 405);
    assert!(world.server.seen().is_empty());
    // With its stream an endpoint is gone.
    drop(stream.body);
    stream.feed.closed().await;
    eventually("it is gone", async || world.alice(post(&stream.endpoint)).await.status == 404).await;
}

#[tokio::test]
async fn e18_an_endpoint_that_is_not_the_servers_own_is_never_relayed() {
    let world = world().await;
    let event = |data: &str| format!("event: endpoint\ndata: {data}\n\n");
    for opening in [
        event("https://evil.test/message"),
        event("http://127.0.0.1:1/message"),
        event("//evil.test/message"),
        event("\\\\evil.test"),
        event("message"),
        event("/message\ndata: https://evil.test"),
        event("/message\rdata: https://evil.test"),
        event("/mess age"),
        event("/\u{e9}"),
        event(""),
        event(&format!("/{}", "a".repeat(2000))),
        format!(": {}\n\n{ENDPOINT}", "x".repeat(20 << 10)),
        "data: /message\n\n".into(),
        "event: message\ndata: {}\n\n".to_owned() + ENDPOINT,
        // Two at once, of which a client may follow either.
        format!("{ENDPOINT}{}", event("https://evil.test/message")),
    ] {
        let _feed = names(&world, &opening).await;
        let answer = world.alice(get()).await;
        assert_eq!(answer.status, 502, "{:.100}", opening);
        assert!(!String::from_utf8_lossy(&answer.body).contains("evil"), "{opening}");
    }
    world.server.once(Reply::text("application/json", "{}"));
    assert_eq!(world.alice(get()).await.status, 502);
    world.server.once(Reply::Whole(StatusCode::NOT_FOUND, vec![], "".into()));
    assert_eq!(world.alice(get()).await.status, 404);
}

#[tokio::test]
async fn e18_another_endpoint_later_ends_the_stream() {
    let world = world().await;
    for later in ["/message?sessionId=b", "https://evil.test/message"] {
        let mut stream = open(&world, &world.token(&json!({})), ENDPOINT).await;
        stream.feed.send(format!("event: endpoint\ndata: {later}\n\n").into()).await.unwrap();
        let frame = tokio::time::timeout(Duration::from_secs(10), stream.body.frame()).await.unwrap();
        assert!(frame.is_some_and(|frame| frame.is_err()), "{later}");
        stream.feed.closed().await;
    }
}

#[tokio::test]
async fn e18_an_endpoint_of_another_stream_is_not_given_to_a_second_caller() {
    let world = world().await;
    let stream = open(&world, &world.token(&json!({})), ENDPOINT).await;
    let _feed = names(&world, ENDPOINT).await;
    let bob = world.token(&json!({"sub": "bob"}));
    assert_eq!(world.with_token(&bob, get()).await.status, 502);
    assert_eq!(world.alice(at(tool_call("echo", json!({})), &stream.endpoint)).await.status, 202);
}

#[tokio::test]
async fn the_report_tells_of_a_server_with_this_transport() {
    let world = world().await;
    let (replies, streams) = (std::sync::Arc::new(std::sync::Mutex::new(None)), Reply::events);
    world.server.script(move |seen| {
        let mut feed = replies.lock().unwrap();
        if seen.method == "GET" {
            let (reply, sender) = streams();
            sender.try_send(ENDPOINT.into()).unwrap();
            *feed = Some(sender);
            return reply;
        }
        assert_eq!(seen.uri, "/message?sessionId=a");
        let message: Value = seen.json();
        let result = match message["method"].as_str().unwrap() {
            "initialize" => json!({
                "protocolVersion": "2024-11-05", "capabilities": {"tools": {}},
                "serverInfo": {"name": "old", "version": "1"},
            }),
            "tools/list" => json!({"tools": [{"name": "echo"}]}),
            _ => return Reply::Whole(StatusCode::ACCEPTED, vec![], "".into()),
        };
        let event = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let sender = feed.clone().unwrap();
        tokio::spawn(async move { sender.send(format!("event: message\ndata: {event}\n\n").into()).await });
        Reply::Whole(StatusCode::ACCEPTED, vec![], "Accepted".into())
    });
    let report = world.report().await;
    let info = &report["handshake"]["succeeded"];
    assert_eq!((&info["name"], &info["tools"][0]["name"]), (&json!("old"), &json!("echo")), "{report}");
}
