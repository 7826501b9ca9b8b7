//! Keys that are fetched: found, kept, bounded, and closed when they cannot be had.

use std::sync::Arc;
use std::time::Duration;

use cardea_proxy::KeyTimes;
use serde_json::{Value, json};

use crate::support::{Issuer, Load, SigningKey, World, eventually, tool_call, with_header};

fn times(refresh: u64, interval: u64, stale: u64) -> KeyTimes {
    KeyTimes {
        refresh: Duration::from_millis(refresh),
        interval: Duration::from_millis(interval),
        stale: Duration::from_millis(stale),
    }
}

fn fetched(issuer: &Issuer) -> impl FnOnce(&mut Value) {
    let (url, authority) = (issuer.url.clone(), issuer.authority.pem.clone());
    move |config| {
        let configured = &mut config["authentication"]["issuers"][0];
        configured["url"] = json!(url);
        configured["keys"] = json!("discovery");
        configured["caBundle"] = json!(authority);
    }
}

async fn status(world: &World, token: &str) -> u16 {
    world.with_token(token, tool_call("echo", json!({}))).await.status.as_u16()
}

#[tokio::test]
async fn keys_are_discovered_and_fetched_once() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    let world = World::timed(fetched(&issuer), times(60_000, 60_000, 60_000)).await;
    let token = key.token(&issuer.url, &json!({}));
    let client = world.anonymous();
    let all = (0..20).map(|_| {
        let request = tool_call("echo", json!({}));
        client.send(with_header(request, "authorization", &format!("Bearer {token}")))
    });
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer.status, 200);
    }
    assert_eq!(issuer.asked("/jwks"), 1);
}

#[tokio::test]
async fn the_second_form_of_metadata_is_found_too() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    issuer.remove("/.well-known/openid-configuration");
    let metadata = json!({"issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url)});
    issuer.page("/.well-known/oauth-authorization-server", &metadata.to_string());
    let world = World::with(fetched(&issuer)).await;
    assert_eq!(status(&world, &key.token(&issuer.url, &json!({}))).await, 200);
}

#[tokio::test]
async fn before_the_first_success_nothing_passes() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    let world = World::timed(fetched(&issuer), times(60_000, 200, 60_000)).await;
    let token = key.token(&issuer.url, &json!({}));
    let answer = world.with_token(&token, tool_call("echo", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "10"));
    assert_eq!(world.last_line()["reason"], "keys-unavailable");
    assert!(world.server.seen().is_empty());
    let named = world.report().await["issuersWithoutKeys"].clone();
    assert_eq!(named.as_array().map(Vec::len), Some(1), "the operator is not told");
    issuer.keys(&[&key]);
    eventually("keys are fetched", async || status(&world, &token).await == 200).await;
    assert!(world.report().await.get("issuersWithoutKeys").is_none());
}

#[tokio::test]
async fn e15_metadata_of_another_issuer_keys_elsewhere_and_redirects_are_not_followed() {
    let key = SigningKey::new("a");
    let elsewhere = Issuer::start().await;
    elsewhere.keys(&[&key]);
    let spellings = [
        "169.254.169.254",
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[2002:a9fe:a9fe::1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "0.0.0.0",
    ];
    let ways = ["issuer", "plain", "redirected", "redirected elsewhere", "huge", "no keys"];
    for bad in ways.into_iter().chain(spellings) {
        let issuer = Issuer::start().await;
        issuer.keys(&[&key]);
        let metadata = |name: &str, jwks: &str| json!({"issuer": name, "jwks_uri": jwks}).to_string();
        let well_known = "/.well-known/openid-configuration";
        match bad {
            "issuer" => {
                issuer.page(well_known, &metadata(&format!("{}/", issuer.url), &format!("{}/jwks", issuer.url)));
            }
            "plain" => issuer.page(well_known, &metadata(&issuer.url, &issuer.url.replace("https", "http"))),
            host if spellings.contains(&host) => {
                issuer.page(well_known, &metadata(&issuer.url, &format!("https://{host}/jwks")));
            }
            "redirected" => {
                issuer.keys_at("/moved", &[&key]);
                issuer.redirect("/jwks", &format!("{}/moved", issuer.url));
            }
            "redirected elsewhere" => issuer.redirect("/jwks", &format!("{}/jwks", elsewhere.url)),
            "huge" => issuer.page("/jwks", &format!("{{\"keys\":[],\"x\":\"{}\"}}", "a".repeat(300_000))),
            _ => issuer.page("/jwks", "<html>"),
        }
        let world = World::with(fetched(&issuer)).await;
        assert_eq!(status(&world, &key.token(&issuer.url, &json!({}))).await, 503, "{bad}");
        assert!(world.server.seen().is_empty(), "{bad}");
        assert_eq!(issuer.asked("/moved"), 0);
    }
    assert_eq!(elsewhere.asked("/jwks"), 0);
}

#[tokio::test]
async fn e15_a_flood_of_unknown_keys_makes_few_fetches() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    let world = World::timed(fetched(&issuer), times(60_000, 60_000, 60_000)).await;
    assert_eq!(status(&world, &key.token(&issuer.url, &json!({}))).await, 200);
    for number in 0..50 {
        let stranger = SigningKey::new(&format!("unknown-{number}"));
        assert_eq!(status(&world, &stranger.token(&issuer.url, &json!({}))).await, 401);
    }
    assert_eq!(issuer.asked("/jwks"), 1);
    assert_eq!(status(&world, &key.token(&issuer.url, &json!({}))).await, 200);
}

