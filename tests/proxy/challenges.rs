//! What a client learns of how to come by a token that suffices: the metadata of RFC 9728 and the challenges of 401 and
//! 403. The cases are those of the official conformance suite's scenarios for clients (`auth/*`), which say what real
//! clients expect of a resource server.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, World, message, tool_call, with_header};

const METADATA: &str = "resource_metadata=\"https://mcp.test/.well-known/oauth-protected-resource/mcp\"";
const PLACES: [&str; 2] = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"];

/// `echo` to group `dev` with these scopes.
fn rule(name: &str, tool: &str, scopes: &[&str]) -> Value {
    json!({
        "name": name, "effect": "Allow", "principals": [{"group": {"name": "dev"}}], "tools": [tool], "scopes": scopes
    })
}

async fn world(rules: Value) -> World {
    World::with(|config| config["rules"] = rules).await
}

async fn metadata(world: &World, path: &str) -> Value {
    let request = Request::get(path).header("host", "mcp.test").body(Full::default()).unwrap();
    let answer = world.anonymous().send(request).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    answer.json()
}

/// Calls a tool as alice, whose token has these scopes.
async fn call(world: &World, scopes: &Value, tool: &str) -> Answer {
    world.with_token(&world.token(&json!({"scope": scopes})), tool_call(tool, json!({}))).await
}

/// `auth/scope-from-www-authenticate`, `auth/scope-from-scopes-supported`, `auth/scope-omitted-when-undefined`: what is
/// asked for first is the least, in the challenge and in the metadata alike.
#[tokio::test]
async fn the_first_token_is_asked_for_with_the_least_scopes() {
    let free = rule("free", "echo", &[]);
    let read = rule("read", "echo", &["mcp:read"]);
    let write = rule("write", "get_a", &["mcp:read", "mcp:write"]);
    let deny = json!({"name": "no", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["hidden"]});
    for (rules, least) in [
        (json!([write, read, deny]), Some("mcp:read")),
        (json!([deny, write]), Some("mcp:read mcp:write")),
        (json!([write, free, read]), None),
        (json!([]), None),
    ] {
        let world = world(rules.clone()).await;
        let scope = least.map(|scopes| format!("scope=\"{scopes}\", ")).unwrap_or_default();
        let list = || message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        let bare = world.anonymous().send(list()).await;
        assert_eq!(bare.status, 401);
        assert_eq!(bare.header("www-authenticate"), format!("Bearer {scope}{METADATA}"), "{rules}");
        let bad = world.with_token("nonsense", list()).await;
        assert_eq!(bad.status, 401);
        let expected = format!("Bearer error=\"invalid_token\", {scope}{METADATA}");
        assert_eq!(bad.header("www-authenticate"), expected, "{rules}");
        for path in PLACES {
            let supported = metadata(&world, path).await["scopes_supported"].clone();
            let expected = least.map_or(Value::Null, |scopes| json!(scopes.split(' ').collect::<Vec<_>>()));
            assert_eq!(supported, expected, "{rules} {path}");
        }
    }
}

/// `auth/scope-step-up`, `auth/scope-retry-limit`: all that the call needs in one challenge, and the request's id.
#[tokio::test]
async fn a_token_without_the_scopes_is_told_which() {
    let world =
        world(json!([rule("read", "get_*", &["mcp:read"]), rule("write", "echo", &["mcp:read", "mcp:write"])])).await;
    let answer = call(&world, &json!("mcp:read openid"), "echo").await;
    assert_eq!(answer.status, 403);
    let expected = format!("Bearer error=\"insufficient_scope\", scope=\"mcp:read mcp:write\", {METADATA}");
    assert_eq!(answer.header("www-authenticate"), expected);
    assert_eq!((answer.json()["id"].clone(), answer.code()), (json!(7), -32003));
    assert!(!answer.json().to_string().contains("\"write\""), "no rule is named: {answer:?}");
    let line = world.last_line();
    assert_eq!(
        (&line["decision"], &line["rule"], &line["reason"]),
        (&json!("Deny"), &json!("write"), &json!("insufficient-scope"))
    );
    assert!(world.server.seen().is_empty());

    for scopes in [json!("mcp:write mcp:read"), json!(["mcp:read", "mcp:write"])] {
        assert_eq!(call(&world, &scopes, "echo").await.status, 200, "{scopes}");
    }
    assert_eq!(call(&world, &json!("mcp:read"), "get_a").await.status, 200);
}

/// MCP 2026-07-28, Step-Up Authorization Flow: a broader scope implies narrower ones where the rules say so.
#[tokio::test]
async fn a_broader_scope_that_a_rule_names_suffices() {
    let world = world(json!([rule("read", "echo", &["mcp:read"]), rule("admin", "*", &["mcp:admin"])])).await;
    assert_eq!(call(&world, &json!("mcp:admin"), "echo").await.status, 200);
    let answer = call(&world, &json!(""), "echo").await;
    assert!(answer.header("www-authenticate").contains("scope=\"mcp:read\""), "{answer:?}");
}

