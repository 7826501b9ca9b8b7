//! Lists show what may be called, in whatever form they come.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::{Reply, World, eventually, message, tool_call, with_header};

fn list(method: &str) -> Request<Full<Bytes>> {
    message(json!({"jsonrpc": "2.0", "id": 1, "method": method}).to_string())
}

const FULL: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"},{"name":"echo", "x":1.50},{"name":"get_secret"}],"nextCursor":"n"}}"#;
const SHOWN: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo", "x":1.50}],"nextCursor":"n"}}"#;

#[tokio::test]
async fn a_list_shows_what_may_be_called() {
    let world = World::start().await;
    let answer = world.alice(list("tools/list")).await;
    let names: Vec<_> =
        answer.json()["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["echo", "get_a"]);
    let stranger = world.token(&json!({"groups": []}));
    assert_eq!(world.with_token(&stranger, list("tools/list")).await.json()["result"]["tools"], json!([]));
}

#[tokio::test]
async fn e19_every_form_of_answer_is_filtered() {
    let world = World::start().await;
    for (status, media_type) in
        [(200, "application/json"), (201, "Application/JSON ; charset=UTF-8"), (206, "application/json")]
    {
        let status = StatusCode::from_u16(status).unwrap();
        world.server.once(Reply::Whole(status, vec![("content-type", media_type.into())], FULL.into()));
        let answer = world.alice(list("tools/list")).await;
        assert_eq!((answer.status, answer.body.as_ref()), (status, SHOWN.as_bytes()), "{media_type}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    // What was asked does not matter, what comes does.
    world.server.once(Reply::text("application/json", FULL));
    assert_eq!(world.alice(list("prompts/list")).await.body, SHOWN);
    world.server.once(Reply::text(
        "application/json",
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"echo"}],"resources":[{}]}}"#,
    ));
    let answer = world.alice(list("prompts/list")).await;
    assert_eq!(answer.body, r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[],"resources":[]}}"#);
}

