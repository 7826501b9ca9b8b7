//! What the report says of authorization servers: whether and how a client could log in there.

use std::time::Duration;

use cardea_proxy::KeyTimes;
use serde_json::{Value, json};

use crate::support::{Issuer, SigningKey, World, eventually, tool_call};

const PLACE: &str = "/.well-known/oauth-authorization-server";

fn often() -> KeyTimes {
    let often = Duration::from_millis(50);
    KeyTimes { refresh: often, interval: often, stale: Duration::from_secs(60) }
}

async fn world(issuer: &Issuer, keys: Value) -> World {
    let (url, authority) = (issuer.url.clone(), issuer.authority.pem.clone());
    let edit = move |config: &mut Value| {
        let configured = &mut config["authentication"]["issuers"][0];
        configured["url"] = json!(url);
        configured["keys"] = keys;
        configured["caBundle"] = json!(authority);
    };
    World::timed(edit, often()).await
}

async fn told(world: &World, expected: &Value) {
    eventually(&format!("the report says {expected}"), async || {
        world.report().await["authorizationServers"] == json!([{"name": "corp", "metadata": expected}])
    })
    .await;
}

fn all_offered(issuer: &str) -> Value {
    json!({
        "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
        "registration_endpoint": format!("{issuer}/register"),
        "client_id_metadata_document_supported": true,
        "code_challenge_methods_supported": ["plain", "S256"],
        "authorization_response_iss_parameter_supported": true,
    })
}

fn read(dynamic: bool, documents: bool, pkce: bool, parameter: bool) -> Value {
    json!({"read": {
        "dynamicRegistration": dynamic, "clientIdMetadataDocuments": documents,
        "pkceS256": pkce, "issuerParameter": parameter,
    }})
}

#[tokio::test]
async fn what_the_metadata_offers_is_told_and_followed() {
    let issuer = Issuer::start().await;
    issuer.keys(&[&SigningKey::new("a")]);
    let world = world(&issuer, json!("discovery")).await;
    // Only what OpenID Connect Discovery says is there, and it says nothing of clients.
    told(&world, &read(false, false, false, false)).await;
    issuer.page(PLACE, &all_offered(&issuer.url).to_string());
    told(&world, &read(true, true, true, true)).await;
    serde_json::from_value::<cardea_contract::ProxyReport>(world.report().await).unwrap();
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed_and_blocks_no_token() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    issuer.page(PLACE, &all_offered("https://evil.test").to_string());
    let world = world(&issuer, json!("discovery")).await;
    told(&world, &json!("otherIssuer")).await;
    let token = key.token(&issuer.url, &json!({}));
    assert_eq!(world.with_token(&token, tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test]
async fn keys_at_a_url_need_no_metadata() {
    let issuer = Issuer::start().await;
    let key = SigningKey::new("a");
    issuer.keys(&[&key]);
    issuer.remove("/.well-known/openid-configuration");
    let world = world(&issuer, json!({"url": {"jwksUrl": format!("{}/jwks", issuer.url)}})).await;
    told(&world, &json!("unreadable")).await;
    let token = key.token(&issuer.url, &json!({}));
    assert_eq!(world.with_token(&token, tool_call("echo", json!({}))).await.status, 200);
    issuer.page(PLACE, &all_offered(&issuer.url).to_string());
    told(&world, &read(true, true, true, true)).await;
    // What was read once is not forgotten when the issuer is away.
    let before = issuer.asked(PLACE);
    issuer.page(PLACE, "<html>");
    eventually("it is asked again", async || issuer.asked(PLACE) > before + 2).await;
    told(&world, &read(true, true, true, true)).await;
}

#[tokio::test]
async fn of_keys_in_the_file_there_is_nothing_to_tell() {
    let world = World::start().await;
    assert!(world.report().await.get("authorizationServers").is_none());
}
