//! A new version of a secret reaches the server without a failed call: each is served on the old value or on the new.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cardea_contract::OnRotation;
use serde_json::{Value, json};

use crate::support::{Bridge, Plan, call, eventually, later, lives, text};

fn token() -> Value {
    json!({"name": "TOKEN"})
}

#[tokio::test]
async fn twenty_rotations_under_calls_fail_none() {
    for plan in [Plan::new(), Plan::new().shared()] {
        let bridge = Bridge::start(plan.secret(OnRotation::Restart)).await;
        let sessions = [bridge.session().await, bridge.session().await];
        let over = Arc::new(AtomicBool::new(false));
        let mut calling = tokio::task::JoinSet::new();
        let alice = bridge.caller().modern("alice");
        for session in [sessions[0].clone(), sessions[1].clone(), alice.clone()] {
            let over = over.clone();
            calling.spawn(async move {
                let mut values = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let answer = session.post(&call(1, "variable", token())).await;
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    values.push(text(&answer.message()).to_owned());
                }
                values
            });
        }
        for version in 2..22 {
            let value = format!("value-{version}");
            bridge.rotate(version, &value);
            for session in &sessions {
                eventually("the new value is there", async || session.tool("variable", token()).await == value).await;
            }
        }
        over.store(true, Ordering::Relaxed);
        for values in calling.join_all().await {
            let versions: Vec<u32> =
                values.iter().map(|value| value.strip_prefix("value-").unwrap().parse().unwrap()).collect();
            assert!(versions.len() > 20 && versions.is_sorted(), "{versions:?}");
        }
        bridge.end().await;
    }
}

#[tokio::test]
async fn a_call_that_is_being_served_ends_on_the_old_value() {
    let bridge = Bridge::start(Plan::new().secret(OnRotation::Restart)).await;
    let session = bridge.session().await;
    let process = session.tool("process", json!({})).await.parse().unwrap();
    let gate = bridge.folder.path().join("gate");
    let waiting = later(&session, call("old", "gate", json!({"file": gate, "variable": "TOKEN"})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    bridge.rotate(2, "value-2");
    eventually("the new value is there", async || session.tool("variable", token()).await == "value-2").await;
    assert!(lives(process));
    std::fs::write(gate, "").unwrap();
    assert_eq!(text(&waiting.await.unwrap().message()), "value-1");
    eventually("the old process has ended", async || !lives(process)).await;
    // It was told what the session had said.
    let received = session.tool("received", json!({})).await;
    assert!(received.contains("initialize") && received.contains("notifications/initialized"), "{received}");
    bridge.end().await;
}

#[tokio::test]
async fn an_answer_to_the_old_process_reaches_it_after_the_rotation() {
    let bridge = Bridge::start(Plan::new().secret(OnRotation::Restart)).await;
    let session = bridge.session().await;
    let question = call("q", "ask", json!({"name": "x", "method": "sampling/createMessage"}));
    let mut stream = session.open(http::Method::POST, question.to_string()).await;
    let id = stream.next().await.unwrap()["id"].clone();
    bridge.rotate(2, "value-2");
    eventually("the new value is there", async || session.tool("variable", token()).await == "value-2").await;
    session.post(&json!({"jsonrpc": "2.0", "id": id, "result": {"said": "late"}})).await;
    assert!(text(&stream.next().await.unwrap()).contains("late"));
    bridge.end().await;
}

#[tokio::test]
async fn nothing_follows_where_nothing_was_asked_for() {
    let bridge = Bridge::start(Plan::new().secret(OnRotation::None)).await;
    let session = bridge.session().await;
    let process = session.tool("process", json!({})).await;
    bridge.rotate(2, "value-2");
    // Another session is started with what is in force.
    assert_eq!(bridge.session().await.tool("variable", token()).await, "value-2");
    assert_eq!(session.tool("process", json!({})).await, process);
    bridge.end().await;
}

#[tokio::test]
async fn a_signal_reaches_the_server() {
    // By default it ends it, which shows.
    let bridge = Bridge::start(Plan::new().secret(OnRotation::Signal)).await;
    let session = bridge.session().await;
    let process: u32 = session.tool("process", json!({})).await.parse().unwrap();
    bridge.rotate(2, "value-2");
    eventually("it has got the signal", async || !lives(process)).await;
    bridge.end().await;
}
