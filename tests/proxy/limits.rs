//! Bounds: bodies, time, requests at once, and a server that does not answer.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Reply, World, eventually, tool_call};

#[tokio::test]
async fn a_body_too_large_is_refused_announced_or_not() {
    let world = World::with(|config| config["limits"]["maxBodyBytes"] = json!(1000)).await;
    let answer = world.alice(tool_call("echo", json!({"a": "x".repeat(1000)}))).await;
    assert_eq!(answer.status, 413);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ntransfer-encoding: chunked\r\n\r\n",
        world.token(&json!({}))
    );
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    let answer = world.anonymous().raw(format!("{head}{chunk}0\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    // One that is announced is refused before it comes.
    let head = head.replace("transfer-encoding: chunked", "content-length: 1001");
    let client = world.anonymous();
    let answer = tokio::time::timeout(Duration::from_secs(5), client.raw(head.as_bytes())).await.expect("at once");
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(world.server.seen().is_empty());
    assert_eq!(world.alice(tool_call("echo", json!({"a": "x".repeat(100)}))).await.status, 200);
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let world = World::start().await;
    let head = format!("GET /mcp HTTP/1.1\r\nhost: mcp.test\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
    let answer = world.anonymous().raw(head.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_sent_away_and_streams_count() {
    let world = World::with(|config| {
        config["limits"]["concurrent"] = json!(2);
        config["limits"]["concurrentPerPrincipal"] = json!(2);
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let answer = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await;
        assert_eq!(answer.status(), 200);
        open.push((feed, answer));
    }
    let answer = world.alice(tool_call("echo", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    // The operator is heard all the same.
    world.server.script(|_| Reply::text("application/json", "{}"));
    world.report().await;
    open.pop();
    eventually("there is room again", async || world.alice(tool_call("echo", json!({}))).await.status == 200).await;
}

#[tokio::test]
async fn a_server_that_does_not_begin_to_answer_is_given_up() {
    let world = World::with(|config| config["limits"]["requestSeconds"] = json!(1)).await;
    let (sender, ended) = tokio::sync::oneshot::channel();
    world.server.once(Reply::Never(sender));
    let answer = world.alice(tool_call("echo", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (504, -32004));
    assert_eq!(answer.json()["id"], 7);
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the server is told").unwrap_err();
    // Time is for the beginning: a stream that has begun goes on.
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        feed.send("data: late\n\n".into()).await
    });
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.body, "data: late\n\n");
    late.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_away() {
    let world = World::with(|config| config["upstream"]["listens"]["port"] = json!(1)).await;
    let answer = world.alice(tool_call("echo", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (502, -32004));
    assert_eq!(answer.json()["id"], 7);
}

#[tokio::test]
async fn a_connection_that_is_closed_in_between_costs_no_request() {
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = world.config.clone();
    config["generation"] = json!(2);
    config["upstream"]["listens"]["port"] = json!(listener.local_addr().unwrap().port());
    // Answers once on each connection, then closes it without a word.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            let body = r#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    world.write_config(&config.to_string());
    eventually("generation 2", async || world.report().await["generation"] == 2).await;
    for _ in 0..50 {
        assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    }
}

#[tokio::test]
async fn stopping_lets_requests_end_and_takes_no_new_ones() {
    let mut world = World::start().await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let answer = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await;
    // A connection that is kept for later, over which nothing goes now.
    let mut idle = world.anonymous().http1().await;
    let metadata = http::Request::get("/.well-known/oauth-protected-resource").header("host", "mcp.test");
    let metadata = idle.send_request(metadata.body(Default::default()).unwrap()).await.unwrap();
    crate::support::Answer::of(metadata).await;
    world.shutdown.cancel();
    let client = world.anonymous();
    eventually("no connection is taken", async || client.connect().await.is_err()).await;
    assert_eq!(world.admin("/readyz").await.status, 503);
    feed.send("data: last\n\n".into()).await.unwrap();
    drop(feed);
    assert_eq!(crate::support::Answer::of(answer).await.body, "data: last\n\n");
    let ended = world.ended.take().unwrap();
    tokio::time::timeout(Duration::from_secs(4), ended).await.expect("before the drain time is over").unwrap().unwrap();
}
