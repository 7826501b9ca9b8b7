//! Bad servers: each costs a bounded amount, and whom it concerns learns what is wrong (E33, rows 62, 63, 68).

use std::time::Duration;

use cardea_tests::process::{peak_rss_mib, rss_mib};
use http::Method;
use serde_json::json;

use crate::support::{Bridge, LONG, Plan, call, eventually, initialize, later, lives, text};

#[tokio::test]
async fn a_line_of_100_mb_costs_nothing_and_its_caller_is_told() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let own = std::process::id();
    let before = rss_mib(own).unwrap();
    let answer = session.post(&call("long", "flood", json!({"mib": 100}))).await.message();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("long"), &json!(-32603)));
    assert!(answer["error"]["message"].as_str().unwrap().contains("longer than 1048576 bytes"), "{answer}");
    assert!(peak_rss_mib(own).unwrap() - before < 50.0);
    // It goes on with the next line.
    assert_eq!(session.tool("echo", json!({"text": "x"})).await, "x");
    // With two calls open nobody can tell whose it was.
    let gate = bridge.folder.path().join("gate");
    let waiting = later(&session, call(1, "gate", json!({"file": gate})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    assert_eq!(session.tool("flood", json!({"mib": 2, "answers": true})).await, "flooded");
    std::fs::write(gate, "").unwrap();
    assert_eq!(text(&waiting.await.unwrap().message()), "open");
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_goes_with_the_caller_who_hangs_up() {
    let mut plan = Plan::new().with(&["--mute"]);
    plan.stdio.max_processes = 1;
    let bridge = Bridge::start(plan).await;
    for _ in 0..3 {
        // Who finds no room is told so at once; who waits has found it.
        eventually("there is room again", async || {
            let short = Duration::from_millis(300);
            tokio::time::timeout(short, bridge.caller().post(&initialize("2025-06-18"))).await.is_err()
        })
        .await;
    }
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_never_reads_slows_its_callers_down_and_nobody_else() {
    let bridge = Bridge::start(Plan::new()).await;
    let (deaf, other) = (bridge.session().await, bridge.session().await);
    let _first = later(&deaf, call(0, "deaf", json!({})));
    let own = std::process::id();
    let before = rss_mib(own).unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..100 {
        let deaf = deaf.clone();
        waiting.spawn(async move { deaf.post(&call(number, "echo", json!({"text": "x".repeat(900_000)}))).await });
    }
    for _ in 0..20 {
        assert_eq!(other.tool("echo", json!({"text": "x"})).await, "x");
    }
    // 100 bodies wait in their callers' connections, a few in the bridge; both are in this process.
    assert!(rss_mib(own).unwrap() - before < 400.0);
    assert!(waiting.try_join_next().is_none());
    waiting.abort_all();
    assert_eq!(deaf.delete().await.status, 204);
    bridge.end().await;
}

#[tokio::test]
async fn a_caller_that_never_reads_holds_up_only_itself() {
    for plan in [Plan::new(), Plan::new().shared()] {
        let bridge = Bridge::start(plan).await;
        let (lazy, other) = (bridge.session().await, bridge.session().await);
        let mut message = call(1, "progress", json!({"count": 200_000}));
        message["params"]["_meta"] = json!({"progressToken": "t"});
        let unread = lazy.open(Method::POST, message.to_string()).await;
        for _ in 0..20 {
            assert_eq!(other.tool("echo", json!({"text": "x"})).await, "x");
        }
        drop(unread);
        assert_eq!(lazy.tool("echo", json!({"text": "y"})).await, "y");
        bridge.end().await;
    }
}

#[tokio::test]
async fn a_server_that_forks_and_heeds_no_signal_leaves_nobody_behind() {
    let bridge = Bridge::start(Plan::new().with(&["--stubborn"])).await;
    let session = bridge.session().await;
    let own: u32 = session.tool("process", json!({})).await.parse().unwrap();
    let mut all: Vec<u32> = serde_json::from_str(&session.tool("fork", json!({})).await).unwrap();
    let temporary = session.tool("variable", json!({"name": "TMPDIR"})).await;
    all.push(own);
    assert!(all.len() == 3 && all.iter().all(|id| lives(*id)) && std::path::Path::new(&temporary).is_dir());
    assert_eq!(session.delete().await.status, 204);
    eventually("all of them have ended", async || !all.iter().any(|id| lives(*id))).await;
    eventually("its temporary files are gone", async || !std::path::Path::new(&temporary).exists()).await;
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_ends_leaves_nobody_behind_either() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let all: Vec<u32> = serde_json::from_str(&session.tool("fork", json!({})).await).unwrap();
    let answer = session.post(&call(1, "exit", json!({"code": 1}))).await;
    assert!(answer.body.contains("exit status: 1"), "{}", answer.body);
    eventually("all of them have ended", async || !all.iter().any(|id| lives(*id))).await;
    bridge.end().await;
}

#[tokio::test]
async fn a_server_sees_neither_us_nor_the_cluster() {
    let bridge = Bridge::start(Plan::new().secret(cardea_contract::OnRotation::None)).await;
    let session = bridge.session().await;
    let mut names: Vec<String> = serde_json::from_str(&session.tool("variables", json!({})).await).unwrap();
    names.sort();
    assert_eq!(names, ["HOME", "OF_THE_IMAGE", "PATH", "TMPDIR", "TOKEN"]);
    assert_eq!(session.tool("variable", json!({"name": "TOKEN"})).await, "value-1");
    let id = session.tool("process", json!({})).await;
    let command = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    assert!(!command.contains("value-1"));
    bridge.end().await;
}

#[tokio::test]
async fn everything_ends_with_the_bridge() {
    let bridge = Bridge::start(Plan::new().with(&["--stubborn"])).await;
    let session = bridge.session().await;
    let id = session.tool("process", json!({})).await.parse().unwrap();
    let gate = bridge.folder.path().join("gate");
    let waiting = later(&session, call(1, "gate", json!({"file": gate})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    let ending = tokio::spawn({
        bridge.stop.cancel();
        async move { bridge.end().await }
    });
    // The call may end first.
    std::fs::write(gate, "").unwrap();
    assert_eq!(text(&waiting.await.unwrap().message()), "open");
    tokio::time::timeout(LONG, ending).await.unwrap().unwrap();
    assert!(!lives(id));
}
