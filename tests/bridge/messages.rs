//! What goes to the process and what comes of its lines (rows 61, 62, 64, E32).

use serde_json::{Value, json};

use crate::support::{Bridge, Plan, call, text};

/// What the process has been told, besides this question.
async fn received(session: &crate::support::Caller) -> Vec<String> {
    serde_json::from_str(&session.tool("received", json!({})).await).unwrap()
}

#[tokio::test]
async fn what_is_written_stands_in_one_line_and_means_the_same() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    let body = "{\r\n  \"jsonrpc\": \"2.0\",\n\t\"id\": \"a\\u0062 \", \"method\": \"tools/call\",\n\"params\": {\"name\": \"echo\", \
                \"arguments\": {\"text\": \" a \\n \\\" b\", \"big\": 12345678901234567890.10, \"e\": 1E30}}\n}";
    let answer = session.post_text(body).await.message();
    assert_eq!((&answer["id"], text(&answer)), (&json!("ab "), " a \n \" b"));
    let lines = received(&session).await;
    let line = lines.iter().find(|line| line.contains("echo")).unwrap();
    let expected = r#""method":"tools/call","params":{"name":"echo","arguments":{"text":" a \n \" b","big":12345678901234567890.10,"e":1E30}}}"#;
    assert!(line.ends_with(expected), "{line}");
    assert_eq!(serde_json::from_str::<Value>(&lines[0]).unwrap()["method"], "initialize");
    assert_eq!(lines[1], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    bridge.end().await;
}

#[tokio::test]
async fn junk_and_what_is_no_message_goes_to_nobody() {
    let bridge = Bridge::start(Plan::new().with(&["--says", "Server running on stdio"])).await;
    let session = bridge.session().await;
    let mut stream = session.get().await;
    for line in [
        "listening…",
        "",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"",
        "[{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{}}]",
        "{\"jsonrpc\":\"1.0\",\"id\":{id},\"result\":{}}",
        "{\"id\":{id},\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{},\"error\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":{id},\"id\":{id},\"result\":{}}",
        "\u{1b}[31m{}",
    ] {
        let answer = session
            .post(&call(7, "raw", json!({"line": format!("{line}\n{}", r#"{"jsonrpc":"2.0","id":{id},"result":1}"#)})))
            .await;
        assert_eq!(answer.message(), json!({"jsonrpc": "2.0", "id": 7, "result": 1}), "{line}");
    }
    assert_eq!(session.tool("bytes", json!({})).await, "said");
    // None of it has come here either.
    session.tool("notify", json!({"method": "notifications/tools/list_changed"})).await;
    assert_eq!(stream.next().await.unwrap()["method"], "notifications/tools/list_changed");
    bridge.end().await;
}

#[tokio::test]
async fn answers_to_what_nobody_asked_go_to_nobody() {
    let bridge = Bridge::start(Plan::new()).await;
    let (alice, bob) = (bridge.session().await, bridge.session().await);
    let gate = bridge.folder.path().join("gate");
    let waiting = tokio::spawn({
        let (bob, gate) = (bob.clone(), gate.clone());
        async move { bob.post(&call(3, "gate", json!({"file": gate}))).await }
    });
    // Ids that the other session has open, that were open, that will be, and that are none.
    for id in ["1", "2", "3", "4", "5", "100", "\"3\"", "3.0", "-1", "null", "18446744073709551616"] {
        let foreign =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"foreign"}}]}}}}"#);
        let line = if id == "3" || id == "4" || id == "5" { "{}".to_owned() } else { foreign };
        let answer = alice
            .post(&call(
                9,
                "raw",
                json!({"line": format!("{line}\n{}", r#"{"jsonrpc":"2.0","id":{id},"result":"own"}"#)}),
            ))
            .await;
        assert_eq!(answer.message()["result"], "own", "{id}");
    }
    std::fs::write(gate, "").unwrap();
    let answer = waiting.await.unwrap().message();
    assert_eq!((&answer["id"], text(&answer)), (&json!(3), "open"));
    bridge.end().await;
}

#[tokio::test]
async fn the_same_ids_and_tokens_of_two_sessions_do_not_meet() {
    for plan in [Plan::new(), Plan::new().shared()] {
        let bridge = Bridge::start(plan).await;
        let sessions = [bridge.session().await, bridge.session().await];
        let mut calls = tokio::task::JoinSet::new();
        for round in 0..40 {
            let session = sessions[round % 2].clone();
            calls.spawn(async move {
                let mark = format!("{}-{round}", round % 2);
                let mut message = call("same", "progress", json!({"count": 3, "mark": mark}));
                message["params"]["_meta"] = json!({"progressToken": "token"});
                let progress = session.post(&message).await;
                let echo = session.post(&call("same", "echo", json!({"text": mark}))).await.message();
                (progress.messages(), echo, mark)
            });
        }
        while let Some(done) = calls.join_next().await {
            let (progress, echo, mark) = done.unwrap();
            assert_eq!((&echo["id"], text(&echo)), (&json!("same"), mark.as_str()));
            assert_eq!(progress.len(), 4);
            for (step, message) in progress[..3].iter().enumerate() {
                assert_eq!(message["params"], json!({"progressToken": "token", "progress": step}));
            }
            assert_eq!(progress[3]["id"], "same");
        }
        bridge.end().await;
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_before_the_process_sees_it() {
    let bridge = Bridge::start(Plan::new()).await;
    let session = bridge.session().await;
    for (body, status, code) in [
        ("", 400, -32700),
        ("nonsense", 400, -32700),
        ("[]", 400, -32600),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32600),
    ] {
        let answer = session.post_text(body).await;
        assert_eq!((answer.status, answer.message()["error"]["code"].as_i64()), (status, Some(code)), "{body}");
    }
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x".repeat(1 << 20)}});
    assert_eq!(session.post(&long).await.status, 413);
    let elsewhere = session.open_at("/other", http::Method::POST, "{}".into()).await;
    assert_eq!(elsewhere.status, 404);
    assert_eq!(received(&session).await.len(), 3);
    bridge.end().await;
}
