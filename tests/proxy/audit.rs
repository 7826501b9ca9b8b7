//! Audit lines: one for each decision, with who and what, and nothing else.

use serde_json::json;

use crate::support::{World, message, tool_call, with_header};

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
    assert!(!allowed["request"].as_str().unwrap().is_empty());
    for name in ["time", "request"] {
        allowed.as_object_mut().unwrap().remove(name);
    }
    assert_eq!(
        allowed,
        json!({
            "kind": "audit", "decision": "Allow", "rule": "dev", "subject": "alice", "issuer": "corp",
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
    assert_eq!(text.lines().count(), 4);
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains(&token[..40]), "{text}");
}

#[tokio::test]
async fn a_name_cannot_break_or_swell_a_line() {
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
async fn no_control_character_stands_in_a_line() {
    let world = World::start().await;
    let tool = "a\u{1b}[2J\u{9b}31m\u{7f}\u{85}b";
    world.alice(tool_call(tool, json!({}))).await;
    let written = world.audit.text();
    assert!(!written.trim_end_matches('\n').contains(char::is_control), "{written:?}");
    assert_eq!(world.last_line()["tool"], tool);
}