#[tokio::test]
async fn e15_a_flood_while_the_issuer_is_silent_waits_for_one_fetch() {
    let issuer = Issuer::start().await;
    issuer.hush("/jwks");
    let world = World::timed(fetched(&issuer), times(60_000, 60_000, 60_000)).await;
    let client = world.anonymous();
    let all = (0..50).map(|number| {
        let token = SigningKey::new(&format!("unknown-{number}")).token(&issuer.url, &json!({}));
        client.send(with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {token}")))
    });
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer.status, 503);
    }
    assert_eq!(issuer.asked("/jwks"), 1);
}

#[tokio::test]
async fn e13_the_same_key_id_in_two_issuers_is_two_keys() {
    let (one, other) = (Issuer::start().await, Issuer::start().await);
    let (key, others_key) = (SigningKey::new("a"), SigningKey::new("a"));
    one.keys(&[&key]);
    other.keys(&[&others_key]);
    let world = World::with(|config| {
        fetched(&one)(config);
        let mut second = config["authentication"]["issuers"][0].clone();
        second["name"] = json!("partner");
        second["url"] = json!(other.url);
        second["caBundle"] = json!(other.authority.pem);
        config["authentication"]["issuers"].as_array_mut().unwrap().push(second);
    })
    .await;
    assert_eq!(status(&world, &key.token(&one.url, &json!({}))).await, 200);
    assert_eq!(world.last_line()["issuer"], "corp");
    assert_eq!(status(&world, &others_key.token(&other.url, &json!({}))).await, 200);
    assert_eq!(world.last_line()["issuer"], "partner");
    for (what, token) in [
        ("one's key in the other's name", key.token(&other.url, &json!({}))),
        ("the other's key in one's name", others_key.token(&one.url, &json!({}))),
        ("both names", key.token(&one.url, &json!({"iss": [one.url, other.url]}))),
    ] {
        assert_eq!(status(&world, &token).await, 401, "{what}");
    }
    assert_eq!((one.asked("/jwks"), other.asked("/jwks")), (1, 1));
}

#[tokio::test]
async fn e13_a_token_that_brings_its_own_key_is_not_followed() {
    let (issuer, attacker) = (Issuer::start().await, Issuer::start().await);
    let (key, own) = (SigningKey::new("a"), SigningKey::new("a"));
    issuer.keys(&[&key]);
    attacker.keys(&[&own]);
    let world = World::with(fetched(&issuer)).await;
    assert_eq!(status(&world, &key.token(&issuer.url, &json!({}))).await, 200);
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("a".into());
    header.jku = Some(format!("{}/jwks", attacker.url));
    header.x5u = Some(format!("{}/certificate", attacker.url));
    assert_eq!(status(&world, &own.token_with(&header, &issuer.url, &json!({}))).await, 401);
    // Nor is its issuer looked up.
    assert_eq!(status(&world, &own.token(&attacker.url, &json!({}))).await, 401);
    for path in ["/jwks", "/certificate", "/.well-known/openid-configuration"] {
        assert_eq!(attacker.asked(path), 0, "{path}");
    }
}

