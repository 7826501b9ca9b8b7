//! Rules that are for a while: what they permit ends with them, to the second, and open streams too.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::leases::{Open, now};
use crate::support::{World, eventually, tool_call};

/// A world in which anybody may use `deploy` for some seconds, and nobody looks at files meanwhile.
async fn world(seconds: u64) -> World {
    let glass = json!({
        "name": "glass", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["deploy"], "notAfter": now() + seconds,
    });
    let add = move |config: &mut Value| config["rules"].as_array_mut().unwrap().push(glass);
    World::set(add, |settings| settings.poll = Duration::from_secs(3600)).await
}

#[tokio::test]
async fn what_a_rule_permits_ends_with_it_and_so_does_its_stream() {
    let world = world(3).await;
    let client = world.anonymous();
    let open = Open::with(&world, &client, world.as_alice(tool_call("deploy", json!({})))).await;
    assert_eq!(world.last_line()["rule"], "glass");
    open.ends().await;
    let answer = world.alice(tool_call("deploy", json!({}))).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn it_ends_also_while_the_newest_file_is_no_good() {
    let world = world(4).await;
    assert_eq!(world.alice(tool_call("deploy", json!({}))).await.status, 200);
    world.write_config("{}");
    eventually("the file is refused", async || world.report().await["rejectedConfig"].is_string()).await;
    eventually("the rule is no more", async || world.alice(tool_call("deploy", json!({}))).await.status == 403).await;
    assert!(world.report().await["rejectedConfig"].is_string());
}

/// Whoever begins a call in time and leaves its body for later would be permitted by rules that are no more.
#[tokio::test]
async fn a_body_that_comes_after_the_end_comes_too_late() {
    let world = world(2).await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"deploy"}}"#;
    let (first, rest) = body.split_at(20);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{first}",
        world.token(&json!({})),
        body.len()
    );
    let mut stream = world.anonymous().connect().await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the rule is no more", async || world.alice(tool_call("deploy", json!({}))).await.status == 403).await;
    world.server.forget();
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 403");
    assert!(world.server.seen().is_empty());
}
