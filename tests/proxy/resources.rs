//! Prompts, resources and further methods: the other doors to what a server holds (E21).

use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Reply, World, message, with_header};

fn asks(method: &str, params: &Value) -> Request<Full<bytes::Bytes>> {
    message(json!({"jsonrpc": "2.0", "id": 3, "method": method, "params": params}).to_string())
}

fn asks_modern(method: &str, name: Option<&str>, mut params: Value) -> Request<Full<bytes::Bytes>> {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = with_header(asks(method, &params), "mcp-protocol-version", "2026-07-28");
    request = with_header(request, "mcp-method", method);
    if let Some(name) = name {
        request = with_header(request, "mcp-name", name);
    }
    request
}

/// Dev may use `review_*`, the documents but the secret one, and tasks.
async fn world() -> World {
    World::with(|config| {
        let dev = json!([{"group": {"name": "dev"}}]);
        config["rules"] = json!([
            {"name": "dev", "effect": "Allow", "principals": dev, "prompts": ["review_*"],
             "resources": ["file:///docs/*"], "methods": ["tasks/*", "notifications/x", "Tools/*", "tools/*"]},
            {"name": "secret", "effect": "Deny", "principals": dev, "resources": ["file:///docs/secret*"]},
        ]);
    })
    .await
}

#[tokio::test]
async fn e21_every_other_door_is_shut_without_a_rule() {
    let world = World::start().await;
    for (method, params) in [
        ("prompts/get", json!({"name": "echo"})),
        ("resources/read", json!({"uri": "file:///etc/passwd"})),
        ("resources/read", json!({"uri": "ui://widget"})),
        ("resources/subscribe", json!({"uri": "file:///etc/passwd"})),
        ("resources/unsubscribe", json!({"uri": "file:///etc/passwd"})),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "echo"}, "argument": {}})),
        ("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "file:///{x}"}, "argument": {}})),
        ("tasks/get", json!({"taskId": "1"})),
        ("tasks/update", json!({"taskId": "1"})),
        ("tasks/cancel", json!({"taskId": "1"})),
        ("tasks/result", json!({"taskId": "1"})),
        ("tasks/list", json!({})),
        ("sampling/createMessage", json!({"tools": [{"name": "hidden"}]})),
        ("elicitation/create", json!({})),
        ("x", json!({})),
        ("Tools/Call", json!({"name": "echo"})),
    ] {
        let answer = world.alice(asks(method, &params)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, -32003), "{method} {params}");
        assert_eq!(answer.json()["id"], 3);
    }
    for method in ["tools/call", "notifications/x", "initialize"] {
        let notification = json!({"jsonrpc": "2.0", "method": method, "params": {"name": "echo"}});
        assert_eq!(world.alice(message(notification.to_string())).await.status, 403, "{method}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e21_each_door_opens_for_what_a_rule_names() {
    let world = world().await;
    for (method, params, status) in [
        ("prompts/get", json!({"name": "review_code"}), 200),
        ("prompts/get", json!({"name": "other"}), 403),
        ("resources/read", json!({"uri": "file:///docs/a.md"}), 200),
        ("resources/read", json!({"uri": "file:///docs/secret.md"}), 403),
        ("resources/read", json!({"uri": "file:///docs/../etc/passwd"}), 403),
        ("resources/read", json!({"uri": "file:///docs/%73ecret.md"}), 403),
        ("resources/read", json!({"uri": "FILE:///docs/a.md"}), 403),
        ("resources/subscribe", json!({"uri": "file:///docs/a.md"}), 200),
        ("resources/subscribe", json!({"uri": "file:///etc/passwd"}), 403),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "review_code"}}), 200),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "other"}}), 403),
        ("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "file:///docs/{x}"}}), 200),
        ("completion/complete", json!({"ref": {"type": "ref/resource", "uri": "file:///{x}"}}), 403),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "review_x", "uri": "file:///{x}"}}), 400),
        ("tasks/get", json!({"taskId": "1"}), 200),
        // A rule on methods opens nothing that is decided on by what it names.
        ("tools/call", json!({"name": "echo"}), 403),
        ("Tools/Call", json!({"name": "echo"}), 403),
    ] {
        world.server.forget();
        let answer = world.alice(asks(method, &params)).await;
        assert_eq!(answer.status, status, "{method} {params}");
        assert_eq!(world.server.seen().len(), usize::from(status == 200), "{method} {params}");
    }
    let stranger = world.token(&json!({"groups": []}));
    let read = asks("resources/read", &json!({"uri": "file:///docs/a.md"}));
    assert_eq!(world.with_token(&stranger, read).await.status, 403);
    for (method, status) in [("notifications/x", 202), ("tasks/get", 403), ("tools/call", 403)] {
        let notification = json!({"jsonrpc": "2.0", "method": method, "params": {"name": "echo"}});
        assert_eq!(world.alice(message(notification.to_string())).await.status, status, "{method}");
    }
}

