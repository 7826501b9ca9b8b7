//! Streams last as long as what opened them.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::static_tokens::{self, entry, token};
use crate::support::{Authority, Client, Reply, World, eventually, message, tool_call, with_header};

const EVENT: &str = "data: {\"method\":\"notifications/progress\"}\n\n";

/// Seconds by which the proxy lets clocks differ.
const LEEWAY: u64 = 30;

pub(crate) fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn get() -> Request<Full<Bytes>> {
    Request::get("/mcp").header("host", "mcp.test").body(Full::default()).unwrap()
}

pub(crate) fn listen() -> Request<Full<Bytes>> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"_meta": meta, "notifications": {"toolsListChanged": true}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params});
    let request = with_header(message(body.to_string()), "mcp-protocol-version", "2026-07-28");
    with_header(request, "mcp-method", "subscriptions/listen")
}

/// A stream that is open on both sides: one event has come through.
pub(crate) struct Open {
    feed: mpsc::Sender<Bytes>,
    body: Incoming,
}

impl Open {
    pub(crate) async fn with(world: &World, client: &Client, request: Request<Full<Bytes>>) -> Self {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let response: Response<Incoming> = client.open(request).await;
        assert_eq!(response.status(), 200);
        let mut open = Self { feed, body: response.into_body() };
        open.passes(EVENT).await;
        open
    }

    pub(crate) async fn passes(&mut self, event: &'static str) {
        self.feed.send(event.into()).await.unwrap();
        let frame = self.body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }

