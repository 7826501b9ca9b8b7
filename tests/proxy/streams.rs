//! Streams pass as they come, and end on both sides.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{Reply, World, eventually, message, tool_call};

#[tokio::test]
async fn the_first_event_arrives_before_the_stream_ends() {
    let world = World::start().await;
    for request in [tool_call("echo", json!({})), message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)] {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let mut body = world.anonymous().open(world.as_alice(request)).await.into_body();
        for number in 0..3 {
            let event = format!("id: {number}\ndata: {{\"method\":\"notifications/progress\"}}\n\n");
            feed.send(event.clone().into()).await.unwrap();
            let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.expect("at once");
            assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), event);
        }
        drop(feed);
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_call_streams_through_untouched() {
    let world = World::start().await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let stream = "data: {\"result\":{\"structuredContent\":{\"tools\":[{\"name\":\"in what a call says\"}]}}}\r\n\r\n: c\n\ndata: [1]\n\nhalf an ev";
    tokio::spawn(async move { feed.send(Bytes::from(stream)).await });
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.body, stream);
}

#[tokio::test]
async fn a_caller_that_hangs_up_ends_the_stream_at_the_server() {
    let world = World::start().await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let mut body = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await.into_body();
    feed.send("data: 1\n\n".into()).await.unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    tokio::time::timeout(Duration::from_secs(5), feed.closed()).await.expect("the server is told");
}

#[tokio::test]
async fn a_caller_that_hangs_up_before_the_answer_ends_the_request_at_the_server() {
    let world = World::start().await;
    let (sender, ended) = oneshot::channel();
    world.server.once(Reply::Never(sender));
    let client = world.anonymous();
    let request = world.as_alice(tool_call("echo", json!({})));
    let call = tokio::spawn(async move { client.send(request).await });
    eventually("the request arrives", async || !world.server.seen().is_empty()).await;
    call.abort();
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the server is told").unwrap_err();
}

#[tokio::test]
async fn open_streams_keep_nobody_else_from_the_server() {
    let world = World::with(|config| config["limits"]["concurrent"] = json!(100)).await;
    let mut open = Vec::new();
    for _ in 0..40 {
        let (reply, feed) = Reply::events();
        world.server.once(reply);
        let body = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await.into_body();
        open.push((feed, body));
    }
    let (reply, feed) = Reply::events();
    drop(feed);
    world.server.once(reply);
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}
