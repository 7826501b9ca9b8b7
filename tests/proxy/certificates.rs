//! Client certificates: who is let in by one, and as whom.

use serde_json::json;

use crate::support::{Authority, Client, OPERATOR, World, eventually, message, tool_call};

const AGENT: &str = "spiffe://cluster.local/ns/agents/sa/agent";

fn list() -> http::Request<http_body_util::Full<bytes::Bytes>> {
    message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)
}

/// Whether the proxy takes this connection: in TLS 1.3 a client learns of a refusal with its first bytes.
async fn taken(client: &Client) -> bool {
    let Ok(stream) = client.connect().await else {
        return false;
    };
    let stream = hyper_util::rt::TokioIo::new(stream);
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(stream).await else {
        return false;
    };
    tokio::spawn(connection);
    sender.send_request(list()).await.is_ok()
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_in_without() {
    let world = World::with(|config| config["clientAuth"] = json!("Required")).await;
    assert!(!taken(&world.anonymous()).await);
    let stranger = Authority::new("stranger");
    assert!(!taken(&world.bearing(&stranger.sign(1, "agent", &[AGENT]))).await);
    assert!(taken(&world.bearing(&world.authority.sign(1, "agent", &[AGENT]))).await);
}

#[tokio::test]
async fn where_they_are_optional_a_bad_one_is_still_refused() {
    let world = World::start().await;
    assert!(taken(&world.anonymous()).await);
    let stranger = Authority::new("stranger");
    assert!(!taken(&world.bearing(&stranger.sign(1, "agent", &[AGENT]))).await);
}

#[tokio::test]
async fn where_they_are_not_wanted_they_count_for_nothing_but_the_operators() {
    let world = World::with(|config| config["clientAuth"] = json!("None")).await;
    let stranger = Authority::new("stranger");
    let posing = world.bearing(&stranger.sign(1, "operator", &[OPERATOR]));
    assert_eq!(posing.send(list()).await.status, 401);
    let status = || http::Request::get("/.cardea/status").header("host", "mcp.test").body(Default::default()).unwrap();
    assert_eq!(posing.send(status()).await.status, 404);
    let agent = world.bearing(&world.authority.sign(1, "agent", &[AGENT]));
    assert_eq!(agent.send(list()).await.status, 401);
    assert_eq!(world.report().await["generation"], 1);
    assert_eq!(world.alice(list()).await.status, 200);
}

#[tokio::test]
async fn a_certificate_is_an_identity_if_the_configuration_says_so() {
    let rule = json!([{"name": "agent", "effect": "Allow", "principals": [{"spiffeId": AGENT}], "tools": ["echo"]}]);
    let rules = rule.clone();
    let world = World::with(|config| config["rules"] = rules).await;
    let agent = world.bearing(&world.authority.sign(1, "agent", &[AGENT]));
    assert_eq!(agent.send(tool_call("echo", json!({}))).await.status, 200);
    let line = world.last_line();
    assert_eq!((&line["subject"], &line["issuer"]), (&json!(AGENT), &json!("certificate")));
    let other = world.bearing(&world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/agents/sa/other"]));
    assert_eq!(other.send(tool_call("echo", json!({}))).await.status, 403);
    let two = world.bearing(&world.authority.sign(1, "agent", &[AGENT, OPERATOR]));
    assert_eq!(two.send(tool_call("echo", json!({}))).await.status, 401, "two ids are none");

    let world = World::with(|config| {
        config["rules"] = rule;
        config["authentication"]["clientCertificates"] = json!(false);
    })
    .await;
    let agent = world.bearing(&world.authority.sign(1, "agent", &[AGENT]));
    let answer = agent.send(tool_call("echo", json!({}))).await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate").contains("error")), (401, false));
}

#[tokio::test]
async fn a_foreign_authority_signs_for_foreign_names_only() {
    let foreign = Authority::new("foreign");
    let world = World::with(|config| {
        config["rules"] = json!([{
            "name": "ids", "effect": "Allow", "tools": ["echo"],
            "principals": [{"spiffeId": AGENT}, {"spiffeId": OPERATOR}, {"spiffeId": "spiffe://partner.test/agent"}]
        }]);
    })
    .await;
    world.write("trust", "clients.crt", &foreign.pem);
    let partner = world.bearing(&foreign.sign(1, "partner", &["spiffe://partner.test/agent"]));
    eventually("the foreign authority counts", async || taken(&partner).await).await;
    assert_eq!(partner.send(tool_call("echo", json!({}))).await.status, 200);

    for (id, status) in [(AGENT, 401), (OPERATOR, 401)] {
        let posing = world.bearing(&foreign.sign(1, "operator", &[id]));
        assert_eq!(posing.send(tool_call("echo", json!({}))).await.status, status, "{id}");
        let request =
            http::Request::get("/.cardea/status").header("host", "mcp.test").body(Default::default()).unwrap();
        assert_eq!(posing.send(request).await.status, 404, "{id}");
    }
    // By name it is somebody, and may do what anybody may.
    let named = world.bearing(&foreign.sign(1, OPERATOR, &["partner.test"]));
    assert_eq!(named.send(tool_call("echo", json!({}))).await.status, 403);
    assert_eq!(world.last_line()["subject"], "partner.test");
    // Nor does the trust domain's own authority speak for others.
    let outside = world.bearing(&world.authority.sign(1, "partner", &["spiffe://partner.test/agent"]));
    assert_eq!(outside.send(tool_call("echo", json!({}))).await.status, 401);
}

#[tokio::test]
async fn an_authority_that_was_retired_is_out_on_old_connections_too() {
    let foreign = Authority::new("foreign");
    let world = World::start().await;
    world.write("trust", "clients.crt", &foreign.pem);
    let partner = world.bearing(&foreign.sign(1, "partner", &["partner.test"]));
    eventually("the foreign authority counts", async || taken(&partner).await).await;
    let mut connection = partner.http1().await;
    let mut status = async || {
        let answer = connection.send_request(list()).await.unwrap();
        crate::support::Answer::of(answer).await.status.as_u16()
    };
    assert_eq!(status().await, 200);
    std::fs::remove_file(world.folder.join("trust/clients.crt")).unwrap();
    eventually("the foreign authority is gone", async || !taken(&partner).await).await;
    assert_eq!(status().await, 401);
}

#[tokio::test]
async fn a_demand_for_certificates_reaches_old_connections_too() {
    let world = World::start().await;
    let mut connection = world.anonymous().http1().await;
    let mut status = async || {
        let answer = connection.send_request(world.as_alice(list())).await.unwrap();
        crate::support::Answer::of(answer).await.status.as_u16()
    };
    assert_eq!(status().await, 200);
    let mut config = world.config.clone();
    config["clientAuth"] = json!("Required");
    world.write_config(&config.to_string());
    let client = world.anonymous();
    eventually("certificates are required", async || !taken(&client).await).await;
    assert_eq!(status().await, 403);
    assert_eq!(world.last_line()["reason"], "no-certificate");
}
