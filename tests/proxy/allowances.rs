//! What one caller may take: requests in a time, requests and streams at once, and how often it may prove nobody.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, Reply, World, eventually, message, tool_call, with_header};

/// So many, and no more for as long as a test runs.
fn only(requests: u32) -> Value {
    json!({"requests": requests, "perSeconds": 3600, "burst": requests})
}

async fn as_bob(world: &World, request: Request<Full<Bytes>>) -> Answer {
    world.with_token(&world.token(&json!({"sub": "bob"})), request).await
}

fn get() -> Request<Full<Bytes>> {
    Request::get("/mcp").header("host", "mcp.test").header("accept", "text/event-stream").body(Full::default()).unwrap()
}

#[track_caller]
fn assert_limited(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.code()), (429, -32004), "{answer:?}");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
}

/// Neither sessions, connections, tokens, revisions, addresses that a header claims nor trying again make it more.
#[tokio::test]
async fn e28_many_sessions_share_one_allowance() {
    let world = World::with(|config| config["limits"]["rate"] = json!({"perPrincipal": only(6)})).await;
    let mut begun = 0;
    world.server.script(move |seen| {
        begun += 1;
        let headers =
            vec![("content-type", "application/json".to_owned()), ("mcp-session-id", format!("session-{begun}"))];
        let result = json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": {}});
        Reply::Whole(http::StatusCode::OK, headers, result.to_string().into())
    });
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let answer = world.alice(message(initialize.to_string())).await;
        assert_eq!(answer.status, 200);
        sessions.push(answer.header("mcp-session-id").to_owned());
    }
    let mut statuses = Vec::new();
    for number in 0..10 {
        let token = world.token(&json!({"jti": number.to_string(), "groups": ["dev", "more"]}));
        let call = with_header(tool_call("echo", json!({})), "mcp-session-id", &sessions[number % 3]);
        let call = with_header(call, "x-forwarded-for", &format!("203.0.113.{number}"));
        let call = with_header(call, "mcp-protocol-version", if number % 2 == 0 { "2025-11-25" } else { "2025-06-18" });
        let answer = world.with_token(&token, call).await;
        if number >= 3 {
            assert_limited(&answer);
            assert!(!answer.json()["error"]["message"].as_str().unwrap().contains("echo"));
        }
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [[200; 3].as_slice(), &[429; 7]].concat());
    assert_eq!((world.server.seen().len(), world.met("RatePerPrincipal").await), (6, 7));
    // Of a flood the audit says so, and does not become one.
    let refused: Vec<_> = world.lines().into_iter().filter(|line| line["reason"] == "too-many-requests").collect();
    assert!((1..7).contains(&refused.len()), "{refused:?}");
    assert_eq!((&refused[0]["subject"], &refused[0]["decision"]), (&json!("alice"), &json!("Deny")));
    // Somebody else has an allowance of their own, and so has a certificate of the same name.
    assert_eq!(as_bob(&world, tool_call("echo", json!({}))).await.status, 200);
    let alice = world.authority.sign(9, "alice", &["spiffe://cluster.local/alice"]);
    assert_ne!(world.bearing(&alice).send(tool_call("echo", json!({}))).await.status, 429);
}

#[tokio::test]
async fn an_allowance_grows_back() {
    let rate = json!({"perPrincipal": {"requests": 1, "perSeconds": 1, "burst": 1}});
    let world = World::with(|config| config["limits"]["rate"] = rate).await;
    eventually("it is used up", async || world.alice(tool_call("echo", json!({}))).await.status == 429).await;
    eventually("it is there again", async || world.alice(tool_call("echo", json!({}))).await.status == 200).await;
}

#[tokio::test]
async fn e28_a_tool_s_allowance_is_a_principal_s_own() {
    let world = World::with(|config| config["limits"]["rate"] = json!({"perTool": only(1)})).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    let answer = world.alice(tool_call("echo", json!({"other": "arguments"}))).await;
    assert_limited(&answer);
    assert_eq!(answer.json()["id"], 7);
    assert_eq!(world.alice(tool_call("get_a", json!({}))).await.status, 200);
    assert_eq!(as_bob(&world, tool_call("echo", json!({}))).await.status, 200);
    // What is denied is denied as before: nothing tells that there is a limit, or a tool.
    for _ in 0..3 {
        assert_eq!(world.alice(tool_call("get_secret", json!({}))).await.status, 403);
    }
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(world.alice(message(list)).await.status, 200);
    assert_eq!(world.met("RatePerTool").await, 1);
}

#[tokio::test]
async fn e28_who_is_over_an_allowance_does_not_use_up_the_server_s() {
    let rate = json!({"perServer": only(3), "perPrincipal": only(2)});
    let world = World::with(|config| config["limits"]["rate"] = rate).await;
    for expected in [200, 200, 429, 429, 429] {
        assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, expected);
    }
    assert_eq!(as_bob(&world, tool_call("echo", json!({}))).await.status, 200);
    assert_limited(&as_bob(&world, tool_call("echo", json!({}))).await);
    assert_eq!((world.met("RatePerPrincipal").await, world.met("RatePerServer").await), (3, 1));
}

