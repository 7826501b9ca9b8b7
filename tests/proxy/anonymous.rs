//! Callers without any credential: let in only where that is opened, and then as nobody in particular.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{World, message, tool_call, with_header};

/// A world in which whoever brings nothing may call `get_*`, and the known may call `echo` too.
async fn open() -> World {
    World::with(|config| {
        config["authentication"]["insecureAnonymous"] = json!(true);
        config["rules"] = json!([
            {"name": "known", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["echo", "hidden"]},
            {"name": "public", "effect": "Allow", "principals": ["anonymous"], "tools": ["get_*", "hidden"]},
            {"name": "nobody", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["get_secret"]}
        ]);
    })
    .await
}

#[tokio::test]
async fn nobody_is_let_in_where_it_is_not_opened() {
    let world = World::with(|config| {
        config["rules"] = json!([{"name": "p", "effect": "Allow", "principals": ["anonymous"], "tools": ["*"]}]);
    })
    .await;
    assert_eq!(world.anonymous().send(tool_call("echo", json!({}))).await.status, 401);
    assert_eq!(world.last_line()["reason"], "no-evidence");
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn what_is_allowed_to_the_known_is_not_allowed_to_nobody_and_the_reverse() {
    let world = open().await;
    for (tool, of_nobody, of_alice) in
        [("get_a", 200, 403), ("echo", 401, 200), ("hidden", 200, 200), ("get_secret", 401, 403), ("other", 401, 403)]
    {
        let answer = world.anonymous().send(tool_call(tool, json!({}))).await;
        assert_eq!(answer.status, of_nobody, "{tool}");
        assert_eq!(world.alice(tool_call(tool, json!({}))).await.status, of_alice, "{tool}");
    }
}

#[tokio::test]
async fn a_refusal_of_nobody_asks_for_a_login_and_is_recorded_as_a_denial() {
    let world = open().await;
    let answer = world.anonymous().send(tool_call("echo", json!({}))).await;
    assert!(answer.header("www-authenticate").starts_with("Bearer resource_metadata="), "{answer:?}");
    assert!(!answer.header("www-authenticate").contains("error"), "no token was sent: {answer:?}");
    let line = world.last_line();
    assert_eq!((line["decision"].as_str(), line["reason"].as_str()), (Some("Deny"), Some("nothing-allows")));
    assert_eq!((line["subject"].as_str(), line["issuer"].as_str()), (Some("anonymous"), Some("anonymous")));
    world.anonymous().send(tool_call("get_secret", json!({}))).await;
    assert_eq!(world.last_line()["rule"], "nobody");
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_credential_that_does_not_convince_does_not_make_nobody() {
    let world = open().await;
    let call = || tool_call("get_a", json!({}));
    for value in ["Bearer x", "Bearer", "", "Basic eDp5", &format!("Bearer {}", world.token(&json!({"exp": 1})))] {
        let answer = world.anonymous().send(with_header(call(), "authorization", value)).await;
        assert_eq!(answer.status, 401, "{value}");
    }
    let nameless = world.authority.sign(1, "", &[]);
    assert_eq!(world.bearing(&nameless).send(call()).await.status, 401);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_certificate_is_somebody_where_it_counts_and_nobody_where_it_does_not() {
    let world = open().await;
    let agent = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/agent"]);
    assert_eq!(world.bearing(&agent).send(tool_call("echo", json!({}))).await.status, 200);
    assert_eq!(world.bearing(&agent).send(tool_call("get_a", json!({}))).await.status, 403);
    let world = World::with(|config| {
        config["clientAuth"] = json!("Required");
        config["authentication"]["clientCertificates"] = json!(false);
        config["authentication"]["insecureAnonymous"] = json!(true);
        config["rules"] = json!([{"name": "p", "effect": "Allow", "principals": ["anonymous"], "tools": ["echo"]}]);
    })
    .await;
    let agent = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/agent"]);
    assert_eq!(world.bearing(&agent).send(tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test]
async fn the_server_and_the_lists_see_nobody() {
    let world = open().await;
    assert_eq!(world.anonymous().send(tool_call("get_a", json!({}))).await.status, 200);
    let identity = world.server.seen()[0].header("x-cardea-identity").to_owned();
    let claims = URL_SAFE_NO_PAD.decode(identity.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["issuer"]), (&json!("anonymous"), &json!("anonymous")));
    let list = message(json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string());
    let answer = world.anonymous().send(list).await.json();
    let names: Vec<&str> =
        answer["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["get_a", "hidden"]);
}

#[tokio::test]
async fn e28_nobody_uses_up_the_allowance_of_another_nobody() {
    let world = World::with(|config| {
        config["clientAuth"] = json!("Optional");
        config["authentication"]["clientCertificates"] = json!(false);
        config["authentication"]["insecureAnonymous"] = json!(true);
        config["limits"]["rate"] = json!({"perPrincipal": {"requests": 1, "perSeconds": 3600, "burst": 1}});
        config["rules"] = json!([{"name": "p", "effect": "Allow", "principals": ["anonymous"], "tools": ["*"]}]);
    })
    .await;
    let call = || tool_call("echo", json!({}));
    assert_eq!(world.anonymous().send(call()).await.status, 200);
    assert_eq!(world.anonymous().send(call()).await.status, 429);
    // Another caller who proves nobody, told apart by a certificate that says nothing here.
    let other = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/agent"]);
    assert_eq!(world.bearing(&other).send(call()).await.status, 200);
}
