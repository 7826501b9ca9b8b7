//! Key/value secrets of a real Vault, with versions and without.

use cardea_contract::secrets::{Location, TroubleKind, VaultEngine};
use cardea_secrets::Values;
use serde_json::json;

use crate::bed::{at, given, kv, trouble, value};
use crate::vault::Vault;

fn pinned(path: &str, version: u64) -> Location {
    let Location::Vault { engine, mount, path, .. } = kv(path) else { unreachable!() };
    Location::Vault { engine, mount, path, version: Some(version) }
}

#[tokio::test]
async fn a_new_version_is_told_without_its_values_and_then_read() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    let here = kv("app/api");
    vault.put("app/api", json!({"token": "first"})).await;
    assert_eq!(given(store.version(&here).await).as_deref(), Some("1"));
    let reading = given(store.read(&here).await);
    assert_eq!((value(&reading, "token").as_str(), reading.version.as_deref()), ("first", Some("1")));
    assert!(reading.lease.is_none());

    vault.put("app/api", json!({"token": "second"})).await;
    assert_eq!(given(store.version(&here).await).as_deref(), Some("2"));
    assert_eq!(vault.count("read secret/data/app/api"), 1, "values were read to learn of a version");
    assert_eq!(value(&given(store.read(&here).await), "token"), "second");

    let old = pinned("app/api", 1);
    assert_eq!(given(store.version(&old).await).as_deref(), Some("1"));
    let reading = given(store.read(&old).await);
    assert_eq!((value(&reading, "token").as_str(), reading.version.as_deref()), ("first", Some("1")));
}

#[tokio::test]
async fn a_deleted_version_is_not_found_and_says_so() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    let here = kv("app/api");
    vault.put("app/api", json!({"token": "canary"})).await;
    vault.delete("secret/data/app/api").await;
    assert_eq!(given(store.version(&here).await), None, "only reading tells");
    let error = trouble(store.read(&here).await);
    assert_eq!(error.kind, TroubleKind::NotFound);
    assert!(error.message.contains("secret/app/api") && error.message.contains("deleted"), "{error}");

    vault.post("secret/undelete/app/api", json!({"versions": [1]})).await;
    assert_eq!(value(&given(store.read(&here).await), "token"), "canary");

    vault.post("secret/destroy/app/api", json!({"versions": [1]})).await;
    for error in [trouble(store.version(&here).await), trouble(store.read(&here).await)] {
        assert_eq!(error.kind, TroubleKind::NotFound);
        assert!(error.message.contains("deleted"), "{error}");
    }
}

#[tokio::test]
async fn a_version_that_will_be_deleted_is_there_until_then() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    vault.post("secret/metadata/app/api", json!({"delete_version_after": "1h"})).await;
    vault.put("app/api", json!({"token": "first"})).await;
    assert_eq!(given(store.version(&kv("app/api")).await), None, "only reading tells");
    assert_eq!(value(&given(store.read(&kv("app/api")).await), "token"), "first");
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    for here in [kv("app/nothing"), at(VaultEngine::KvV1, "kv1", "app/nothing")] {
        let error = trouble(store.read(&here).await);
        assert_eq!(error.kind, TroubleKind::NotFound);
        assert!(error.message.contains("app/nothing") && error.message.contains("status 404"), "{error}");
        assert!(!error.message.contains("deleted"), "{error}");
    }
    assert_eq!(trouble(store.version(&kv("app/nothing")).await).kind, TroubleKind::NotFound);
    vault.put("app/api", json!({"token": "x"})).await;
    assert_eq!(trouble(store.read(&pinned("app/api", 7)).await).kind, TroubleKind::NotFound);
}

#[tokio::test]
async fn values_that_are_no_text_are_json() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    vault
        .put("app/api", json!({"port": 5432, "on": true, "deep": {"a": [1, "b c"]}, "text": "a\nb\"ü", "null": null}))
        .await;
    let reading = given(store.read(&kv("app/api")).await);
    assert_eq!(value(&reading, "port"), "5432");
    assert_eq!(value(&reading, "on"), "true");
    assert_eq!(value(&reading, "deep"), r#"{"a":[1,"b c"]}"#);
    assert_eq!(value(&reading, "text"), "a\nb\"ü");
    assert_eq!(value(&reading, "null"), "null");
    let Values::Members(members) = &reading.values else { panic!("no members") };
    assert_eq!(members.len(), 5);
    let error = trouble(reading.values.value(Some("Port")));
    assert_eq!(error.kind, TroubleKind::NotFound);
    assert!(error.message.contains("\"Port\"") && !error.message.contains("5432"), "{error}");
}

#[tokio::test]
async fn key_value_without_versions_has_none() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    let here = at(VaultEngine::KvV1, "kv1", "app/api");
    vault.post("kv1/app/api", json!({"token": "first", "port": 1})).await;
    assert_eq!(given(store.version(&here).await), None);
    let reading = given(store.read(&here).await);
    assert_eq!((value(&reading, "token").as_str(), value(&reading, "port").as_str()), ("first", "1"));
    assert_eq!(reading.version, None);
    assert!(reading.lease.is_none(), "what Vault calls a lease here has no id and ends nothing");
}

#[tokio::test]
async fn the_wrong_engine_is_not_found_with_a_hint() {
    let vault = Vault::start().await;
    vault.post("sys/policies/acl/app", json!({"policy": "path \"*\" { capabilities = [\"read\"] }"})).await;
    let store = vault.store().await;
    vault.post("kv1/app/api", json!({"token": "canary"})).await;
    vault.put("app/api", json!({"token": "canary"})).await;
    for here in [
        at(VaultEngine::KvV2, "kv1", "app/api"),
        at(VaultEngine::KvV1, "secret", "app/api"),
        at(VaultEngine::KvV2, "nowhere", "x"),
    ] {
        let error = trouble(store.read(&here).await);
        assert_eq!(error.kind, TroubleKind::NotFound, "{error}");
        assert!(error.message.contains("version 1 or 2") && !error.message.contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn versions_that_a_policy_hides_are_refused_and_values_still_read() {
    let vault = Vault::start().await;
    let store = vault.store().await;
    vault.put("unlisted/api", json!({"token": "first"})).await;
    assert_eq!(trouble(store.version(&kv("unlisted/api")).await).kind, TroubleKind::Refused);
    let reading = given(store.read(&kv("unlisted/api")).await);
    assert_eq!((value(&reading, "token").as_str(), reading.version.as_deref()), ("first", Some("1")));
    assert_eq!(vault.count("update auth/jwt/login"), 1, "what a policy denies is no reason to log in again");
}
