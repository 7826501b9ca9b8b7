//! Audit lines: one for each decision, with who and what, and nothing else.

use serde_json::json;

use crate::support::{Reply, World, eventually, message, tool_call, with_header};

const CANARY: &str = "canary-5f2b";

#[tokio::test]
async fn every_decision_leaves_one_line() {
    let world = World::start().await;
    world.alice(tool_call("echo", json!({}))).await;
    world.alice(tool_call("hidden", json!({}))).await;
    world.anonymous().send(tool_call("echo", json!({}))).await;
    let lines = world.lines();
    assert_eq!(lines.len(), 3);
    let mut allowed = lines[0].clone();
    assert!(allowed["time"].as_str().unwrap().starts_with("20"));
    assert!(allowed["latencyMs"].as_f64().unwrap() > 0.0);
    assert_eq!(allowed["trace"].as_str().unwrap().len(), 32);
    for name in ["time", "request", "trace", "latencyMs", "requestBytes"] {
        allowed.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        allowed,
        json!({
            "kind": "audit", "event": "Decision", "decision": "Allow", "rule": "dev", "subject": "alice", "issuer": "corp",
            "method": "tools/call", "tool": "echo", "peer": "127.0.0.1", "server": ["agents", "double"], "generation": 1
        })
    );
    assert_eq!((&lines[1]["decision"], &lines[1]["tool"]), (&json!("Deny"), &json!("hidden")));
    assert_eq!((&lines[2]["decision"], &lines[2]["reason"]), (&json!("Unauthenticated"), &json!("no-evidence")));
    assert!(lines[2].get("subject").is_none());
    let ids: std::collections::HashSet<_> = lines.iter().map(|line| line["request"].to_string()).collect();
    assert_eq!(ids.len(), 3);
}

#[tokio::test]
async fn nothing_a_caller_sends_as_a_secret_stands_in_a_line() {
    let world = World::start().await;
    let secrets = json!({"password": CANARY, CANARY: [CANARY]});
    let token = world.token(&json!({"email": CANARY}));
    for tool in ["echo", "hidden"] {
        let mut request = tool_call(tool, secrets.clone());
        *request.uri_mut() = format!("/mcp?{CANARY}={CANARY}").parse().unwrap();
        request = with_header(request, "cookie", CANARY);
        request = with_header(request, "user-agent", CANARY);
        world.with_token(&token, request).await;
    }
    world.with_token(CANARY, tool_call("echo", secrets)).await;
    world.alice(message(format!("{{\"{CANARY}\": \"{CANARY}\"}}"))).await;
    let text = world.audit.text();
    assert_eq!(world.lines().len(), 4);
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains(&token[..40]), "{text}");
}

#[tokio::test]
async fn e29_a_name_cannot_break_or_swell_a_line() {
    let world = World::start().await;
    world.alice(tool_call("x\n{\"decision\":\"Allow\"}\u{1b}[2J", json!({}))).await;
    world.alice(tool_call(&"é".repeat(10_000), json!({}))).await;
    let text = world.audit.text();
    assert_eq!(text.lines().count(), 2);
    assert!(!text.contains('\u{1b}'));
    assert!(text.lines().all(|line| line.len() < 1000));
    assert_eq!(world.lines()[0]["tool"], "x\n{\"decision\":\"Allow\"}\u{1b}[2J");
}

#[tokio::test]
async fn auditing_can_be_switched_off() {
    let world = World::with(|config| config["audit"] = json!("None")).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    assert!(world.audit.text().is_empty());
}

#[tokio::test]
async fn e29_no_control_character_stands_in_a_line() {
    let world = World::start().await;
    let tool = "a\u{1b}[2J\u{9b}31m\u{7f}\u{85}b";
    world.alice(tool_call(tool, json!({}))).await;
    let written = world.audit.text();
    assert!(!written.trim_end_matches('\n').contains(char::is_control), "{written:?}");
    assert_eq!(world.last_line()["tool"], tool);
}

#[tokio::test]
async fn what_was_permitted_has_an_outcome_under_the_same_id() {
    let world = World::start().await;
    let answer = world.alice(with_header(tool_call("echo", json!({})), "x-request-id", "mine")).await;
    let id = answer.header("x-request-id").to_owned();
    assert_eq!((id.len(), answer.headers.get_all("x-request-id").iter().count()), (36, 1));
    let outcome = world.outcomes(1).await.remove(0);
    assert_eq!((&outcome["request"], &world.last_line()["request"]), (&json!(id), &json!(id)));
    assert_eq!(outcome["trace"], world.last_line()["trace"]);
    for (name, expected) in [
        ("subject", json!("alice")),
        ("issuer", json!("corp")),
        ("method", json!("tools/call")),
        ("tool", json!("echo")),
        ("decision", json!("Allow")),
        ("rule", json!("dev")),
        ("status", json!(200)),
        ("end", json!("Complete")),
        ("responseBytes", json!(answer.body.len())),
    ] {
        assert_eq!(outcome[name], expected, "{name}");
    }
    assert!(outcome["durationMs"].as_f64() >= outcome["latencyMs"].as_f64());
    assert!(outcome["requestBytes"].as_u64() > Some(50));
    assert!(!world.server.only().headers.contains_key("x-request-id"));

    // A refusal is its own outcome.
    let refused = world.alice(tool_call("hidden", json!({}))).await;
    let line = world.last_line();
    assert_eq!((&line["request"], &line["status"]), (&json!(refused.header("x-request-id")), &json!(403)));
    assert_eq!(world.audit.text().lines().count(), 3);
}

