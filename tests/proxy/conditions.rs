//! Rules about arguments, at the door: what passes reaches the server as it was sent, what does not never does.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::leases::Open;
use crate::support::{Reply, World, message, tool_call, with_header};

/// A world in which anybody may use `deploy` as these conditions say, beside alice's own rules.
async fn world(conditions: Value) -> World {
    World::with(|config| {
        config["limits"]["maxBodyBytes"] = json!(4 << 20);
        config["rules"].as_array_mut().unwrap().push(json!({
            "name": "deploys", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["deploy"],
            "arguments": conditions
        }));
    })
    .await
}

/// Whether alice may, and the server saw what she sent, or nothing.
async fn may(world: &World, arguments: &Value) -> bool {
    world.server.forget();
    let answer = world.alice(tool_call("deploy", arguments.clone())).await;
    let seen = world.server.seen();
    if answer.status == 200 {
        assert_eq!(seen.len(), 1);
        assert_eq!(&seen[0].json()["params"]["arguments"], arguments);
        assert_eq!(world.last_line()["rule"], "deploys");
        return true;
    }
    let shown: String = arguments.to_string().chars().take(200).collect();
    assert_eq!((answer.status.as_u16(), seen.len()), (403, 0), "{shown}");
    assert!(!answer.body.windows(7).any(|part| part == b"deploys"), "no rule is named");
    assert_eq!(world.last_line()["decision"], "Deny");
    false
}

#[tokio::test]
async fn e25_arguments_lead_nowhere_else() {
    let world = world(json!([
        {"path": "/path", "pathUnder": "/data/x"},
        {"path": "/branch", "regex": "[a-z][a-z0-9/._-]*"}
    ]))
    .await;
    assert!(may(&world, &json!({"path": "/data/x/report.txt", "branch": "main"})).await);
    for path in [
        "/data/x-evil/a",
        "/data/x/../../etc/passwd",
        "/data/x/%2e%2e/y",
        "..",
        "/etc",
        "/data/x\u{0}",
        "/data/x\\..\\y",
    ] {
        assert!(!may(&world, &json!({"path": path, "branch": "main"})).await, "{path:?}");
    }
    for branch in ["--upload-pack=touch /tmp/x", "-x", "main\n--exec", "", "main;id"] {
        assert!(!may(&world, &json!({"path": "/data/x/a", "branch": branch})).await, "{branch:?}");
    }
}

#[tokio::test]
async fn e26_another_type_is_another_thing() {
    let world = world(json!([{"path": "/count", "equals": 100}, {"path": "/force", "equals": "true"}])).await;
    let sent = |count: Value, force: Value| json!({"count": count, "force": force});
    assert!(may(&world, &sent(json!(100), json!("true"))).await);
    assert!(may(&world, &sent(json!(1e2), json!("true"))).await);
    for (count, force) in [
        (json!("100"), json!("true")),
        (json!([100]), json!("true")),
        (json!(null), json!("true")),
        (json!(100), json!(true)),
        (json!(100), json!("ｔrue")),
        (json!(100), json!(["true"])),
        (json!(100), json!({"equals": "true"})),
    ] {
        assert!(!may(&world, &sent(count, force)).await);
    }
    assert!(!may(&world, &json!({"count": 100})).await);
    // Named twice, of which a server may take either: that is no message at all.
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"deploy","arguments":{"count":100,"force":"true","count":1}}}"#;
    world.server.forget();
    assert_eq!(world.alice(message(twice)).await.status, 400);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e27_what_is_too_much_to_look_at_is_denied() {
    let world = world(json!([{"path": "/all/*", "regex": "(a+)+b?"}])).await;
    assert!(may(&world, &json!({"all": vec!["a"; 1000]})).await);
    for all in [
        json!(vec!["a"; 10_000]),
        json!(vec!["a"; 100_000]),
        json!(["a".repeat(1 << 20)]),
        json!([format!("{}c", "a".repeat(60 << 10))]),
        json!(vec![json!([]); 1000]),
    ] {
        assert!(!may(&world, &json!({ "all": all })).await);
    }
    assert!(may(&world, &json!({"all": ["aab"]})).await);
}

#[tokio::test]
async fn an_expression_says_what_the_others_cannot() {
    let world = World::with(|config| {
        config["limits"]["maxBodyBytes"] = json!(1 << 20);
        config["rules"].as_array_mut().unwrap().push(json!({
            "name": "deploys", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["deploy"],
            "when": "args.from != args.to && args.steps.all(s, s.env == args.to) && 'dev' in principal.groups"
        }));
    })
    .await;
    let sent = |from: Value, to: Value, env: &str| json!({"from": from, "to": to, "steps": [{"env": env}]});
    assert!(may(&world, &sent(json!("a"), json!("b"), "b")).await);
    for arguments in [
        sent(json!("a"), json!("a"), "a"),
        sent(json!("a"), json!("b"), "c"),
        json!({"from": "a", "to": "b"}),
        json!({"from": "a", "to": "b", "steps": vec![json!({"env": "b"}); 10_000]}),
    ] {
        assert!(!may(&world, &arguments).await);
    }
}

#[tokio::test]
async fn lists_show_what_some_arguments_may_use() {
    let world = world(json!([{"path": "/env", "equals": "staging"}])).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "deploy"}, {"name": "hidden"}]}});
    world.server.once(Reply::json(&list));
    let answer = world.alice(message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)).await;
    assert_eq!(answer.json()["result"]["tools"], json!([{"name": "deploy"}]));
}

/// Calls whose answers last are judged by their arguments again. Of a long message they are not known any more.
#[tokio::test]
async fn e35_a_call_ends_when_its_arguments_would_be_denied_now() {
    let world = world(json!([{"path": "/env", "in": ["staging", "dev"]}])).await;
    let call = |env: &str, note: usize| -> Request<Full<Bytes>> {
        let body = tool_call("deploy", json!({"env": env, "note": "n".repeat(note)}));
        with_header(body, "authorization", &format!("Bearer {}", world.token(&json!({}))))
    };
    let mut kept = Open::with(&world, &world.anonymous(), call("dev", 0)).await;
    let ended = Open::with(&world, &world.anonymous(), call("staging", 0)).await;
    let long = Open::with(&world, &world.anonymous(), call("dev", 10_000)).await;
    let mut config = world.config.clone();
    config["rules"][2]["arguments"][0]["in"] = json!(["dev"]);
    world.write_config(&config.to_string());
    assert_eq!(ended.ends().await, "");
    assert_eq!(long.ends().await, "");
    kept.passes("data: {}\n\n").await;
}
