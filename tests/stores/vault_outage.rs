//! A real Vault that is sealed, gone, or not who it should be.

use cardea_contract::secrets::TroubleKind;
use serde_json::json;

use crate::authority::Authority;
use crate::bed::{given, kv, trouble, value, vault_at};
use crate::vault::Vault;

#[tokio::test]
async fn one_that_is_sealed_is_unavailable_until_it_is_unsealed() {
    let vault = Vault::start().await;
    vault.put("app/api", json!({"token": "x"})).await;
    let (knows, fresh) = (vault.store().await, vault.store().await);
    given(knows.read(&kv("app/api")).await);
    vault.seal().await;
    for store in [&knows, &fresh] {
        for error in [trouble(store.read(&kv("app/api")).await), trouble(store.version(&kv("app/api")).await)] {
            assert_eq!(error.kind, TroubleKind::Unavailable);
            assert!(error.message.contains("status 503") && error.message.contains("sealed"), "{error}");
        }
    }
    vault.unseal().await;
    crate::bed::eventually("it answers", async || fresh.read(&kv("app/api")).await.is_ok()).await;
    assert_eq!(value(&given(knows.read(&kv("app/api")).await), "token"), "x");
    assert_eq!(vault.count("update auth/jwt/login"), 2, "one for each of the two");
}

#[tokio::test]
async fn one_that_is_gone_is_unavailable_and_can_be_opened_nevertheless() {
    let vault = Vault::start().await;
    let (bed, address) = (vault.bed(), vault.address.clone());
    drop(vault);
    let store = given(bed.open(&vault_at(&address)).await);
    let error = trouble(store.read(&kv("app/api")).await);
    assert_eq!(error.kind, TroubleKind::Unavailable);
    assert!(
        error.message.contains(&address) && error.message.contains("cannot be reached (connection refused)"),
        "{error}"
    );
}

#[tokio::test]
async fn its_own_authority_is_trusted_and_no_other() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let leaf = own.sign(1, "vault", &["127.0.0.1"]);
    let vault = Vault::start_with_tls(&leaf.chain, &leaf.key, &own.pem).await;
    vault.put("app/api", json!({"token": "x"})).await;
    let bed = vault.bed();
    let mut settings = vault_at(&vault.address);
    let unknown = trouble(given(bed.open(&settings).await).read(&kv("app/api")).await);

    settings.ca_bundle = true;
    bed.write("ca.crt", &format!("{}{}", other.pem, own.pem));
    let store = given(bed.open(&settings).await);
    assert_eq!(value(&given(store.read(&kv("app/api")).await), "token"), "x");

    bed.write("ca.crt", &other.pem);
    let wrong = trouble(given(bed.open(&settings).await).read(&kv("app/api")).await);
    for error in [unknown, wrong] {
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("unknown issuer") && error.message.contains("caBundle"), "{error}");
    }

    for nonsense in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        bed.write("ca.crt", nonsense);
        let error = trouble(bed.open(&settings).await);
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("caBundle"), "{error}");
    }
}