    /// What still comes until it ends in order, and the server is told of it.
    pub(crate) async fn ends(mut self) -> String {
        let ended = async {
            let mut text = Vec::new();
            while let Some(frame) = self.body.frame().await {
                text.extend(frame.expect("in order").into_data().unwrap());
            }
            self.feed.closed().await;
            String::from_utf8(text).unwrap()
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends")
    }
}

/// How the first `count` requests ended.
async fn ends(world: &World, count: usize) -> Vec<String> {
    world.outcomes(count).await.iter().map(|line| line["end"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn e35_a_stream_ends_with_the_token_that_opened_it() {
    let world = World::start().await;
    for (count, request) in [get, listen].into_iter().enumerate() {
        let token = world.token(&json!({"exp": now() - LEEWAY + 2}));
        let request = with_header(request(), "authorization", &format!("Bearer {token}"));
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let body = world.anonymous().open(request).await.into_body();
        assert_eq!(Open { feed, body }.ends().await, "");
        assert_eq!(ends(&world, count + 1).await[count], "Expired");
    }
}

/// A token is taken for a while after its end, since clocks differ: what it opened then is answered, and so is what was
/// asked for just before the last moment. Its effect would be there otherwise, and its answer lost.
#[tokio::test]
async fn what_was_asked_for_in_time_is_answered() {
    let world = World::start().await;
    let asked = |end: u64, request| {
        with_header(request, "authorization", &format!("Bearer {}", world.token(&json!({"exp": end}))))
    };
    let mut listing = Open::with(&world, &world.anonymous(), asked(now() - 1, get())).await;
    listing.passes(EVENT).await;

    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let last = now() - LEEWAY + 2;
    let mut call = world.anonymous().open(asked(last, tool_call("echo", json!({})))).await.into_body();
    world.server.script(|_| Reply::Whole(StatusCode::ACCEPTED, vec![], Bytes::new()));
    eventually("the token is refused", async || {
        world.anonymous().send(asked(last, tool_call("echo", json!({})))).await.status == 401
    })
    .await;
    feed.send(EVENT.into()).await.unwrap();
    assert_eq!(call.frame().await.unwrap().unwrap().into_data().unwrap(), EVENT);
}

#[tokio::test]
async fn e35_a_stream_ends_when_it_would_not_be_opened_any_more() {
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("the issuer is gone", |config| config["authentication"]["issuers"] = json!([])),
        ("another audience", |config| config["authentication"]["issuers"][0]["audiences"] = json!(["other"])),
        ("another name for her", |config| {
            config["authentication"]["issuers"][0]["kind"]["oidc"]["subjectClaim"] = json!("iss");
        }),
        ("certificates are needed", |config| config["clientAuth"] = json!("Required")),
    ];
    for (what, change) in changes {
        let world = World::start().await;
        let stream = Open::with(&world, &world.anonymous(), world.as_alice(get())).await;
        let mut config = world.config.clone();
        change(&mut config);
        world.write_config(&config.to_string());
        assert_eq!(stream.ends().await, "", "{what}");
        assert_eq!(ends(&world, 1).await, ["Revoked"], "{what}");
    }
}

#[tokio::test]
async fn e35_a_call_is_not_let_run_on_that_would_be_denied_now() {
    let world = World::start().await;
    let mut listing = Open::with(&world, &world.anonymous(), world.as_alice(get())).await;
    let call = Open::with(&world, &world.anonymous(), world.as_alice(tool_call("echo", json!({})))).await;
    let mut config = world.config.clone();
    config["rules"][0]["tools"] = json!(["get_*"]);
    world.write_config(&config.to_string());
    assert_eq!(call.ends().await, "");
    assert_eq!(ends(&world, 1).await, ["Revoked"]);
    // What the change is not about stays.
    listing.passes(EVENT).await;
}

#[tokio::test]
async fn e35_a_stream_ends_with_the_static_token_that_opened_it() {
    let (kept, revoked) = (token("a"), token("b"));
    let world = static_tokens::world(&[entry(&kept, &json!({})), entry(&revoked, &json!({}))]).await;
    let bearing = |token: &str| with_header(get(), "authorization", &format!("Bearer {token}"));
    let mut other = Open::with(&world, &world.anonymous(), bearing(&kept)).await;
    let stream = Open::with(&world, &world.anonymous(), bearing(&revoked)).await;
    static_tokens::write(&world, &[entry(&kept, &json!({}))]);
    assert_eq!(stream.ends().await, "");
    assert_eq!(ends(&world, 1).await, ["Revoked"]);
    other.passes(EVENT).await;
}

#[tokio::test]
async fn e35_a_stream_ends_with_the_certificate_that_opened_it() {
    let world = World::start().await;
    let agent = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/b"]);
    let next = Authority::new("cluster.local");
    let stream = Open::with(&world, &world.bearing(&agent), get()).await;
    let mut by_token = Open::with(&world, &world.anonymous(), world.as_alice(get())).await;
    world.write_leaf(&next.sign(2, "proxy", &["mcp.test"]));
    world.write("trust", "ca.crt", &next.pem);
    assert_eq!(stream.ends().await, "");
    assert_eq!(ends(&world, 1).await, ["Revoked"]);
    by_token.passes(EVENT).await;

    let world = World::start().await;
    let agent = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/b"]);
    let stream = Open::with(&world, &world.bearing(&agent), get()).await;
    let mut config = world.config.clone();
    config["authentication"]["clientCertificates"] = json!(false);
    world.write_config(&config.to_string());
    assert_eq!(stream.ends().await, "");
}

#[tokio::test]
async fn streams_without_an_end_of_their_own_end_between_two_events_when_the_proxy_stops() {
    let mut world = World::start().await;
    let mut idle = Open::with(&world, &world.anonymous(), world.as_alice(listen())).await;
    let mut torn = Open::with(&world, &world.anonymous(), world.as_alice(tool_call("echo", json!({})))).await;
    torn.passes("data: {\"half\":").await;
    idle.passes(": and a comment\n\n").await;
    world.shutdown.cancel();
    assert_eq!(idle.ends().await, "");
    // A call goes on to its end.
    torn.passes("1}\n\n").await;
    torn.passes(EVENT).await;
    torn.feed.send("data: last\n\n".into()).await.unwrap();
    let Open { feed, mut body } = torn;
    drop(feed);
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: last\n\n");
    assert!(body.frame().await.is_none());
    let ended = world.ended.take().unwrap();
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends").unwrap().unwrap();
    assert_eq!(ends(&world, 2).await, ["Stopped", "Complete"]);
}

#[tokio::test]
async fn a_call_that_outlasts_the_drain_ends_between_two_events() {
    let mut world = World::start().await;
    let mut call = Open::with(&world, &world.anonymous(), world.as_alice(tool_call("echo", json!({})))).await;
    call.passes("data: {\"half\":").await;
    world.shutdown.cancel();
    let Open { feed, mut body } = call;
    let read = tokio::spawn(async move {
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            text.extend(frame.expect("in order").into_data().unwrap());
        }
        String::from_utf8(text).unwrap()
    });
    while feed.send("1}\n\ndata: {\"half\":".into()).await.is_ok() {}
    let text = read.await.unwrap();
    assert!(text.ends_with("1}\n\n"), "{}", &text[text.len().saturating_sub(50)..]);
    let ended = world.ended.take().unwrap();
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends").unwrap().unwrap();
    assert_eq!(ends(&world, 1).await, ["Stopped"]);
}