#[tokio::test]
async fn e19_a_list_that_cannot_be_read_is_withheld() {
    let world = World::start().await;
    let json = |body: &'static str| Reply::text("application/json", body);
    let replies = [
        ("no JSON", json("hidden")),
        ("a batch", json(r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"hidden"}]}}]"#)),
        ("two results", json(r#"{"id":1,"result":{"tools":[]},"result":{"tools":[{"name":"hidden"}]}}"#)),
        ("no list", json(r#"{"id":1,"result":{"tools":{"name":"hidden"}}}"#)),
        ("plain text", Reply::text("text/plain", FULL)),
        ("no media type", Reply::Whole(StatusCode::OK, vec![], FULL.into())),
        (
            "compressed",
            Reply::Whole(
                StatusCode::OK,
                vec![("content-type", "application/json".into()), ("content-encoding", "gzip".into())],
                FULL.into(),
            ),
        ),
        ("elsewhere", Reply::Whole(StatusCode::FOUND, vec![("location", "https://evil.test".into())], FULL.into())),
        ("too long", Reply::text("application/json", format!("{{\"id\":1,\"x\":\"{}\"}}", "a".repeat(9 << 20)))),
    ];
    for (what, reply) in replies {
        world.server.once(reply);
        let answer = world.alice(list("tools/list")).await;
        assert_eq!(answer.status, 502, "{what}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hidden"), "{what}");
        assert!(!answer.headers.contains_key("location"), "{what}");
    }
}

#[tokio::test]
async fn e19_events_are_filtered_wherever_they_are_cut_and_ended() {
    let world = World::start().await;
    for (end, chunk) in [("\n", 1), ("\r\n", 7), ("\r", 3), ("\r\n", 1), ("\n", 1000)] {
        let stream = |list: &str| {
            let other = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"ü\"}}";
            format!(
                ": hi{end}{end}id: 1{end}data:{end}{end}retry: 9{end}data: {other}{end}{end}id: 2{end}event: message{end}data: {list}{end}{end}"
            )
        };
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let sent = stream(&FULL.replace(",\"result\"", &format!(",{end}data: \"result\"")));
        tokio::spawn(async move {
            for chunk in sent.as_bytes().chunks(chunk) {
                feed.send(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
        });
        let answer = world.alice(list("tools/list")).await;
        assert_eq!(answer.header("x-accel-buffering"), "no");
        assert_eq!(String::from_utf8_lossy(&answer.body), stream(SHOWN), "{end:?} {chunk}");
    }
}

#[tokio::test]
async fn e19_a_list_replayed_on_a_stream_is_filtered_too() {
    let world = World::start().await;
    let session = world.session(&world.token(&json!({})), "s").await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let request = Request::get("/mcp").header("host", "mcp.test").header("accept", "text/event-stream");
    let request = request.header("mcp-session-id", session);
    let request = request.header("last-event-id", "1").body(Full::default()).unwrap();
    let answer = world.anonymous().open(world.as_alice(request)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(world.server.only().header("last-event-id"), "1");
    let mut body = answer.into_body();
    feed.send(format!("id: 2\ndata: {FULL}\n\n").into()).await.unwrap();
    let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(event, format!("id: 2\ndata: {SHOWN}\n\n"));
    // A batch on the stream is not shown, what follows is.
    feed.send(format!("data: [{FULL}]\n\ndata: {{}}\n\n").into()).await.unwrap();
    let event = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(event, "data: {}\n\n");
}

#[tokio::test]
async fn a_stream_that_is_none_is_withheld() {
    let world = World::start().await;
    world.server.once(Reply::text("application/json", FULL));
    let request = Request::get("/mcp").header("host", "mcp.test").body(Full::default()).unwrap();
    assert_eq!(world.alice(request).await.status, 502);
    world.server.once(Reply::Whole(StatusCode::METHOD_NOT_ALLOWED, vec![], "no stream".into()));
    let request = Request::get("/mcp").header("host", "mcp.test").body(Full::default()).unwrap();
    assert_eq!(world.alice(request).await.status, 405, "a server without streams says so itself");
}

#[tokio::test]
async fn e23_a_modern_list_is_nobody_elses() {
    let world = World::start().await;
    let reply = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","tools":[{"name":"hidden"}],"ttlMs":60000,"cacheScope":"public"}}"#;
    world.server.once(Reply::text("application/json", reply));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let request = with_header(message(body), "mcp-protocol-version", "2026-07-28");
    let answer = world.alice(with_header(request, "mcp-method", "tools/list")).await;
    assert_eq!(
        answer.body,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","tools":[],"ttlMs":60000,"cacheScope":"private"}}"#
    );
}

#[tokio::test]
async fn answers_bring_no_headers_of_the_servers_own() {
    let world = World::start().await;
    let headers = [
        ("content-type", "application/json"),
        ("mcp-session-id", "s"),
        ("set-cookie", "a=b"),
        ("access-control-allow-origin", "*"),
        ("www-authenticate", "Basic"),
        ("server", "double"),
        ("x-powered-by", "double"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned())).to_vec();
    world.server.once(Reply::Whole(StatusCode::OK, headers, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into()));
    let answer = world.alice(list("ping")).await;
    let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["content-length", "content-type", "date", "x-request-id"]);
}

#[tokio::test]
async fn lists_that_are_read_at_once_share_what_may_be_kept() {
    let world = World::start().await;
    let seven = || " ".repeat(7 << 20);
    let mut held = Vec::new();
    for form in ["application/json", "text/event-stream", "application/json", "text/event-stream"] {
        let (feed, receiver) = mpsc::channel(1);
        world.server.once(Reply::Stream(vec![("content-type", form.to_owned())], receiver));
        let (client, request) = (world.anonymous(), world.as_alice(list("tools/list")));
        let asking = tokio::spawn(async move { client.open(request).await.into_body().collect().await.is_ok() });
        held.push((feed, asking));
        eventually("the server is asked", async || world.server.seen().len() == held.len()).await;
        held.last().unwrap().0.send(seven().into()).await.unwrap();
    }
    world.server.script(move |seen| match seen.json()["method"].as_str() {
        Some("tools/list") => Reply::text("application/json", seven() + FULL),
        _ => Reply::json(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})),
    });
    let whole = async || world.alice(list("tools/list")).await.status;
    eventually("there is no room", async || whole().await == 502).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    for (_, asking) in &held {
        assert!(!asking.is_finished());
        asking.abort();
    }
    eventually("there is room again", async || whole().await == 200).await;
}

/// Some clients read the body of a refusal like any other answer.
#[tokio::test]
async fn a_list_in_a_refusal_goes_on_to_nobody() {
    let world = World::start().await;
    for (media_type, text) in
        [("application/json", FULL.to_owned()), ("text/event-stream", format!("data: {FULL}\n\n"))]
    {
        let refusal = |body: String| {
            Reply::Whole(StatusCode::BAD_REQUEST, vec![("content-type", media_type.into())], body.into())
        };
        world.server.once(refusal(text));
        // It may break off before its head has gone.
        let mut seen = Vec::new();
        let sent = world.anonymous().http1().await.send_request(world.as_alice(list("tools/list"))).await;
        if let Ok(mut response) = sent {
            while let Some(Ok(frame)) = response.frame().await {
                seen.extend(frame.into_data().unwrap());
            }
        }
        assert!(!String::from_utf8_lossy(&seen).contains("hidden"), "{media_type}");
    }
    let plain = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such cursor"}}"#;
    world.server.once(Reply::Whole(
        StatusCode::BAD_REQUEST,
        vec![("content-type", "application/json".into())],
        plain.into(),
    ));
    let answer = world.alice(list("tools/list")).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (400, plain.as_bytes()));
}
