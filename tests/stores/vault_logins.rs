//! Who a real Vault lets in, for how long, and how often it is asked to.

use cardea_contract::secrets::{StoreKind, TroubleKind, VaultLogin};
use futures::future::join_all;
use serde_json::json;

use crate::bed::{Bed, eventually, given, kv, trouble, value, vault_at};
use crate::identity::{AUDIENCE, SUBJECT};
use crate::scripted::{Reply, Scripted};
use crate::vault::Vault;

const LOGIN: &str = "update auth/jwt/login";

#[tokio::test]
async fn only_the_bound_identity_is_let_in() {
    let vault = Vault::start().await;
    vault.put("app/api", json!({"token": "canary"})).await;
    let stranger = crate::identity::Issuer::new();
    for token in [
        vault.issuer.of("system:serviceaccount:team:other", AUDIENCE),
        vault.issuer.of(SUBJECT, "https://kubernetes.default.svc"),
        stranger.token(),
    ] {
        let bed = Bed::new(&token);
        let store = given(bed.open(&vault_at(&vault.address)).await);
        let error = trouble(store.read(&kv("app/api")).await);
        assert_eq!(error.kind, TroubleKind::Refused, "{error}");
        assert!(error.message.contains("the login as app at jwt"), "{error}");
        assert!(error.message.contains("ServiceAccount"), "{error}");
        assert!(!error.message.contains(&token) && !error.message.contains("subject"), "{error}");
    }
}

#[tokio::test]
async fn a_role_or_a_login_that_is_not_there_is_refused() {
    let vault = Vault::start().await;
    let bed = vault.bed();
    for (mount, role, hint) in [("jwt", "nobody", "nobody"), ("nowhere", "app", "loginMount")] {
        let mut settings = vault_at(&vault.address);
        settings.kind = StoreKind::Vault {
            address: vault.address.clone(),
            namespace: None,
            login: VaultLogin::Jwt,
            login_mount: mount.to_owned(),
            role: role.to_owned(),
        };
        let error = trouble(given(bed.open(&settings).await).read(&kv("app/api")).await);
        assert_eq!(error.kind, TroubleKind::Refused, "{error}");
        assert!(error.message.contains(hint), "{error}");
    }
}

#[tokio::test]
async fn another_path_is_refused_without_another_login() {
    let vault = Vault::start().await;
    vault.put("other/api", json!({"token": "canary"})).await;
    let store = vault.store().await;
    for _ in 0..3 {
        let error = trouble(store.read(&kv("other/api")).await);
        assert_eq!(error.kind, TroubleKind::Refused);
        assert!(error.message.contains("secret/other/api") && error.message.contains("policy"), "{error}");
    }
    assert_eq!(vault.count(LOGIN), 1);
}

#[tokio::test]
async fn many_secrets_need_one_login() {
    let vault = Vault::start().await;
    vault.put("app/api", json!({"token": "x"})).await;
    let store = vault.store().await;
    let here = kv("app/api");
    for reading in join_all((0..300).map(|_| store.read(&here))).await {
        assert_eq!(value(&given(reading), "token"), "x");
    }
    assert_eq!(vault.count(LOGIN), 1);
    assert_eq!(vault.count("read secret/data/app/api"), 300);
}

#[tokio::test]
async fn a_login_that_fails_fails_for_all_who_wait_for_it() {
    let vault = Vault::start().await;
    let token = vault.issuer.of("system:serviceaccount:team:other", AUDIENCE);
    let bed = Bed::new(&token);
    let store = given(bed.open(&vault_at(&vault.address)).await);
    let here = kv("app/api");
    for reading in join_all((0..300).map(|_| store.read(&here))).await {
        assert_eq!(trouble(reading).kind, TroubleKind::Refused);
    }
    assert_eq!(vault.count(LOGIN), 1);
    // The next one tries again.
    assert_eq!(trouble(store.read(&here).await).kind, TroubleKind::Refused);
    assert_eq!(vault.count(LOGIN), 2);
}