#[tokio::test]
async fn e28_who_proves_nobody_is_known_by_address_or_certificate() {
    let world = World::with(|config| {
        config["limits"]["rate"] = json!({"failuresPerPeer": only(3)});
    })
    .await;
    let mut proven = world.anonymous().http1().await;
    let mut on_proven = async |request| Answer::of(proven.send_request(request).await.unwrap()).await;
    assert_eq!(on_proven(world.as_alice(tool_call("echo", json!({})))).await.status, 200);
    let mut statuses = Vec::new();
    for number in 0..8 {
        let call = with_header(tool_call("echo", json!({})), "x-forwarded-for", &format!("203.0.113.{number}"));
        let call = with_header(call, "forwarded", &format!("for=203.0.113.{number}"));
        let call = if number == 2 { call } else { with_header(call, "authorization", "Bearer no.to.ken") };
        let answer = world.anonymous().send(call).await;
        statuses.push(answer.status.as_u16());
        if number >= 3 {
            assert_limited(&answer);
        }
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429, 429, 429, 429]);
    // Its tokens are not even looked at: this one is good.
    assert_limited(&world.alice(tool_call("echo", json!({}))).await);
    assert_eq!(world.met("FailuresPerPeer").await, 6);
    let told = world.lines().into_iter().filter(|line| line["reason"] == "too-many-failures").count();
    assert_eq!(told, 1);
    // Who has proven somebody goes on, and so does who comes with a certificate, from the same address.
    assert_eq!(on_proven(world.as_alice(tool_call("echo", json!({})))).await.status, 200);
    let client = world.bearing(&world.authority.sign(9, "client", &["spiffe://cluster.local/client"]));
    assert_eq!(client.send(world.as_alice(tool_call("echo", json!({})))).await.status, 200);
    // Until it proves nobody: then it is one of them.
    let bad = with_header(tool_call("echo", json!({})), "authorization", "Bearer no.to.ken");
    assert_eq!(on_proven(bad).await.status, 429);
    assert_eq!(on_proven(world.as_alice(tool_call("echo", json!({})))).await.status, 429);
}

#[tokio::test]
async fn e34_one_principal_never_has_more_than_half_of_the_server() {
    let world = World::with(|config| config["limits"]["concurrent"] = json!(8)).await;
    let open = async |claims: Value| {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let token = world.token(&claims);
        let call = with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {token}"));
        let answer = world.anonymous().open(call).await;
        (answer, feed)
    };
    let mut held = Vec::new();
    for (subject, share) in [("alice", 4), ("bob", 2), ("carol", 1)] {
        for number in 0..=share {
            let (answer, feed) = open(json!({"sub": subject, "jti": number.to_string()})).await;
            if number < share {
                assert_eq!(answer.status(), 200, "{subject} {number}");
                held.push((answer, feed));
            } else {
                assert_limited(&Answer::of(answer).await);
            }
        }
    }
    // There is room for one more, whoever it is.
    assert_eq!(open(json!({"sub": "dave"})).await.0.status(), 200);
    assert_eq!(world.met("ConcurrentPerPrincipal").await, 3);
    held.clear();
    eventually("there is room again", async || open(json!({"sub": "alice"})).await.0.status() == 200).await;
}

#[tokio::test]
async fn e34_streams_of_one_principal_are_counted() {
    let world = World::with(|config| config["limits"]["streamsPerPrincipal"] = json!(2)).await;
    let mut open = Vec::new();
    let listen = json!({"jsonrpc": "2.0", "id": 3, "method": "subscriptions/listen", "params": {
        "notifications": {"toolsListChanged": true}, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    }});
    let listen = with_header(message(listen.to_string()), "mcp-protocol-version", "2026-07-28");
    let listen = with_header(listen, "mcp-method", "subscriptions/listen");
    for request in [get(), listen.clone()] {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let answer = world.anonymous().open(world.as_alice(request)).await;
        assert_eq!(answer.status(), 200);
        open.push((answer, feed));
    }
    world.server.script(|_| Reply::text("text/event-stream", ": nothing\n\n"));
    for request in [get(), with_header(get(), "x-forwarded-for", "203.0.113.7"), listen] {
        assert_limited(&world.alice(request).await);
    }
    assert_eq!(world.met("StreamsPerPrincipal").await, 3);
    assert_eq!(as_bob(&world, get()).await.status, 200);
    // Calls are no streams, whatever form their answers have.
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    open.pop();
    eventually("there is room again", async || world.alice(get()).await.status == 200).await;
}

#[tokio::test]
async fn what_is_taken_stays_taken_when_other_things_change() {
    let world = World::with(|config| config["limits"]["rate"] = json!({"perPrincipal": only(1)})).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    let mut config = world.config.clone();
    config["generation"] = json!(2);
    config["rules"][0]["name"] = json!("another name");
    world.write_config(&config.to_string());
    eventually("generation 2", async || world.report().await["generation"] == 2).await;
    assert_limited(&world.alice(tool_call("echo", json!({}))).await);
    config["generation"] = json!(3);
    config["limits"]["rate"] = json!({"perPrincipal": only(2)});
    world.write_config(&config.to_string());
    eventually("generation 3", async || world.report().await["generation"] == 3).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}
