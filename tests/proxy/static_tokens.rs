//! Tokens that a file knows by their digests.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Load, World, eventually, tool_call};

pub(crate) fn token(letter: &str) -> String {
    format!("cardea_{}", letter.repeat(43))
}

pub(crate) fn entry(token: &str, more: &Value) -> Value {
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut entry = json!({"subject": "ci", "sha256": digest, "groups": ["dev"]});
    for (name, value) in more.as_object().unwrap() {
        entry[name] = value.clone();
    }
    entry
}

pub(crate) fn write(world: &World, entries: &[Value]) {
    world.write("credentials/static", "tokens.json", &json!({ "tokens": entries }).to_string());
}

/// A world that takes these tokens.
pub(crate) async fn world(entries: &[Value]) -> World {
    let world = World::with(|config| {
        config["authentication"]["staticTokens"] = json!(true);
        config["rules"].as_array_mut().unwrap().push(json!({
            "name": "static-platform", "effect": "Allow", "tools": ["deploy"],
            "principals": [{"attribute": {"name": "team", "values": ["platform"], "issuer": "static"}}]
        }));
    })
    .await;
    write(&world, entries);
    eventually("the file is read", async || world.report().await.get("rejectedStaticTokens").is_none()).await;
    world
}

async fn status(world: &World, token: &str, tool: &str) -> u16 {
    world.with_token(token, tool_call(tool, json!({}))).await.status.as_u16()
}

#[tokio::test]
async fn a_static_token_is_somebody_with_groups_and_attributes() {
    let (plain, platform) = (token("a"), token("b"));
    let attributes =
        json!({"subject": "deployer", "groups": [], "scopes": ["deploy:write"], "attributes": {"team": ["platform"]}});
    let world = world(&[entry(&plain, &json!({})), entry(&platform, &attributes)]).await;
    assert_eq!(status(&world, &plain, "echo").await, 200);
    let line = world.last_line();
    assert_eq!((&line["subject"], &line["issuer"]), (&json!("ci"), &json!("static")));
    assert_eq!(status(&world, &plain, "get_secret").await, 403);
    assert_eq!(status(&world, &plain, "deploy").await, 403);
    assert_eq!(status(&world, &platform, "echo").await, 403);
    assert_eq!(status(&world, &platform, "deploy").await, 200);
    assert!(!world.audit.text().contains(&plain));
    assert!(world.server.seen().iter().all(|seen| seen.headers.get("authorization").is_none()));
}

#[tokio::test]
async fn tokens_that_the_file_does_not_know_or_know_any_more() {
    let (good, ended) = (token("a"), token("b"));
    let (short, plain) = ("cardea_short".to_owned(), "p".repeat(50));
    let world = world(&[
        entry(&good, &json!({"notAfter": "2100-01-01T00:00:00Z"})),
        entry(&ended, &json!({"notAfter": "2020-01-01T00:00:00Z"})),
        entry(&short, &json!({})),
        entry(&plain, &json!({})),
    ])
    .await;
    assert_eq!(status(&world, &good, "echo").await, 200);
    world.server.forget();
    for (what, bad, reason) in [
        ("ended", &ended, "token-expired"),
        ("too short to be random", &short, "token-too-short"),
        ("without the prefix", &plain, "token-malformed"),
        ("unknown", &token("c"), "token-unknown"),
        ("more than is known", &format!("{good}a"), "token-unknown"),
        ("less than is known", &good[..good.len() - 1].to_owned(), "token-unknown"),
        ("in capitals", &good.to_uppercase(), "token-malformed"),
        (
            "the digest itself",
            &format!("cardea_{}", entry(&good, &json!({}))["sha256"].as_str().unwrap()),
            "token-unknown",
        ),
    ] {
        assert_eq!(status(&world, bad, "echo").await, 401, "{what}");
        assert_eq!(world.last_line()["reason"], reason, "{what}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn nobody_has_a_static_token_where_none_are_taken() {
    let world = World::start().await;
    write(&world, &[entry(&token("a"), &json!({}))]);
    assert_eq!(status(&world, &token("a"), "echo").await, 401);
}

#[tokio::test]
async fn a_file_that_is_no_good_keeps_the_former_and_is_named() {
    let good = token("a");
    let world = world(&[entry(&good, &json!({}))]).await;
    eventually("the token is known", async || status(&world, &good, "echo").await == 200).await;
    for (text, expected) in [
        ("{".to_owned(), "not JSON of the documented form"),
        (json!({"tokens": [{"subject": "ci", "sha256": good}]}).to_string(), "tokens[0].sha256: must be the SHA-256"),
        (json!({"tokens": [], "surprise": 1}).to_string(), "not JSON of the documented form"),
    ] {
        world.write("credentials/static", "tokens.json", &text);
        eventually(expected, async || {
            world.report().await["rejectedStaticTokens"].as_str().is_some_and(|reason| reason.contains(expected))
        })
        .await;
        assert!(!world.report().await.to_string().contains(&good));
        assert_eq!(status(&world, &good, "echo").await, 200);
    }
    let metrics = String::from_utf8(world.admin("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("cardea_proxy_static_token_reloads_total{outcome=\"Failed\"}"), "{metrics}");
    write(&world, &[]);
    eventually("the token is forgotten", async || status(&world, &good, "echo").await == 401).await;
    assert!(world.report().await.get("rejectedStaticTokens").is_none());
}

#[tokio::test]
async fn a_missing_file_lets_nobody_in_and_shuts_nobody_out() {
    let world = World::with(|config| config["authentication"]["staticTokens"] = json!(true)).await;
    assert_eq!(status(&world, &token("a"), "echo").await, 401);
    assert!(world.report().await["rejectedStaticTokens"].as_str().unwrap().contains("cannot be read"));
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e36_tokens_rotate_under_load_without_a_gap() {
    let tokens: Vec<String> = ["a", "b", "c"].map(token).into();
    let world = Arc::new(world(&[entry(&tokens[0], &json!({}))]).await);
    eventually("the first is known", async || status(&world, &tokens[0], "echo").await == 200).await;
    let load = Load::start(&world, &tokens);
    for next in 1..tokens.len() {
        load.serves().await;
        write(&world, &[entry(&tokens[next - 1], &json!({})), entry(&tokens[next], &json!({}))]);
        eventually("both are known", async || status(&world, &tokens[next], "echo").await == 200).await;
        load.turns_to(next);
        write(&world, &[entry(&tokens[next], &json!({}))]);
        eventually("the former is forgotten", async || status(&world, &tokens[next - 1], "echo").await == 401).await;
    }
    load.ends_without_a_gap().await;
}