#[tokio::test]
async fn a_token_that_was_revoked_is_replaced_once_with_the_identity_of_then() {
    let vault = Vault::start().await;
    vault.put("app/api", json!({"token": "x"})).await;
    let bed = vault.bed();
    let store = given(bed.open(&vault_at(&vault.address)).await);
    let here = kv("app/api");
    given(store.read(&here).await);
    vault.revoke_tokens().await;
    for reading in join_all((0..50).map(|_| store.read(&here))).await {
        assert_eq!(value(&given(reading), "token"), "x");
    }
    assert_eq!(vault.count(LOGIN), 2);

    vault.revoke_tokens().await;
    bed.write("token", &vault.issuer.of("system:serviceaccount:team:other", AUDIENCE));
    assert_eq!(trouble(store.read(&here).await).kind, TroubleKind::Refused);
    assert_eq!(vault.count(LOGIN), 3);
    bed.write("token", &format!("{}\n", vault.issuer.token()));
    given(store.read(&here).await);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_replaced_when_it_can_no_longer_be() {
    let vault = Vault::start().await;
    vault.role(json!({"token_ttl": 5, "token_max_ttl": 9})).await;
    vault.put("app/api", json!({"token": "x"})).await;
    let store = vault.store().await;
    let here = kv("app/api");
    eventually("it was renewed, and then there was a new login", async || {
        assert_eq!(value(&given(store.read(&here).await), "token"), "x");
        vault.count("update auth/token/renew-self") >= 1 && vault.count(LOGIN) >= 2
    })
    .await;
    let requests = vault.requests();
    let first = |wanted: &str| requests.iter().position(|asked| asked == wanted).unwrap();
    let second_login = requests.iter().enumerate().filter(|(_, asked)| *asked == LOGIN).nth(1).unwrap().0;
    assert!(first("update auth/token/renew-self") < second_login, "{requests:?}");
    assert_eq!(vault.count("read auth/token/lookup-self"), 0, "a token has run out under a read");
}

#[tokio::test]
async fn an_identity_that_is_not_there_is_said_with_its_file() {
    let vault = Vault::start().await;
    let bed = vault.bed();
    let store = given(bed.open(&vault_at(&vault.address)).await);
    std::fs::remove_file(bed.path("token")).unwrap();
    let error = trouble(store.read(&kv("app/api")).await);
    assert_eq!(error.kind, TroubleKind::Unavailable);
    assert!(error.message.contains(bed.path("token").to_str().unwrap()), "{error}");
    for (content, kind) in [("", TroubleKind::Unusable), ("two words", TroubleKind::Unusable)] {
        bed.write("token", content);
        assert_eq!(trouble(store.read(&kv("app/api")).await).kind, kind);
    }
    bed.write("token", &"x".repeat(1 << 20));
    assert_eq!(trouble(store.read(&kv("app/api")).await).kind, TroubleKind::Unavailable);
    assert_eq!(vault.count(LOGIN), 0);
}

#[tokio::test]
async fn the_cluster_can_vouch_for_the_identity() {
    // What the API server says to a TokenReview.
    let cluster = Scripted::start(|asked| match asked.line.as_str() {
        "POST /apis/authentication.k8s.io/v1/tokenreviews" => Reply::Json(
            201,
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "status": {
                    "authenticated": true, "audiences": [AUDIENCE],
                    "user": {"username": SUBJECT, "uid": "uid-1", "groups": ["system:serviceaccounts"]},
                },
            }),
        ),
        _ => Reply::Json(404, json!({})),
    })
    .await;
    let vault = Vault::start().await;
    vault.post("sys/auth/prod/cluster", json!({"type": "kubernetes"})).await;
    vault
        .post(
            "auth/prod/cluster/config",
            json!({"kubernetes_host": cluster.address, "token_reviewer_jwt": vault.issuer.token(), "disable_local_ca_jwt": true, "kubernetes_ca_cert": "-"}),
        )
        .await;
    let role = |account: &str| {
        json!({
            "bound_service_account_names": [account], "bound_service_account_namespaces": ["team"], "audience": AUDIENCE,
            "token_policies": ["app"],
        })
    };
    vault.post("auth/prod/cluster/role/app", role("app")).await;
    vault.post("auth/prod/cluster/role/other", role("other")).await;
    vault.put("app/api", json!({"token": "x"})).await;
    let bed = vault.bed();
    let settings = |role: &str| {
        let mut settings = vault_at(&vault.address);
        settings.kind = StoreKind::Vault {
            address: vault.address.clone(),
            namespace: None,
            login: VaultLogin::Kubernetes,
            login_mount: "prod/cluster".to_owned(),
            role: role.to_owned(),
        };
        settings
    };
    let reading = given(bed.open(&settings("app")).await).read(&kv("app/api")).await;
    assert_eq!(value(&given(reading), "token"), "x");
    let refused = given(bed.open(&settings("other")).await).read(&kv("app/api")).await;
    assert_eq!(trouble(refused).kind, TroubleKind::Refused);
}
