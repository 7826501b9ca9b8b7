//! Who a token says its bearer is: claims by name and by pointer, attributes in rules and in the signed identity.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::{World, tool_call};

/// A world in which the department and the realm's roles of a token count.
async fn world() -> World {
    World::with(|config| {
        config["authentication"]["issuers"][0]["kind"] = json!({"oidc": {
            "subjectClaim": "/user/id", "groupsClaim": "/realm_access/roles",
            "attributes": [{"name": "department", "claim": "dept"}, {"name": "mfa", "claim": "/user/mfa"}]
        }});
        config["rules"] = json!([
            {"name": "payments", "effect": "Allow", "tools": ["echo"],
             "principals": [{"attribute": {"name": "department", "values": ["payments", "billing"]}}]},
            {"name": "ops", "effect": "Allow", "principals": [{"group": {"name": "ops"}}], "tools": ["get_*"]},
            {"name": "corp-only", "effect": "Allow", "tools": ["get_other"],
             "principals": [{"attribute": {"name": "department", "values": ["sales"], "issuer": "other"}}]},
            {"name": "no-mfa", "effect": "Deny", "tools": ["*"],
             "principals": [{"attribute": {"name": "mfa", "values": ["false"]}}]}
        ]);
    })
    .await
}

async fn status(world: &World, tool: &str, claims: Value) -> u16 {
    world.with_token(&world.token(&claims), tool_call(tool, json!({}))).await.status.as_u16()
}

#[tokio::test]
async fn rules_ask_about_claims() {
    let world = world().await;
    let user = json!({"id": "alice", "mfa": true});
    for (tool, claims, expected) in [
        ("echo", json!({"user": user, "dept": "payments"}), 200),
        ("echo", json!({"user": user, "dept": ["legal", "billing"]}), 200),
        ("echo", json!({"user": user, "dept": "Payments"}), 403),
        ("echo", json!({"user": user, "dept": []}), 403),
        ("echo", json!({"user": user}), 403),
        ("get_weather", json!({"user": user, "realm_access": {"roles": ["ops"]}}), 200),
        ("get_weather", json!({"user": user, "roles": ["ops"]}), 403),
        ("get_other", json!({"user": user, "dept": "sales"}), 403),
        ("echo", json!({"user": {"id": "alice", "mfa": false}, "dept": "payments"}), 403),
        ("echo", json!({"user": user, "dept": {"name": "payments"}}), 401),
        ("echo", json!({"user": {"id": "alice", "mfa": {}}, "dept": "payments"}), 401),
        ("echo", json!({"user": {}, "dept": "payments"}), 401),
        ("echo", json!({"sub": "alice", "dept": "payments"}), 401),
    ] {
        assert_eq!(status(&world, tool, claims.clone()).await, expected, "{tool} {claims}");
    }
}

#[tokio::test]
async fn the_server_learns_scopes_and_attributes() {
    let world = world().await;
    let claims = json!({
        "user": {"id": "alice", "mfa": true, "phone": "1"}, "dept": ["payments"], "scope": "deploy:read deploy:write",
        "realm_access": {"roles": ["ops"]}
    });
    assert_eq!(status(&world, "echo", claims).await, 200);
    let seen = world.server.only();
    let identity = seen.headers.get("x-cardea-identity").unwrap().to_str().unwrap();
    let told: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(identity.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!(told["sub"], "alice");
    assert_eq!(told["groups"], json!(["ops"]));
    assert_eq!(told["scope"], "deploy:read deploy:write");
    assert_eq!(told["attributes"], json!({"department": ["payments"], "mfa": ["true"]}));
}
