//! Names out of a manifest that climb: they reach no store, or reach it as the name that they are.

use cardea_contract::secrets::{Location, StoreKind, TroubleKind, VaultEngine, VaultLogin};
use serde_json::json;

use crate::bed::{Bed, at, connect_at, given, item, kv, trouble, vault_at};
use crate::scripted::{Reply, Scripted};

/// Each leads somewhere else for one of those who read a URL on its way.
const CLIMBING: [&str; 16] = [
    "",
    "/",
    "..",
    "../other",
    "app/../../sys/mounts",
    "app/..",
    "./app",
    "app//api",
    "/app",
    "app/",
    "app?list=true",
    "app#x",
    "%2e%2e/other",
    "app%2f..%2fother",
    "..\\other",
    "app\r\nx-vault-token: y",
];

#[tokio::test]
async fn a_path_of_vault_that_climbs_is_never_asked_for() {
    let server = Scripted::start(|_| Reply::Json(200, json!({}))).await;
    let bed = Bed::new("x");
    let store = given(bed.open(&vault_at(&server.address)).await);
    for name in CLIMBING {
        for engine in [VaultEngine::KvV2, VaultEngine::KvV1, VaultEngine::Dynamic] {
            for (field, here) in [("path", at(engine, "secret", name)), ("mount", at(engine, name, "app"))] {
                for error in [trouble(store.version(&here).await), trouble(store.read(&here).await)] {
                    assert_eq!(error.kind, TroubleKind::Unusable, "{name:?}");
                    assert!(error.message.starts_with(&format!("{field} cannot be asked for")), "{name:?}: {error}");
                }
            }
        }
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}

#[tokio::test]
async fn a_login_mount_that_climbs_opens_no_store() {
    for name in CLIMBING {
        let mut settings = vault_at("http://127.0.0.1:1");
        if let StoreKind::Vault { login_mount, .. } = &mut settings.kind {
            name.clone_into(login_mount);
        }
        let error = trouble(Bed::new("x").open(&settings).await);
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.starts_with("loginMount cannot be asked for"), "{name:?}: {error}");
    }
}

#[tokio::test]
async fn an_odd_path_is_encoded() {
    let server = Scripted::start(|asked| match asked.line.as_str() {
        "POST /v1/auth/jwt/login" => {
            Reply::Json(200, json!({"auth": {"client_token": "t", "lease_duration": 0, "renewable": false}}))
        }
        _ => Reply::Json(404, json!({"errors": []})),
    })
    .await;
    let bed = Bed::new("x");
    let store = given(bed.open(&vault_at(&server.address)).await);
    trouble(store.read(&kv("team a/ü&x=1+2;y:z..")).await);
    let lines: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, ["POST /v1/auth/jwt/login", "GET /v1/secret/data/team%20a/%C3%BC&x=1+2;y:z.."]);
}

#[tokio::test]
async fn a_name_of_1password_stays_in_its_filter() {
    let server = Scripted::start(|_| Reply::Json(200, json!([]))).await;
    let bed = Bed::new("x");
    let store = given(bed.open(&connect_at(&server.address)).await);
    let id = "abcdefghijklmnopqrstuvwxyz";
    for name in ["..", "../other", "a?b#c", "%2e%2e", "a\" or title pr", "a&filter=b", "AAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(trouble(store.read(&item(name, "api")).await).kind, TroubleKind::NotFound);
        assert_eq!(trouble(store.read(&item(id, name)).await).kind, TroubleKind::NotFound);
    }
    for asked in server.asked() {
        let (path, query) = asked.line.split_once('?').unwrap();
        assert!(["GET /v1/vaults", "GET /v1/vaults/abcdefghijklmnopqrstuvwxyz/items"].contains(&path), "{path}");
        assert!(query.starts_with("filter=") && !query.contains(['&', '#', '?']), "{query}");
    }
    assert!(server.asked().iter().any(|asked| asked.line.ends_with("filter=title+eq+%22a%5C%22+or+title+pr%22")));
    let before = server.asked().len();
    for (field, here) in [("vault", item("", "api")), ("item", item("prod", "")), ("item", item("prod", "a\nb"))] {
        let error = trouble(store.read(&here).await);
        assert!(error.kind == TroubleKind::Unusable && error.message.starts_with(field), "{error}");
    }
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn an_id_that_climbs_in_an_answer_is_not_followed() {
    let server = Scripted::start(|_| Reply::Json(200, json!([{"id": "../../v1/heartbeat", "name": "prod"}]))).await;
    let bed = Bed::new("x");
    let store = given(bed.open(&connect_at(&server.address)).await);
    assert_eq!(trouble(store.read(&item("prod", "api")).await).kind, TroubleKind::Unusable);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn an_address_is_a_base_url() {
    for address in [
        "",
        "vault:8200",
        "ftp://vault",
        "https://vault/v1",
        "https://user:password@vault",
        "https://vault?x=1",
        "file:///etc",
    ] {
        for settings in [vault_at(address), connect_at(address)] {
            let error = trouble(Bed::new("x").open(&settings).await);
            assert_eq!(error.kind, TroubleKind::Unusable, "{address}");
            assert!(error.message.contains("base URL") && !error.message.contains("password"), "{error}");
        }
    }
}

#[tokio::test]
async fn the_namespace_and_the_mark_of_a_request_are_sent() {
    let server = Scripted::start(|asked| match asked.line.as_str() {
        "POST /v1/auth/k8s/prod/login" => {
            Reply::Json(200, json!({"auth": {"client_token": "hvs.1", "lease_duration": 60, "renewable": true}}))
        }
        _ => Reply::Json(200, json!({"data": {"data": {"token": "x"}, "metadata": {"version": 3}}})),
    })
    .await;
    let mut settings = vault_at(&server.address);
    settings.kind = StoreKind::Vault {
        address: server.address.clone(),
        namespace: Some("team/a".to_owned()),
        login: VaultLogin::Kubernetes,
        login_mount: "k8s/prod".to_owned(),
        role: "app".to_owned(),
    };
    let reading = given(given(Bed::new("jwt").open(&settings).await).read(&kv("app")).await);
    assert_eq!(reading.version.as_deref(), Some("3"));
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    for request in &asked {
        for header in ["x-vault-namespace: team/a", "x-vault-request: true"] {
            assert!(request.headers.iter().any(|sent| sent == header), "{request:?}");
        }
    }
    let token = |request: &crate::scripted::Asked| request.headers.iter().any(|sent| sent == "x-vault-token: hvs.1");
    assert_eq!(asked.iter().map(token).collect::<Vec<_>>(), [false, true]);

    if let StoreKind::Vault { namespace, .. } = &mut settings.kind {
        *namespace = Some("a\nb".to_owned());
    }
    assert!(trouble(Bed::new("jwt").open(&settings).await).message.starts_with("namespace"));
}

#[tokio::test]
async fn a_place_in_another_store_is_refused() {
    let elsewhere = Location::AzureKeyVault { secret: "a".to_owned(), version: None };
    for settings in [vault_at("http://127.0.0.1:1"), connect_at("http://127.0.0.1:1")] {
        let bed = Bed::new("x");
        let store = given(bed.open(&settings).await);
        assert_eq!(trouble(store.read(&elsewhere).await).kind, TroubleKind::Unusable);
        assert_eq!(trouble(store.version(&elsewhere).await).kind, TroubleKind::Unusable);
    }
}
