//! Tokens that their authorization server is asked about (RFC 7662).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{Issuer, RESOURCE, SigningKey, World, eventually, message, tool_call, with_header};

const OPAQUE: &str = "2YotnFZFEjr1zCsicMWpAA";
const ENDPOINT: &str = "/introspect";

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// What is known of alice's token, with other claims over hers; null takes one away.
fn active(issuer: &Issuer, claims: &Value) -> String {
    let mut all = json!({
        "active": true, "iss": issuer.url, "sub": "alice", "aud": RESOURCE, "exp": now() + 300, "groups": ["dev"],
        "scope": "read write", "token_type": "Bearer", "client_id": "agent"
    });
    for (name, value) in claims.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(name),
            value => all.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    all.to_string()
}

/// A world whose issuer is asked about tokens.
async fn world(issuer: &Issuer, cache_seconds: Option<u32>) -> World {
    let metadata = json!({
        "issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url),
        "introspection_endpoint": format!("{}{ENDPOINT}", issuer.url)
    });
    issuer.page("/.well-known/openid-configuration", &metadata.to_string());
    let (url, authority) = (issuer.url.clone(), issuer.authority.pem.clone());
    let world = World::with(move |config| {
        let configured = &mut config["authentication"]["issuers"][0];
        configured["url"] = json!(url);
        configured["keys"] = json!("discovery");
        configured["caBundle"] = json!(authority);
        configured["introspection"] = json!({"clientId": "the proxy"});
        if let Some(seconds) = cache_seconds {
            configured["introspection"]["cacheSeconds"] = json!(seconds);
        }
    })
    .await;
    secret(&world, "s3:cr+t\n");
    world
}

fn secret(world: &World, secret: &str) {
    world.write("credentials/introspection", "client-secret", secret);
}