/// Row 73: a challenge is no oracle. Whoever may not call it with any scope hears what is said of a tool that is not there.
#[tokio::test]
async fn scopes_are_named_only_to_who_misses_nothing_else() {
    let denied = json!({"name": "no", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["get_secret"]});
    let others = json!({
        "name": "ops", "effect": "Allow", "principals": [{"group": {"name": "ops"}}], "tools": ["hidden"],
        "scopes": ["mcp:ops"]
    });
    let any = json!({
        "name": "any", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["get_b"], "scopes": ["mcp:read"]
    });
    let world = world(json!([denied, others, any, rule("read", "get_*", &["mcp:read"])])).await;
    let missing = call(&world, &json!(""), "not-there").await;
    for tool in ["hidden", "get_secret"] {
        let answer = call(&world, &json!(""), tool).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (403, ""), "{tool}");
        assert_eq!(answer.body, missing.body, "{tool}");
        let mut names: Vec<_> = answer.headers.keys().collect();
        names.sort_by_key(|name| name.as_str());
        let mut others: Vec<_> = missing.headers.keys().collect();
        others.sort_by_key(|name| name.as_str());
        assert_eq!(names, others, "{tool}");
    }
    let agent = world.bearing(&world.authority.sign(9, "agent", &["spiffe://cluster.local/ns/agents/sa/agent"]));
    let answer = agent.send(tool_call("get_b", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (403, ""), "a certificate has no scopes");
    assert!(world.server.seen().is_empty());

    let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    let listed = world.with_token(&world.token(&json!({})), list).await.json();
    let names: Vec<_> = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["get_a"], "shown, so that a client can ask for the scopes; the rest is not");
}

/// Rows 41 and 42: both places say the same, `resource` is the canonical URL to the byte (`auth/resource-mismatch`), whatever
/// name of ours or header the request comes with.
#[tokio::test]
async fn e30_no_request_steers_the_metadata() {
    let world = World::start().await;
    let expected = metadata(&world, PLACES[0]).await;
    assert_eq!(expected["resource"], "https://mcp.test/mcp");
    for path in PLACES {
        for (name, value) in [
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "host=evil.test;proto=http"),
            ("x-original-url", "/evil"),
            ("x-cardea-identity", "\"><script>"),
        ] {
            let request = || Request::get(path).header("host", "mcp.test:8443").header(name, value);
            let answer = world.anonymous().send(request().body(Full::default()).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, expected.clone()), "{path} {name}");
            let answer = world.anonymous().send(with_header(tool_call("echo", json!({})), name, value)).await;
            assert_eq!(answer.header("www-authenticate"), format!("Bearer {METADATA}"), "{name}");
        }
        let evil = Request::get(path).header("host", "evil.test").body(Full::default()).unwrap();
        assert_eq!(world.anonymous().send(evil).await.status, 403, "{path}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"] {
            let request = Request::builder().method(method).uri(path).header("host", "mcp.test");
            let answer = world.anonymous().send(request.body(Full::default()).unwrap()).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET"), "{method} {path}");
        }
    }
    for path in
        ["/.well-known/oauth-protected-resource/", "/.well-known/oauth-protected-resource/mcp\"x", "/%2ewell-known"]
    {
        let raw = format!("GET {path} HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\n\r\n");
        let answer = world.anonymous().raw(raw.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{path}: {answer}");
        assert!(!answer.contains("resource_metadata"), "{path}: {answer}");
    }
}

/// A page of another origin learns nothing, the metadata included, and no answer invites one.
#[tokio::test]
async fn e10_a_foreign_page_is_not_answered() {
    let world = World::start().await;
    for path in [PLACES[0], PLACES[1], "/mcp"] {
        for method in ["GET", "OPTIONS", "POST"] {
            for (origin, foreign) in [("https://evil.test", true), ("null", true), ("https://mcp.test", false)] {
                let request = Request::builder()
                    .method(method)
                    .uri(path)
                    .header("host", "mcp.test")
                    .header("origin", origin)
                    .header("access-control-request-method", "POST")
                    .header("content-type", "text/plain");
                let answer = world.anonymous().send(request.body(Full::default()).unwrap()).await;
                assert_eq!(answer.status == 403, foreign, "{method} {path} {origin}: {answer:?}");
                let invites = |name: &http::HeaderName| name.as_str().starts_with("access-control-");
                assert!(!answer.headers.keys().any(invites), "{method} {path} {origin}: {answer:?}");
            }
        }
    }
    assert!(world.server.seen().is_empty());
}

/// RFC 8705: bound tokens are offered where a connection can have a certificate, and only there.
#[tokio::test]
async fn bound_tokens_are_offered_where_they_can_be_proven() {
    for (client_auth, offered) in [("Optional", true), ("None", false)] {
        let world = World::with(|config| config["clientAuth"] = json!(client_auth)).await;
        let metadata = metadata(&world, PLACES[0]).await;
        assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], offered, "{client_auth}");
    }
}
