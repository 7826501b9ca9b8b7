//! Sessions: a process each, found by their id alone, ended when nobody uses them (rows 15, 16, 65).

use std::collections::HashSet;

use http::Method;
use serde_json::json;

use crate::support::{Bridge, Plan, call, eventually, initialize, lives};

#[tokio::test]
async fn a_session_has_a_process_of_its_own_and_an_id_that_nobody_guesses() {
    let bridge = Bridge::start(Plan::new()).await;
    let sessions = [bridge.session().await, bridge.session().await];
    let ids: HashSet<_> = sessions.iter().map(|session| session.session().to_owned()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    for expected in ["1", "2", "3"] {
        assert_eq!(sessions[0].tool("count", json!({})).await, expected);
    }
    assert_eq!(sessions[1].tool("count", json!({})).await, "1");
    assert_ne!(sessions[0].tool("process", json!({})).await, sessions[1].tool("process", json!({})).await);
    let [one, other] = &sessions;
    assert_ne!(
        one.tool("variable", json!({"name": "TMPDIR"})).await,
        other.tool("variable", json!({"name": "TMPDIR"})).await
    );
    bridge.end().await;
}

#[tokio::test]
async fn without_a_session_is_400_and_with_another_404() {
    let bridge = Bridge::start(Plan::new()).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let unknown = || bridge.caller().with("mcp-session-id", "0123456789abcdef0123456789abcdef");
    assert_eq!(bridge.caller().post(&ping).await.status, 400);
    assert_eq!(bridge.caller().get().await.status, 400);
    assert_eq!(bridge.caller().delete().await.status, 400);
    assert_eq!(unknown().post(&ping).await.status, 404);
    assert_eq!(unknown().post(&initialize("2025-06-18")).await.status, 404);
    assert_eq!(unknown().get().await.status, 404);
    assert_eq!(unknown().delete().await.status, 404);
    let session = bridge.session().await;
    assert_eq!(session.post(&initialize("2025-06-18")).await.status, 400);
    assert_eq!(session.open(Method::PUT, String::new()).await.status, 405);
    bridge.end().await;
}

#[tokio::test]
async fn delete_ends_the_session_its_process_and_its_stream() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let process = session.tool("process", json!({})).await.parse().unwrap();
    let mut stream = session.get().await;
    assert_eq!(session.delete().await.status, 204);
    assert!(stream.next().await.is_none());
    assert_eq!(session.post(&call(1, "echo", json!({}))).await.status, 404);
    eventually("the process has ended", async || !lives(process)).await;
    bridge.end().await;
}

#[tokio::test]
async fn a_session_that_asks_nothing_ends_even_with_a_stream_open() {
    let mut plan = Plan::new();
    plan.stdio.idle_seconds = 1;
    let bridge = Bridge::start(plan).await;
    let session = bridge.session().await;
    let process = session.tool("process", json!({})).await.parse().unwrap();
    let mut stream = session.get().await;
    assert!(stream.next().await.is_none());
    eventually("the process has ended", async || !lives(process)).await;
    assert_eq!(session.post(&call(1, "echo", json!({}))).await.status, 404);
    bridge.end().await;
}

#[tokio::test]
async fn a_call_keeps_its_session_however_long_it_takes() {
    let mut plan = Plan::new();
    plan.stdio.idle_seconds = 1;
    let bridge = Bridge::start(plan).await;
    let (busy, idle) = (bridge.session().await, bridge.session().await);
    let gate = bridge.folder.path().join("gate");
    let calling = tokio::spawn({
        let (busy, gate) = (busy.clone(), gate.clone());
        async move { busy.tool("gate", json!({"file": gate})).await }
    });
    let mut stream = idle.get().await;
    assert!(stream.next().await.is_none());
    std::fs::write(gate, "").unwrap();
    assert_eq!(calling.await.unwrap(), "open");
    bridge.end().await;
}

#[tokio::test]
async fn a_session_too_many_ends_the_idlest_and_none_that_is_at_work() {
    let mut plan = Plan::new();
    plan.stdio.max_processes = 2;
    let bridge = Bridge::start(plan).await;
    let (first, second) = (bridge.session().await, bridge.session().await);
    assert_eq!(first.tool("echo", json!({"text": "later than the second"})).await, "later than the second");
    let third = bridge.session().await;
    assert_eq!(second.post(&call(1, "echo", json!({}))).await.status, 404);
    let gate = bridge.folder.path().join("gate");
    let mut calling = tokio::task::JoinSet::new();
    for session in [first.clone(), third.clone()] {
        let gate = gate.clone();
        calling.spawn(async move { session.tool("gate", json!({"file": gate})).await });
    }
    // Once both are at work nobody else gets in.
    let refused = || async { bridge.caller().post(&initialize("2025-06-18")).await };
    for session in [&first, &third] {
        eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    }
    let answer = refused().await;
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{}", answer.body);
    assert_eq!(answer.message()["id"], 1);
    std::fs::write(gate, "").unwrap();
    assert_eq!(calling.join_all().await, ["open", "open"]);
    assert_eq!(refused().await.status, 200);
    bridge.end().await;
}

#[tokio::test]
async fn a_session_that_the_server_refuses_is_none() {
    let bridge = Bridge::of(vec!["no-such-program".into()], Plan::new()).await;
    let answer = bridge.caller().post(&initialize("2025-06-18")).await;
    let message = answer.message();
    assert_eq!((answer.header("mcp-session-id"), message["error"]["code"].as_i64()), (None, Some(-32603)));
    assert!(message["error"]["message"].as_str().unwrap().contains("no-such-program cannot be started"), "{message}");
    bridge.end().await;
}
