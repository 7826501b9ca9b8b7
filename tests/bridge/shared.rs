//! One process for all: nothing of one caller reaches another (row 65, E32).

use http::Method;
use serde_json::{Value, json};

use crate::support::{Bridge, Plan, call, eventually, later, text};

#[tokio::test]
async fn all_sessions_have_one_process_which_only_the_bridge_has_greeted() {
    let bridge = Bridge::start(Plan::new().shared().with(&["--version", "2025-06-18"])).await;
    let mut first = bridge.caller();
    let greeted = first.begin().await.message();
    assert_eq!((&greeted["id"], &greeted["result"]["protocolVersion"]), (&json!(1), &json!("2025-06-18")));
    assert_eq!(greeted["result"]["serverInfo"]["name"], "stdio-server");
    let second = bridge.session().await;
    assert_ne!(first.session(), second.session());
    assert_eq!(first.tool("count", json!({})).await, "1");
    assert_eq!(second.tool("count", json!({})).await, "2");
    let received: Vec<String> = serde_json::from_str(&first.tool("received", json!({})).await).unwrap();
    let greeted: Value = serde_json::from_str(&received[0]).unwrap();
    assert_eq!(greeted["params"]["capabilities"], json!({}));
    assert_eq!(greeted["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(received.iter().filter(|line| line.contains("initialize")).count(), 2);
    // Ending one session ends nothing for the other.
    assert_eq!(first.delete().await.status, 204);
    assert_eq!(second.tool("count", json!({})).await, "3");
    bridge.end().await;
}

#[tokio::test]
async fn what_names_nobody_goes_to_nobody_while_others_are_at_work() {
    let bridge = Bridge::start(Plan::new().shared()).await;
    let (alice, bob) = (bridge.session().await, bridge.session().await);
    let (mut to_alice, mut to_bob) = (alice.get().await, bob.get().await);
    let said = json!({"method": "notifications/message", "params": {"data": "of alice"}});
    let messages = alice.post(&call(1, "notify", said.clone())).await.messages();
    assert_eq!(messages[0]["params"]["data"], "of alice");
    let waiting = later(&bob, call("b", "nothing", json!({})));
    eventually("the call is there", async || bob.tool("received", json!({})).await.contains("nothing")).await;
    alice.post(&call(1, "notify", said.clone())).await.message();
    // Also once its caller has hung up or cancelled: it may still be at work.
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "b"}});
    bob.post(&cancel).await;
    alice.post(&call(1, "notify", said.clone())).await.message();
    waiting.await.unwrap().message();
    alice.post(&call(1, "notify", said)).await.message();
    // What is of all goes to all.
    alice.post(&call(1, "notify", json!({"method": "notifications/tools/list_changed"}))).await.message();
    for stream in [&mut to_alice, &mut to_bob] {
        assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    }
    bridge.end().await;
}

#[tokio::test]
async fn news_of_a_resource_go_to_who_asked_for_them() {
    let bridge = Bridge::start(Plan::new().shared()).await;
    let (alice, bob) = (bridge.session().await, bridge.session().await);
    let (mut to_alice, mut to_bob) = (alice.get().await, bob.get().await);
    let resource =
        |method: &str, uri: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"uri": uri}});
    for (caller, uri) in [(&alice, "a"), (&alice, "both"), (&bob, "both")] {
        assert_eq!(caller.post(&resource("resources/subscribe", uri)).await.message()["result"], json!({}));
    }
    let updated = async |uri: &str| {
        let deed = json!({"method": "notifications/resources/updated", "params": {"uri": uri}});
        alice.post(&call(1, "notify", deed)).await.message();
    };
    updated("a").await;
    updated("both").await;
    assert_eq!(to_alice.next().await.unwrap()["params"]["uri"], "a");
    assert_eq!(to_alice.next().await.unwrap()["params"]["uri"], "both");
    assert_eq!(to_bob.next().await.unwrap()["params"]["uri"], "both");
    // The server hears that nobody wants it when nobody does.
    bob.post(&resource("resources/unsubscribe", "both")).await.message();
    assert!(!alice.tool("received", json!({})).await.contains("resources/unsubscribe"));
    updated("both").await;
    assert_eq!(to_alice.next().await.unwrap()["params"]["uri"], "both");
    alice.delete().await;
    eventually("both are taken back", async || {
        bob.tool("received", json!({})).await.matches("resources/unsubscribe").count() == 2
    })
    .await;
    bridge.end().await;
}

#[tokio::test]
async fn the_bridge_answers_what_the_server_asks_and_what_would_change_others() {
    let bridge = Bridge::start(Plan::new().shared()).await;
    let alice = bridge.session().await;
    let answer = alice.post(&call("a", "ask", json!({"name": "x", "method": "elicitation/create"}))).await.message();
    assert_eq!(serde_json::from_str::<Value>(text(&answer)).unwrap()["error"]["code"], -32601);
    let level = json!({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "debug"}});
    assert_eq!(alice.post(&level).await.message()["result"], json!({}));
    let roots = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    assert_eq!(alice.post(&roots).await.status, 202);
    let received = alice.tool("received", json!({})).await;
    assert!(!received.contains("setLevel") && !received.contains("roots"), "{received}");
    bridge.end().await;
}

#[tokio::test]
async fn sessions_outlast_the_process() {
    let bridge = Bridge::start(Plan::new().shared()).await;
    let (alice, bob) = (bridge.session().await, bridge.session().await);
    let mut stream = bob.open(Method::GET, String::new()).await;
    assert!(alice.post(&call(1, "exit", json!({"code": 9}))).await.body.contains("exit status: 9"));
    assert_eq!(bob.tool("count", json!({})).await, "1");
    assert_eq!(alice.tool("count", json!({})).await, "2");
    alice.post(&call(1, "notify", json!({"method": "notifications/prompts/list_changed"}))).await.message();
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/prompts/list_changed");
    bridge.end().await;
}
