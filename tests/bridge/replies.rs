//! In which form a call is answered, and where what belongs to no call goes (rows 4, 5, 11, 12, 64).

use http::Method;
use serde_json::{Value, json};

use crate::support::{Bridge, Caller, Plan, call, eventually, later, text};

fn ask(name: &str) -> Value {
    call(name, "ask", json!({"name": name, "method": "sampling/createMessage"}))
}

async fn answer(session: &Caller, id: &Value, result: &str) {
    let answer = session.post(&json!({"jsonrpc": "2.0", "id": id, "result": {"said": result}})).await;
    assert_eq!((answer.status, answer.body.as_str()), (202, ""));
}

#[tokio::test]
async fn an_answer_that_comes_first_is_one_message_and_one_that_comes_later_ends_a_stream() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let answer = session.post(&call("c", "echo", json!({"text": "x"}))).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let mut message = call(2, "progress", json!({"count": 2}));
    message["params"]["_meta"] = json!({"progressToken": 0});
    let answer = session.post(&message).await;
    assert_eq!((answer.status, answer.header("x-accel-buffering")), (200, Some("no")));
    let messages = answer.messages();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[1]["params"], json!({"progressToken": 0, "progress": 1}));
    assert_eq!((&messages[2]["id"], text(&messages[2])), (&json!(2), "done"));
    bridge.end().await;
}

#[tokio::test]
async fn what_names_nobody_is_of_the_only_call_or_of_none() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let said = json!({"method": "notifications/message", "params": {"level": "info", "data": "x"}});
    // Nobody reads the session's stream yet, and one call is open.
    let messages = session.post(&call("only", "notify", said.clone())).await.messages();
    assert_eq!((&messages[0]["params"]["data"], &messages[1]["id"]), (&json!("x"), &json!("only")));
    let mut stream = session.get().await;
    let gate = bridge.folder.path().join("gate");
    let waiting = later(&session, call("long", "gate", json!({"file": gate})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    // Two are open: it may be of either.
    let answer = session.post(&call("short", "notify", said)).await;
    assert_eq!(answer.message()["id"], "short");
    assert_eq!(stream.next().await.unwrap()["params"]["data"], "x");
    std::fs::write(gate, "").unwrap();
    assert_eq!(text(&waiting.await.unwrap().message()), "open");
    // What is of no call by its kind has the session's stream also when one is open.
    session.post(&call(1, "notify", json!({"method": "notifications/tools/list_changed"}))).await.message();
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    bridge.end().await;
}

#[tokio::test]
async fn what_comes_while_nobody_listens_is_kept_within_bounds() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let line =
        |number: usize| format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{number}}}}}"#);
    // All of it comes when no call is open any more.
    let lines: Vec<_> = (0..500).map(line).collect();
    let answered = format!("{}\n{}", r#"{"jsonrpc":"2.0","id":{id},"result":{}}"#, lines.join("\n"));
    session.post(&call(1, "raw", json!({"line": answered}))).await.message();
    session.tool("echo", json!({"text": "all of it was read before this"})).await;
    let mut stream = session.get().await;
    for number in 0..64 {
        assert_eq!(stream.next().await.unwrap()["params"]["data"], number);
    }
    session.tool("notify", json!({"method": "notifications/tools/list_changed"})).await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    bridge.end().await;
}

#[tokio::test]
async fn a_question_of_the_server_reaches_the_caller_and_the_answer_comes_back() {
    let bridge = Bridge::start(Plan::new()).await;
    let (session, other) = (bridge.session().await, bridge.session().await);
    let mut stream = session.open(Method::POST, ask("one").to_string()).await;
    let question = stream.next().await.unwrap();
    assert_eq!(question["method"], "sampling/createMessage");
    // Not the server's own id, and nobody else's to answer.
    assert_ne!(question["id"], "q-one");
    answer(&other, &question["id"], "foreign").await;
    answer(&session, &json!("q-one"), "by the server's id").await;
    answer(&session, &json!(4711), "by no id").await;
    answer(&session, &question["id"], "own").await;
    let answered = stream.next().await.unwrap();
    assert_eq!(answered["id"], "one");
    let heard: Value = serde_json::from_str(text(&answered)).unwrap();
    assert_eq!(heard, json!({"jsonrpc": "2.0", "id": "q-one", "result": {"said": "own"}}));
    // Once only.
    answer(&session, &question["id"], "again").await;
    assert!(!session.tool("received", json!({})).await.contains("again"));
    bridge.end().await;
}

#[tokio::test]
async fn a_caller_that_hangs_up_cancels_nothing_and_its_answer_goes_to_nobody() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let gate = bridge.folder.path().join("gate");
    let waiting = later(&session, call("left", "gate", json!({"file": gate})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    waiting.abort();
    let _ = waiting.await;
    let mut stream = session.get().await;
    std::fs::write(gate, "").unwrap();
    eventually("the call has ended", async || session.tool("count", json!({})).await != "1").await;
    assert!(!session.tool("received", json!({})).await.contains("cancelled"));
    session.tool("notify", json!({"method": "notifications/tools/list_changed"})).await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    bridge.end().await;
}

#[tokio::test]
async fn a_cancellation_reaches_the_server_by_its_own_id_and_the_call_is_answered() {
    let bridge = Bridge::start(Plan::new()).await;
    let (session, other) = (bridge.session().await, bridge.session().await);
    let waiting = later(&session, call("x\u{20ac}", "nothing", json!({})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("nothing")).await;
    let cancel = |id: &str| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "r"}});
    assert_eq!(other.post(&cancel("x\u{20ac}")).await.status, 202);
    assert_eq!(session.post(&cancel("unknown")).await.status, 202);
    assert!(!session.tool("received", json!({})).await.contains("cancelled"));
    assert!(!other.tool("received", json!({})).await.contains("cancelled"));
    assert_eq!(session.post(&cancel("x\u{20ac}")).await.status, 202);
    let answer = waiting.await.unwrap().message();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("x\u{20ac}"), &json!(-32800)));
    let received: Vec<String> = serde_json::from_str(&session.tool("received", json!({})).await).unwrap();
    let parsed: Vec<Value> = received.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let called = parsed.iter().find(|message| message["params"]["name"] == "nothing").unwrap();
    let cancelled = parsed.iter().find(|message| message["method"] == "notifications/cancelled").unwrap();
    assert_eq!(cancelled["params"], json!({"requestId": called["id"], "reason": "r"}));
    bridge.end().await;
}

#[tokio::test]
async fn calls_that_are_never_answered_are_no_more_than_a_session_may_have() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..300 {
        let session = session.clone();
        waiting.spawn(async move { session.post(&call(number, "nothing", json!({}))).await });
    }
    for _ in 0..300 - 256 {
        let answer = waiting.join_next().await.unwrap().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.body);
    }
    waiting.abort_all();
    bridge.end().await;
}
