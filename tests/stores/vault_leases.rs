//! Credentials of a real Vault that end with their lease.

use std::time::Duration;

use cardea_contract::secrets::{TroubleKind, VaultEngine};
use serde_json::json;

use crate::bed::{at, eventually, given, trouble, value};
use crate::vault::Vault;

async fn is_alive(vault: &Vault, username: &str) -> bool {
    vault.asked(&format!("database/alive/{username}"), None).await.0 == 200
}

#[tokio::test]
async fn a_lease_is_prolonged_as_often_as_it_may_be() {
    let vault = Vault::start().await;
    vault.post("database/roles/app", json!({"ttl": 60, "max_ttl": 3600})).await;
    let store = vault.store().await;
    let here = at(VaultEngine::Dynamic, "database", "creds/app");
    assert_eq!(given(store.version(&here).await), None);
    let reading = given(store.read(&here).await);
    assert_eq!(reading.version, None);
    assert!(is_alive(&vault, &value(&reading, "username")).await);
    let lease = reading.lease.expect("a lease");
    assert_eq!((lease.lasts, lease.renewable), (Duration::from_secs(60), true));
    assert!(lease.id.starts_with("database/creds/app/"));
    let longer = given(store.renew(&lease).await);
    assert_eq!((longer.lasts, &longer.id), (Duration::from_secs(60), &lease.id));
    assert_eq!(vault.count("update sys/leases/renew"), 1);
}

#[tokio::test]
async fn a_lease_that_is_not_prolonged_ends_and_says_so() {
    let vault = Vault::start().await;
    vault.post("database/roles/app", json!({"ttl": 2})).await;
    let store = vault.store().await;
    let here = at(VaultEngine::Dynamic, "database", "creds/app");
    let reading = given(store.read(&here).await);
    let username = value(&reading, "username");
    eventually("the credential is revoked", async || !is_alive(&vault, &username).await).await;
    let lease = reading.lease.expect("a lease");
    let error = trouble(store.renew(&lease).await);
    assert_eq!(error.kind, TroubleKind::NotFound, "{error}");
    assert!(error.message.contains("read anew") && !error.message.contains(lease.id.as_str()), "{error}");
    // Read anew, it is another one.
    let next = given(store.read(&here).await);
    assert_ne!(value(&next, "username"), username);
}

#[tokio::test]
async fn leases_survive_a_token_that_is_renewed() {
    let vault = Vault::start().await;
    vault.role(json!({"token_ttl": 3})).await;
    vault.post("database/roles/app", json!({"ttl": 60, "max_ttl": 3600})).await;
    let store = vault.store().await;
    let reading = given(store.read(&at(VaultEngine::Dynamic, "database", "creds/app")).await);
    let username = value(&reading, "username");
    let mut lease = reading.lease.expect("a lease");
    // What a token was given ends with it: renewing the lease keeps the token alive too.
    eventually("the token has been renewed twice", async || {
        lease = given(store.renew(&lease).await);
        vault.count("update auth/token/renew-self") >= 2
    })
    .await;
    assert!(is_alive(&vault, &username).await);
}
