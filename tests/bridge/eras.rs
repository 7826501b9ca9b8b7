//! The era without sessions: a process for each principal, subscriptions, and a hang-up that cancels (rows 28, 67, 69).

use http::Method;
use serde_json::{Value, json};

use crate::support::{Bridge, Plan, Stream, call, eventually, later, text};

async fn listen(caller: &crate::support::Caller, id: &str) -> Stream {
    let params = json!({"notifications": {"toolsListChanged": true}});
    let message = json!({"jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": params});
    let mut stream = caller.open(Method::POST, message.to_string()).await;
    let first = stream.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"], json!({"io.modelcontextprotocol/subscriptionId": id}));
    stream
}

#[tokio::test]
async fn a_principal_has_a_process_of_its_own_and_finds_it_again() {
    let bridge = Bridge::start(Plan::new()).await;
    let (alice, bob) = (bridge.caller().modern("alice"), bridge.caller().modern("bob"));
    let none = bridge.caller().with("mcp-protocol-version", "2026-07-28");
    for expected in ["1", "2"] {
        for caller in [&alice, &bob, &none] {
            assert_eq!(caller.tool("count", json!({})).await, expected);
        }
    }
    // Nor does a session's process serve anybody else.
    assert_eq!(bridge.session().await.tool("count", json!({})).await, "1");
    // No handshake was made up.
    let received = alice.tool("received", json!({})).await;
    assert!(!received.contains("initialize"), "{received}");
    bridge.end().await;
}

#[tokio::test]
async fn there_are_neither_sessions_nor_streams_nor_answers() {
    let bridge = Bridge::start(Plan::new()).await;
    let alice = bridge.caller().modern("alice");
    let answer = alice.get().await;
    assert_eq!((answer.status, answer.headers.get("allow").unwrap().to_str().unwrap()), (405, "POST"));
    assert_eq!(alice.delete().await.status, 405);
    assert_eq!(alice.post(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})).await.status, 400);
    // A session id says nothing here.
    let answer = alice.with("mcp-session-id", "x").post(&call(1, "echo", json!({"text": "x"}))).await;
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None));
    bridge.end().await;
}

#[tokio::test]
async fn a_server_of_the_other_era_is_known_by_its_own_error() {
    let bridge = Bridge::start(Plan::new()).await;
    let alice = bridge.caller().modern("alice");
    let answer = alice.post(&json!({"jsonrpc": "2.0", "id": "d", "method": "server/discover", "params": {}})).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.message(),
        json!({"jsonrpc": "2.0", "id": "d", "error": {"code": -32601, "message": "no server/discover"}})
    );
    let answer = alice.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "no/such", "params": {}})).await;
    assert_eq!((answer.status, &answer.message()["error"]["code"]), (404, &json!(-32601)));
    for (code, status) in [(-32020, 400), (-32021, 400), (-32022, 400), (-32602, 200), (-32603, 200)] {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{{id}},"error":{{"code":{code},"message":""}}}}"#);
        assert_eq!(alice.post(&call(1, "raw", json!({"line": line}))).await.status, status, "{code}");
    }
    bridge.end().await;
}

#[tokio::test]
async fn subscriptions_get_what_names_them_by_their_own_ids() {
    for plan in [Plan::new(), Plan::new().shared()] {
        let bridge = Bridge::start(plan).await;
        let alice = bridge.caller().modern("alice");
        let (mut one, mut other) = (listen(&alice, "same").await, listen(&alice, "other").await);
        assert_eq!(alice.tool("touch", json!({})).await, "touched");
        for (stream, id) in [(&mut one, "same"), (&mut other, "other")] {
            let message = stream.next().await.unwrap();
            assert_eq!(message["method"], "notifications/tools/list_changed");
            assert_eq!(message["params"]["_meta"], json!({"io.modelcontextprotocol/subscriptionId": id}));
        }
        // What names no subscription is of none.
        assert_eq!(alice.tool("notify", json!({"method": "notifications/tools/list_changed"})).await, "notified");
        assert_eq!(alice.tool("end-listens", json!({})).await, "ended");
        for (mut stream, id) in [(one, "same"), (other, "other")] {
            let last = stream.next().await.unwrap();
            assert_eq!(last["id"], id);
            assert_eq!(last["result"]["_meta"], json!({"io.modelcontextprotocol/subscriptionId": id}));
            assert!(stream.next().await.is_none());
        }
        bridge.end().await;
    }
}

#[tokio::test]
async fn a_hang_up_cancels_a_call_and_a_subscription() {
    let bridge = Bridge::start(Plan::new()).await;
    let alice = bridge.caller().modern("alice");
    let stream = listen(&alice, "l").await;
    let waiting = later(&alice, call("c", "nothing", json!({})));
    let received = async || -> Vec<Value> {
        let lines: Vec<String> = serde_json::from_str(&alice.tool("received", json!({})).await).unwrap();
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    eventually("the call is there", async || received().await.iter().any(|line| line["params"]["name"] == "nothing"))
        .await;
    drop(stream);
    waiting.abort();
    let cancelled = async || -> Vec<Value> {
        let lines = received().await;
        lines
            .iter()
            .filter(|line| line["method"] == "notifications/cancelled")
            .map(|line| line["params"]["requestId"].clone())
            .collect()
    };
    eventually("both are cancelled", async || cancelled().await.len() == 2).await;
    let lines = received().await;
    let asked =
        lines.iter().filter(|line| line["method"] == "subscriptions/listen" || line["params"]["name"] == "nothing");
    let asked: Vec<_> = asked.map(|line| line["id"].clone()).collect();
    let cancelled = cancelled().await;
    assert!(asked.iter().all(|id| cancelled.contains(id)), "{asked:?} {cancelled:?}");
    bridge.end().await;
}

#[tokio::test]
async fn the_server_asks_nothing_and_a_subscription_does_not_keep_it() {
    let mut plan = Plan::new();
    plan.stdio.idle_seconds = 1;
    let bridge = Bridge::start(plan).await;
    let alice = bridge.caller().modern("alice");
    let answer =
        alice.post(&call("a", "ask", json!({"name": "x", "method": "sampling/createMessage"}))).await.message();
    assert_eq!(serde_json::from_str::<Value>(text(&answer)).unwrap()["error"]["code"], -32601);
    let answer = alice.post(&call("a", "ask", json!({"name": "x", "method": "ping"}))).await.message();
    assert_eq!(serde_json::from_str::<Value>(text(&answer)).unwrap()["result"], json!({}));
    let mut stream = listen(&alice, "l").await;
    assert!(stream.next().await.is_none());
    assert_eq!(alice.tool("count", json!({})).await, "1");
    bridge.end().await;
}