#[tokio::test]
async fn e20_a_hidden_prompt_or_resource_looks_like_a_missing_one() {
    let world = world().await;
    for (method, member, hidden, missing) in [
        ("resources/read", "uri", "file:///docs/secret.md", "file:///no/such"),
        ("resources/read", "uri", "file:///docs/secret.md", "file:///docs/../odd"),
        ("prompts/get", "name", "hidden", "no-such"),
    ] {
        let shape = async |value: &str| {
            let answer = world.alice(asks(method, &json!({member: value}))).await;
            let mut headers: HeaderMap = answer.headers;
            headers.remove("date");
            headers.remove("x-request-id");
            (answer.status, headers, answer.body)
        };
        let told = shape(hidden).await;
        assert_eq!(told.0, StatusCode::FORBIDDEN);
        assert_eq!(told, shape(missing).await, "{method}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn lists_of_prompts_resources_and_templates_show_what_may_be_used() {
    let world = world().await;
    for (method, list, shown) in [
        ("prompts/list", r#""prompts":[{"name":"review_a"},{"name":"x"}]"#, r#""prompts":[{"name":"review_a"}]"#),
        (
            "resources/list",
            r#""resources":[{"uri":"file:///docs/secret"},{"name":"a","uri":"file:///docs/a"},{"uri":"file:///docs/../b"},{"name":"no uri"}]"#,
            r#""resources":[{"name":"a","uri":"file:///docs/a"}]"#,
        ),
        (
            "resources/templates/list",
            r#""resourceTemplates":[{"uriTemplate":"file:///docs/{x}"},{"uriTemplate":"file:///{x}"}]"#,
            r#""resourceTemplates":[{"uriTemplate":"file:///docs/{x}"}]"#,
        ),
    ] {
        let body = |list: &str| format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{{list},"nextCursor":"n"}}}}"#);
        world.server.once(Reply::text("application/json", body(list)));
        assert_eq!(world.alice(asks(method, &json!({}))).await.body, body(shown), "{method}");
    }
}

#[tokio::test]
async fn each_resource_that_is_listened_to_is_decided_on() {
    let world = world().await;
    for (filter, status) in [
        (json!({"toolsListChanged": true}), 200),
        (json!({"resourceSubscriptions": ["file:///docs/a"]}), 200),
        (json!({"resourceSubscriptions": ["file:///docs/a", "file:///docs/secret"]}), 403),
        (json!({"resourceSubscriptions": ["file:///docs/../etc/passwd"]}), 403),
        (json!({"taskStatus": ["1"]}), 403),
    ] {
        world.server.forget();
        let (reply, _) = Reply::events();
        world.server.once(reply);
        let request = asks_modern("subscriptions/listen", None, json!({"notifications": filter}));
        assert_eq!(world.alice(request).await.status, status, "{filter}");
        assert_eq!(world.server.seen().len(), usize::from(status == 200), "{filter}");
    }
    let read = asks_modern("resources/read", Some("file:///docs/a"), json!({"uri": "file:///docs/a"}));
    world.server.script(|_| Reply::json(&json!({"jsonrpc": "2.0", "id": 3, "result": {"contents": []}})));
    assert_eq!(world.alice(read).await.status, 200);
}

#[tokio::test]
async fn e23_what_is_read_or_discovered_in_the_modern_era_is_nobody_elses() {
    let world = world().await;
    let read = || asks_modern("resources/read", Some("file:///docs/a"), json!({"uri": "file:///docs/a"}));
    let discover = || asks_modern("server/discover", None, json!({}));
    let result = |scope: &str| format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"contents":[ ],"ttlMs":9{scope}}}}}"#);
    let private = result(r#","cacheScope":"private""#);
    for scope in ["", r#","cacheScope":"public""#] {
        for request in [read(), discover()] {
            world.server.once(Reply::text("application/json", result(scope)));
            let answer = world.alice(request).await;
            assert_eq!((answer.body.as_ref(), answer.header("cache-control")), (private.as_bytes(), "no-store"));
        }
        for request in [read(), discover()] {
            world.server.once(Reply::text("text/event-stream", format!("id: 1\ndata: {}\n\n", result(scope))));
            assert_eq!(world.alice(request).await.body, format!("id: 1\ndata: {private}\n\n"));
        }
        let legacy = asks("resources/read", &json!({"uri": "file:///docs/a"}));
        world.server.once(Reply::text("application/json", result(scope)));
        assert_eq!(world.alice(legacy).await.body, result(scope));
    }
    let error = r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32002,"message":"gone"}}"#;
    world.server.once(Reply::text("application/json", error));
    assert_eq!(world.alice(read()).await.body, error);
}