async fn status(world: &World, token: &str) -> u16 {
    world.with_token(token, tool_call("echo", json!({}))).await.status.as_u16()
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_on_every_request() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let world = world(&issuer, None).await;
    let answer = world.with_token(OPAQUE, tool_call("echo", json!({}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = world.last_line();
    assert_eq!((&line["subject"], &line["issuer"]), (&json!("alice"), &json!("corp")));
    let question = issuer.questions(ENDPOINT).pop().unwrap();
    // RFC 6749 section 2.3.1: each half is form-encoded before they are joined.
    assert_eq!(question.authorization, format!("Basic {}", STANDARD.encode("the+proxy:s3%3Acr%2Bt")));
    assert_eq!(question.body, format!("token={OPAQUE}&token_type_hint=access_token"));
    let identity = world.server.only().header("x-cardea-identity").to_owned();
    let claims = URL_SAFE_NO_PAD.decode(identity.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["groups"], &claims["scope"]), (&json!(["dev"]), &json!("read write")));
    assert_eq!(status(&world, OPAQUE).await, 200);
    assert_eq!(issuer.asked(ENDPOINT), 2);
    // Rules decide as for any other.
    assert_eq!(world.with_token(OPAQUE, tool_call("get_secret", json!({}))).await.status, 403);
    assert!(!world.audit.text().contains(OPAQUE));
}

#[tokio::test]
async fn e14_introspection_that_fails_lets_nobody_in() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    let good = active(&issuer, &json!({}));
    issuer.page(ENDPOINT, &good);
    for cache_seconds in [None, Some(3600)] {
        let world = world(&issuer, cache_seconds).await;
        let huge = active(&issuer, &json!({"x": "a".repeat(300_000)}));
        for (what, status, body) in [
            ("500", StatusCode::INTERNAL_SERVER_ERROR, good.as_str()),
            ("401", StatusCode::UNAUTHORIZED, &good),
            ("created", StatusCode::CREATED, &good),
            ("a page", StatusCode::OK, "<html>"),
            ("nothing", StatusCode::OK, ""),
            ("a list", StatusCode::OK, "[]"),
            ("active in a string", StatusCode::OK, &active(&issuer, &json!({"active": "true"}))),
            ("active as a number", StatusCode::OK, &active(&issuer, &json!({"active": 1}))),
            ("active is null", StatusCode::OK, r#"{"active":null}"#),
            ("no word of active", StatusCode::OK, &active(&issuer, &json!({"active": null}))),
            ("too much", StatusCode::OK, &huge),
        ] {
            issuer.page_with(ENDPOINT, status, body);
            let answer = world.with_token(OPAQUE, tool_call("echo", json!({}))).await;
            assert_eq!(answer.status, 503, "{what}: {answer:?}");
            assert_eq!(answer.header("retry-after"), "10", "{what}");
            assert_eq!(world.last_line()["reason"], "introspection-unavailable", "{what}");
        }
        issuer.page("/elsewhere", &good);
        issuer.redirect(ENDPOINT, &format!("{}/elsewhere", issuer.url));
        assert_eq!(status(&world, OPAQUE).await, 503);
        assert_eq!(issuer.asked("/elsewhere"), 0);
        // Whoever knows a token that upsets the authorization server does not make it look broken.
        assert!(world.report().await.get("issuersNotIntrospecting").is_none());
        world.server.forget();
        issuer.remove(ENDPOINT);
        assert_eq!(status(&world, OPAQUE).await, 503);
        assert!(world.server.seen().is_empty());
        assert_eq!(world.report().await["issuersNotIntrospecting"], json!(["corp"]));
        let metrics = String::from_utf8(world.admin("/metrics").await.body.to_vec()).unwrap();
        assert!(metrics.contains("cardea_proxy_introspections_total{outcome=\"Failed\"}"), "{metrics}");
        // No failure is remembered.
        issuer.page(ENDPOINT, &good);
        assert_eq!(status(&world, OPAQUE).await, 200);
        assert!(world.report().await.get("issuersNotIntrospecting").is_none());
    }
}

#[tokio::test]
async fn e14_an_authorization_server_that_is_silent_lets_nobody_in() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    let world = world(&issuer, None).await;
    issuer.hush(ENDPOINT);
    assert_eq!(status(&world, OPAQUE).await, 503);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e14_a_token_that_is_worth_nothing_here() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    let world = world(&issuer, None).await;
    for (what, claims) in [
        ("inactive", json!({"active": false})),
        ("another audience", json!({"aud": "https://other.test/mcp"})),
        ("a prefix of the audience", json!({"aud": "https://mcp.test/mc"})),
        ("a list without the audience", json!({"aud": ["a", "b"]})),
        ("no audience", json!({"aud": null})),
        ("an audience that is no string", json!({"aud": {"a": RESOURCE}})),
        ("another issuer", json!({"iss": "https://other.test"})),
        ("expired", json!({"exp": now() - 1})),
        ("an end in a string", json!({"exp": "9999999999"})),
        ("not yet", json!({"nbf": now() + 60})),
        ("no subject", json!({"sub": null})),
        ("odd groups", json!({"groups": {"dev": true}})),
        ("a refresh token", json!({"token_use": "refresh_token"})),
        ("a token for DPoP", json!({"token_type": "DPoP"})),
        ("bound to a key", json!({"cnf": {"jkt": "AAAA"}})),
        ("bound to a certificate that is not there", json!({"cnf": {"x5t#S256": "AAAA"}})),
    ] {
        issuer.page(ENDPOINT, &active(&issuer, &claims));
        let answer = world.with_token(OPAQUE, tool_call("echo", json!({}))).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{what}");
    }
    assert!(world.server.seen().is_empty());
    for claims in [json!({}), json!({"iss": null, "exp": null, "token_type": null}), json!({"aud": ["x", RESOURCE]})] {
        issuer.page(ENDPOINT, &active(&issuer, &claims));
        assert_eq!(status(&world, OPAQUE).await, 200, "{claims}");
    }
}

#[tokio::test]
async fn e14_a_revoked_token_is_dead_at_once_or_when_the_memory_ends() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let (at_once, remembering) = (world(&issuer, None).await, world(&issuer, Some(1)).await);
    assert_eq!((status(&at_once, OPAQUE).await, status(&remembering, OPAQUE).await), (200, 200));
    issuer.page(ENDPOINT, r#"{"active":false}"#);
    assert_eq!(status(&at_once, OPAQUE).await, 401);
    eventually("the memory ends", async || status(&remembering, OPAQUE).await == 401).await;
}

#[tokio::test]
async fn an_answer_is_remembered_no_longer_than_the_token_lives_and_asked_for_once() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    issuer.page(ENDPOINT, &active(&issuer, &json!({"exp": now() + 3})));
    let world = world(&issuer, Some(3600)).await;
    let client = world.anonymous();
    let all = (0..20)
        .map(|_| client.send(with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {OPAQUE}"))));
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(issuer.asked(ENDPOINT), 1);
    eventually("its end", async || status(&world, OPAQUE).await == 401).await;
    // A no is remembered too, each for its own token.
    issuer.page(ENDPOINT, r#"{"active":false}"#);
    for _ in 0..3 {
        assert_eq!(status(&world, "another-token").await, 401);
    }
    assert_eq!(issuer.asked(ENDPOINT), 2);
}

#[tokio::test]
async fn a_jwt_is_verified_and_asked_about() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    let world = world(&issuer, None).await;
    let token = key.token(&issuer.url, &json!({}));
    for (answer, expected) in [
        (active(&issuer, &json!({})), 200),
        (active(&issuer, &json!({"aud": null, "sub": null, "groups": null})), 200),
        (active(&issuer, &json!({"sub": "root"})), 401),
        (active(&issuer, &json!({"aud": "https://other.test"})), 401),
        (active(&issuer, &json!({"exp": now() - 1})), 401),
        (active(&issuer, &json!({"cnf": {"x5t#S256": "AAAA"}})), 401),
        (r#"{"active":false}"#.into(), 401),
        ("{}".into(), 503),
    ] {
        issuer.page(ENDPOINT, &answer);
        assert_eq!(status(&world, &token).await, expected, "{answer}");
    }
    // What does not convince by itself is not asked about.
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let asked = issuer.asked(ENDPOINT);
    let forged = SigningKey::new("a").token(&issuer.url, &json!({}));
    assert_eq!(status(&world, &forged).await, 401);
    assert_eq!(status(&world, &key.token(&issuer.url, &json!({"aud": "https://other.test"}))).await, 401);
    assert_eq!(issuer.asked(ENDPOINT), asked);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_shown_to_nobody() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let world = world(&issuer, None).await;
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for token in [
        key.token("https://other.test", &json!({})),
        key.token(&issuer.url, &json!({"iss": null})),
        format!("{}.x.y", part(r#"{"alg":"ES256"}"#)),
        format!("{}.a.b.c.d", part(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)),
        format!("cardea_{}", "a".repeat(40)),
    ] {
        assert_eq!(status(&world, &token).await, 401, "{token}");
    }
    assert_eq!(issuer.asked(ENDPOINT), 0);
    assert_eq!(status(&world, OPAQUE).await, 200);
}

#[tokio::test]
async fn an_opaque_token_bound_to_a_certificate_needs_it() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    let world = world(&issuer, Some(60)).await;
    let owner = world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/b"]);
    let other = world.authority.sign(2, "agent", &["spiffe://cluster.local/ns/a/sa/b"]);
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(&owner.der));
    issuer.page(ENDPOINT, &active(&issuer, &json!({"cnf": {"x5t#S256": thumbprint}})));
    let call = || with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {OPAQUE}"));
    // Remembered or not, it is the connection's certificate that counts.
    for _ in 0..2 {
        assert_eq!(world.bearing(&owner).send(call()).await.status, 200);
        assert_eq!(world.bearing(&other).send(call()).await.status, 401);
        assert_eq!(world.anonymous().send(call()).await.status, 401);
    }
}

#[tokio::test]
async fn e36_a_client_secret_that_is_rotated_counts_at_once() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let world = world(&issuer, None).await;
    secret(&world, "new");
    assert_eq!(status(&world, OPAQUE).await, 200);
    let question = issuer.questions(ENDPOINT).pop().unwrap();
    assert_eq!(question.authorization, format!("Basic {}", STANDARD.encode("the+proxy:new")));
    for bad in ["", "\n"] {
        secret(&world, bad);
        assert_eq!(status(&world, OPAQUE).await, 503, "{bad:?}");
    }
    std::fs::remove_file(world.folder.join("credentials/introspection/client-secret")).unwrap();
    assert_eq!(status(&world, OPAQUE).await, 503);
    assert_eq!(issuer.asked(ENDPOINT), 1);
}

#[tokio::test]
async fn an_issuer_without_keys_is_asked_all_the_same() {
    let issuer = Issuer::start().await;
    issuer.page(ENDPOINT, &active(&issuer, &json!({})));
    let world = world(&issuer, None).await;
    let metadata =
        json!({"issuer": issuer.url, "introspection_endpoint": format!("{}{ENDPOINT}", issuer.url)}).to_string();
    issuer.page("/.well-known/openid-configuration", &metadata);
    let second = World::with(|config| config["authentication"] = world.config["authentication"].clone()).await;
    secret(&second, "x");
    assert_eq!(status(&second, OPAQUE).await, 200);
    assert_eq!(status(&second, &SigningKey::new("a").token(&issuer.url, &json!({}))).await, 401);
    assert!(second.report().await.get("issuersWithoutKeys").is_none());
}

#[tokio::test]
async fn without_introspection_an_opaque_token_is_worth_nothing() {
    let world = World::start().await;
    let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(world.with_token(OPAQUE, list).await.status, 401);
}