#[tokio::test]
async fn a_new_key_is_found_and_a_removed_one_forgotten() {
    let issuer = Issuer::start().await;
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    issuer.keys(&[&old]);
    let world = World::timed(fetched(&issuer), times(60_000, 20, 60_000)).await;
    let (with_old, with_new) = (old.token(&issuer.url, &json!({})), new.token(&issuer.url, &json!({})));
    assert_eq!(status(&world, &with_old).await, 200);
    issuer.keys(&[&new]);
    eventually("the new key is known", async || status(&world, &with_new).await == 200).await;
    assert_eq!(status(&world, &with_old).await, 401);
}

/// What was verified before need not be verified again, as long as nothing is different.
#[tokio::test]
async fn a_token_that_was_good_is_judged_by_the_keys_and_settings_of_now() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let another = SigningKey::new(&world.key.kid).jwk();
    type Change<'a> = &'a dyn Fn(&mut Value);
    let changes: [(&str, Change<'_>); 4] = [
        ("another key of that name", &|issuers| issuers[0]["keys"]["inline"]["jwks"]["keys"] = json!([another])),
        ("another audience", &|issuers| issuers[0]["audiences"] = json!(["https://other.test/mcp"])),
        ("another issuer", &|issuers| issuers[0]["url"] = json!("https://other.test")),
        ("no issuer", &|issuers| *issuers = json!([])),
    ];
    for (what, change) in changes {
        eventually("it is good", async || status(&world, &token).await == 200).await;
        let mut config = world.config.clone();
        change(&mut config["authentication"]["issuers"]);
        world.write_config(&config.to_string());
        eventually(what, async || status(&world, &token).await == 401).await;
        world.write_config(&world.config.to_string());
    }
}

#[tokio::test]
async fn stale_keys_serve_for_a_bounded_time() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    let world = World::timed(fetched(&issuer), times(50, 50, 1500)).await;
    let token = key.token(&issuer.url, &json!({}));
    assert_eq!(status(&world, &token).await, 200);
    issuer.remove("/jwks");
    let before = issuer.asked("/jwks");
    eventually("fetches fail", async || issuer.asked("/jwks") > before + 1).await;
    assert_eq!(status(&world, &token).await, 200, "stale keys serve");
    eventually("stale keys end", async || status(&world, &token).await == 503).await;
    issuer.keys(&[&key]);
    eventually("keys are back", async || status(&world, &token).await == 200).await;
}

#[tokio::test]
async fn other_settings_do_not_cost_an_issuer_its_keys() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    let world = World::timed(fetched(&issuer), times(60_000, 60_000, 60_000)).await;
    let token = key.token(&issuer.url, &json!({}));
    assert_eq!(status(&world, &token).await, 200);
    issuer.remove("/jwks");
    let mut config = world.config.clone();
    config["generation"] = json!(2);
    world.write_config(&config.to_string());
    eventually("generation 2", async || world.report().await["generation"] == 2).await;
    assert_eq!(status(&world, &token).await, 200);
    assert_eq!(issuer.asked("/jwks"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e36_keys_rotate_under_load_without_a_gap() {
    let issuer = Issuer::start().await;
    let keys = ["a", "b", "c"].map(SigningKey::new);
    issuer.keys(&[&keys[0]]);
    let world = Arc::new(World::timed(fetched(&issuer), times(100, 50, 60_000)).await);
    let tokens: Vec<String> = keys.iter().map(|key| key.token(&issuer.url, &json!({}))).collect();
    eventually("the first is known", async || status(&world, &tokens[0]).await == 200).await;
    let load = Load::start(&world, &tokens);
    for next in 1..keys.len() {
        load.serves().await;
        issuer.keys(&[&keys[next - 1], &keys[next]]);
        eventually("both are known", async || status(&world, &tokens[next]).await == 200).await;
        load.turns_to(next);
        issuer.keys(&[&keys[next]]);
        eventually("the former is forgotten", async || status(&world, &tokens[next - 1]).await == 401).await;
    }
    load.ends_without_a_gap().await;
}