#[tokio::test]
async fn an_outcome_tells_how_it_went() {
    let world = World::start().await;
    let result = |result: serde_json::Value| {
        let mut message = json!({"jsonrpc": "2.0", "id": 7});
        message.as_object_mut().unwrap().extend(result.as_object().unwrap().clone());
        Reply::json(&message)
    };
    world.server.once(result(json!({"error": {"code": -32602, "message": CANARY}})));
    world.alice(tool_call("echo", json!({}))).await;
    world.server.once(result(json!({"result": {"content": [{"type": "text", "text": CANARY}], "isError": true}})));
    world.alice(tool_call("echo", json!({}))).await;
    world.server.once(Reply::Whole(http::StatusCode::FOUND, vec![("location", CANARY.into())], "".into()));
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 502);
    let outcomes = world.outcomes(3).await;
    assert_eq!((&outcomes[0]["error"], &outcomes[0]["status"]), (&json!(-32602), &json!(200)));
    assert_eq!(outcomes[1]["toolError"], true);
    assert_eq!((&outcomes[2]["status"], &outcomes[2]["reason"]), (&json!(502), &json!("unfit-answer")));

    // A stream that the caller leaves, and one that breaks.
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let answer = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await;
    feed.send("data: {}\n\n".into()).await.unwrap();
    drop(answer);
    assert_eq!(world.outcomes(4).await[3]["end"], "Left");
    let (held, given_up) = tokio::sync::oneshot::channel();
    world.server.once(Reply::Never(held));
    let mut sender = world.anonymous().http1().await;
    let request = world.as_alice(tool_call("echo", json!({})));
    tokio::select! {
        _ = sender.send_request(request) => panic!("no answer was given"),
        () = eventually("the server has it", async || world.server.seen().len() == 5) => {}
    }
    drop(sender);
    given_up.await.unwrap_err();
    let outcome = world.outcomes(5).await.remove(4);
    assert_eq!((&outcome["end"], outcome.get("status")), (&json!("Left"), None));
    assert!(!world.audit.text().contains(CANARY));
}

#[tokio::test]
async fn full_shows_arguments_without_what_is_cut_out() {
    let redact = json!({"keys": ["iban"], "paths": ["/users/*/home"], "patterns": ["acct-[0-9]+"]});
    let world = World::with(|config| {
        config["audit"] = json!("Full");
        config["redact"] = redact;
    })
    .await;
    let arguments = json!({
        "env": "production", "apiKey": CANARY, "IBAN": {"is": CANARY}, "users": [{"home": CANARY, "name": "a"}],
        "note": format!("see acct-12345 and Bearer {CANARY}"), "acct-12345": 1
    });
    for tool in ["echo", "hidden"] {
        world.alice(tool_call(tool, arguments.clone())).await;
        let line = world.last_line();
        assert_eq!(
            line["arguments"]["shown"],
            json!({
                "env": "production", "apiKey": "[redacted]", "IBAN": "[redacted]",
                "users": [{"home": "[redacted]", "name": "a"}],
                "note": "see [redacted] and [redacted]", "[redacted]": 1
            })
        );
    }
    assert!(!world.audit.text().contains(CANARY));
    world.alice(tool_call("echo", json!({"text": "x".repeat(60_000)}))).await;
    let line = world.last_line();
    assert_eq!(line["arguments"]["truncated"], true);
    assert!(world.audit.text().lines().all(|line| line.len() < 10_000));
    world.outcomes(2).await;
}

#[tokio::test]
async fn a_redaction_that_does_not_compile_leaves_the_former_in_force() {
    let world = World::start().await;
    let mut config = world.config.clone();
    config["generation"] = json!(2);
    config["redact"] = json!({"patterns": ["("]});
    world.write_config(&config.to_string());
    eventually("the report says so", async || world.report().await["rejectedConfig"].is_string()).await;
    let report = world.report().await;
    assert!(report["rejectedConfig"].as_str().unwrap().contains("patterns: \"(\""), "{report}");
    assert_eq!(report["generation"], 1);
}
