//! Sessions of the legacy era: whose they are, without anything being kept about them.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::json;

use crate::support::{INITIALIZE, Reply, World, eventually, message, tool_call, with_header};

fn asks(method: Method, session: Option<&str>, last_event: Option<&str>) -> Request<Full<bytes::Bytes>> {
    let mut request = if method == Method::POST {
        tool_call("echo", json!({}))
    } else {
        Request::builder().method(method).uri("/mcp").header("host", "mcp.test").body(Full::default()).unwrap()
    };
    for (name, value) in [("mcp-session-id", session), ("last-event-id", last_event)] {
        if let Some(value) = value {
            request = with_header(request, name, value);
        }
    }
    request
}

const ALL: [Method; 3] = [Method::POST, Method::GET, Method::DELETE];

#[tokio::test]
async fn a_session_is_the_servers_own_to_the_server_and_sealed_to_the_caller() {
    let world = World::start().await;
    let session = world.session(&world.token(&json!({})), "upstream-1").await;
    assert!(session.bytes().all(|byte| byte.is_ascii_graphic()) && session != "upstream-1");
    for method in ALL {
        let (reply, _) = Reply::events();
        world.server.once(reply);
        let answer = world.alice(asks(method.clone(), Some(&session), None)).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(world.server.only().header("mcp-session-id"), "upstream-1");
        assert_eq!(answer.header("mcp-session-id"), "");
        world.server.forget();
    }
    // None at all is the server's affair: it may need none.
    for method in ALL {
        world.server.once(Reply::Whole(http::StatusCode::BAD_REQUEST, vec![], "a session is needed".into()));
        assert_eq!(world.alice(asks(method.clone(), None, None)).await.status, 400, "{method}");
    }
}

#[tokio::test]
async fn e16_a_session_of_another_is_not_found() {
    let world = World::start().await;
    let alices = world.session(&world.token(&json!({})), "upstream-1").await;
    let bob = world.token(&json!({"sub": "bob"}));
    for method in ALL {
        let answer = world.with_token(&bob, asks(method.clone(), Some(&alices), None)).await;
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.code(), -32003);
        let line = world.last_line();
        assert_eq!((&line["reason"], &line["subject"]), (&json!("session-not-found"), &json!("bob")), "{method}");
        assert_eq!(line["decision"], "Deny");
    }
    // By a certificate with her name it is not hers either.
    let certificate = world.bearing(&world.authority.sign(9, "alice", &[]));
    assert_eq!(certificate.send(asks(Method::GET, Some(&alices), None)).await.status, 404);
    assert!(world.server.seen().is_empty());
    // Hers it stays, with any token of hers.
    let fresh = world.token(&json!({"jti": "2", "scope": "more"}));
    assert_eq!(world.with_token(&fresh, asks(Method::POST, Some(&alices), None)).await.status, 200);
}

#[tokio::test]
async fn e16_a_session_that_a_client_made_up_is_not_found() {
    let world = World::start().await;
    let session = world.session(&world.token(&json!({})), "upstream-1").await;
    let altered = format!("{}2", session.trim_end_matches('1'));
    let moved = format!("{}upstream-1", &world.session(&world.token(&json!({})), "other").await[..43]);
    for id in ["upstream-1", "", "x", &altered, &moved, &"A".repeat(43), &session[..43], &"A".repeat(4000)] {
        for method in ALL {
            let answer = world.alice(asks(method.clone(), Some(id), None)).await;
            assert_eq!(answer.status, 404, "{method} {id}");
        }
        // Nor is it fixed upon the one who begins.
        let answer = world.alice(with_header(message(INITIALIZE), "mcp-session-id", id)).await;
        assert_eq!(answer.status, 404, "{id}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_session_does_not_stand_in_for_a_token() {
    let world = World::start().await;
    let session = world.session(&world.token(&json!({})), "upstream-1").await;
    for method in ALL {
        assert_eq!(world.anonymous().send(asks(method.clone(), Some(&session), None)).await.status, 401, "{method}");
        let expired = world.token(&json!({"exp": 1}));
        assert_eq!(world.with_token(&expired, asks(method, Some(&session), None)).await.status, 401);
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e17_a_stream_of_another_is_not_taken_up() {
    let world = World::start().await;
    let alices = world.session(&world.token(&json!({})), "upstream-1").await;
    let bob = world.token(&json!({"sub": "bob"}));
    for session in [Some(alices.as_str()), None] {
        let answer = world.with_token(&bob, asks(Method::GET, session, Some("event-7"))).await;
        assert_eq!(answer.status, 404, "{session:?}");
        assert_eq!(world.last_line()["reason"], "session-not-found");
    }
    assert!(world.server.seen().is_empty());
    let (reply, _) = Reply::events();
    world.server.once(reply);
    assert_eq!(world.alice(asks(Method::GET, Some(&alices), Some("event-7"))).await.status, 200);
    let seen = world.server.only();
    assert_eq!((seen.header("mcp-session-id"), seen.header("last-event-id")), ("upstream-1", "event-7"));
}

#[tokio::test]
async fn a_session_begins_with_initialize_and_nowhere_else() {
    let world = World::start().await;
    let minted = |id: &str| {
        let headers = vec![("content-type", "application/json".to_owned()), ("mcp-session-id", id.to_owned())];
        Reply::Whole(http::StatusCode::OK, headers, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#.into())
    };
    world.server.once(minted("s"));
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.header("mcp-session-id"), "");
    for odd in ["a b", &"a".repeat(600)] {
        world.server.once(minted(odd));
        assert_eq!(world.alice(message(INITIALIZE)).await.status, 502, "{odd}");
    }
}

#[tokio::test]
async fn a_session_holds_for_every_replica_and_after_a_restart() {
    let key = "k".repeat(32);
    let (one, other, stranger) = (World::start().await, World::start().await, World::start().await);
    let alice = |world: &World| world.token(&json!({}));
    for world in [&one, &other] {
        world.write("tls", "session.key", &key);
    }
    eventually("both have the key", async || {
        one.session(&alice(&one), "s").await == other.session(&alice(&other), "s").await
    })
    .await;
    let session = one.session(&alice(&one), "s").await;
    // A renewed leaf changes nothing.
    one.write_leaf(&one.authority.sign(0xdef, "proxy", &["mcp.test"]));
    for world in [&one, &other] {
        world.server.with_session("s");
        assert_eq!(world.alice(asks(Method::POST, Some(&session), None)).await.status, 200);
    }
    assert_eq!(stranger.alice(asks(Method::POST, Some(&session), None)).await.status, 404);
}
