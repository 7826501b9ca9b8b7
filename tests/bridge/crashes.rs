//! A server that ends leaves no caller waiting, and the next request finds it again as it was told to be (row 66).

use http::Method;
use serde_json::{Value, json};

use crate::support::{Bridge, Plan, call, eventually, later};

#[tokio::test]
async fn open_calls_are_answered_at_once_and_the_next_starts_it_anew() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let process = session.tool("process", json!({})).await;
    let mut stream = session.get().await;
    let waiting: Vec<_> = (0..3).map(|number| later(&session, call(number, "nothing", json!({})))).collect();
    eventually("the calls are there", async || {
        session.tool("received", json!({})).await.matches("nothing").count() == 3
    })
    .await;
    let answer = session.post(&call("e", "exit", json!({"code": 3}))).await;
    let message = answer.message();
    assert_eq!((answer.status, &message["id"], &message["error"]["code"]), (200, &json!("e"), &json!(-32603)));
    assert!(message["error"]["message"].as_str().unwrap().contains("exit status: 3"), "{message}");
    for (number, waiting) in waiting.into_iter().enumerate() {
        let message = waiting.await.unwrap().message();
        assert_eq!((&message["id"], &message["error"]["code"]), (&json!(number), &json!(-32603)));
    }
    assert_ne!(session.tool("process", json!({})).await, process);
    // The session's stream has not ended.
    session.tool("notify", json!({"method": "notifications/tools/list_changed"})).await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    bridge.end().await;
}

#[tokio::test]
async fn a_call_whose_stream_has_begun_gets_the_error_there() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let mut stream =
        session.open(Method::POST, call("s", "ask", json!({"name": "x", "method": "roots/list"})).to_string()).await;
    assert_eq!(stream.next().await.unwrap()["method"], "roots/list");
    session.post(&call(1, "exit", json!({"code": 1}))).await;
    let message = stream.next().await.unwrap();
    assert_eq!((&message["id"], &message["error"]["code"]), (&json!("s"), &json!(-32603)));
    assert!(stream.next().await.is_none());
    bridge.end().await;
}

#[tokio::test]
async fn what_the_session_told_the_former_process_is_told_to_the_next() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    for (method, params) in [
        ("logging/setLevel", json!({"level": "debug"})),
        ("logging/setLevel", json!({"level": "error"})),
        ("resources/subscribe", json!({"uri": "a:1"})),
        ("resources/subscribe", json!({"uri": "a:2"})),
        ("resources/unsubscribe", json!({"uri": "a:1"})),
    ] {
        let answer = session.post(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).await;
        assert_eq!(answer.message()["result"], json!({}));
    }
    let before: Vec<String> = serde_json::from_str(&session.tool("received", json!({})).await).unwrap();
    session.post(&call(1, "exit", json!({"code": 1}))).await;
    let received: Vec<String> = serde_json::from_str(&session.tool("received", json!({})).await).unwrap();
    let told: Vec<Value> = received.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let methods: Vec<_> = told.iter().map(|message| message["method"].as_str().unwrap()).collect();
    let expected = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe", "tools/call"];
    assert_eq!(methods, expected);
    assert_eq!(told[0]["params"], serde_json::from_str::<Value>(&before[0]).unwrap()["params"]);
    assert_eq!((&told[2]["params"]["level"], &told[3]["params"]["uri"]), (&json!("error"), &json!("a:2")));
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_comes_back_with_another_revision_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("version");
    let bridge = Bridge::start(Plan::new().with(&["--version-file", version.to_str().unwrap()])).await;
    let session = bridge.session().await;
    session.post(&call(1, "exit", json!({"code": 1}))).await;
    std::fs::write(version, "2025-03-26").unwrap();
    assert_eq!(session.post(&call(1, "echo", json!({}))).await.status, 404);
    assert_eq!(session.post(&call(1, "echo", json!({}))).await.status, 404);
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_keeps_ending_is_started_less_and_less_often() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let mut resting = None;
    for _ in 0..20 {
        let answer = session.post(&call(1, "exit", json!({"code": 1}))).await;
        if answer.status == 503 {
            resting = Some(answer);
            break;
        }
    }
    let answer = resting.expect("it rests");
    assert!(answer.header("retry-after").is_some());
    assert!(answer.body.contains("the server keeps ending"), "{}", answer.body);
    // Others are not kept from theirs.
    assert_eq!(bridge.session().await.tool("echo", json!({"text": "x"})).await, "x");
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_never_starts_is_named_with_how_it_ends() {
    let bridge = Bridge::start(Plan::new().with(&["--exit"])).await;
    let answer = bridge.caller().post(&crate::support::initialize("2025-06-18")).await;
    assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None));
    assert!(answer.body.contains("exit status: 7"), "{}", answer.body);
    bridge.end().await;
}
