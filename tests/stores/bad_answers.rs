//! Stores that answer as no store should: each costs little, is told apart, and says what to fix without a word of what was
//! sent.

use std::sync::Arc;
use std::time::Duration;

use cardea_contract::secrets::{Location, Store as Settings, TroubleKind};
use cardea_secrets::StoreError;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::bed::{Bed, connect_at, eventually, given, item, kv, trouble, vault_at};
use crate::scripted::{Asked, Reply, Scripted};

/// What nobody may repeat.
const CANARY: &str = "canary";

/// The two stores whose protocol is this house's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vault,
    OnePassword,
}

const KINDS: [Kind; 2] = [Kind::Vault, Kind::OnePassword];

impl Kind {
    fn settings(self, address: &str) -> Settings {
        match self {
            Self::Vault => vault_at(address),
            Self::OnePassword => connect_at(address),
        }
    }

    fn place(self) -> Location {
        match self {
            Self::Vault => kv("app/api"),
            Self::OnePassword => item("prod", "api"),
        }
    }
}

/// A login that is as it should be, and then whatever comes.
fn after_login(asked: &Asked, then: impl Fn() -> Reply) -> Reply {
    match asked.line.as_str() {
        "POST /v1/auth/jwt/login" => Reply::Json(200, login()),
        "GET /v1/auth/token/lookup-self" => Reply::Json(200, json!({"data": {}})),
        _ => then(),
    }
}

fn login() -> Value {
    json!({"auth": {"client_token": "hvs.canary", "lease_duration": 3600, "renewable": true}})
}

async fn asked_of(kind: Kind, server: &Scripted) -> StoreError {
    let bed = Bed::new(CANARY);
    let store = given(bed.open(&kind.settings(&server.address)).await);
    let error = trouble(store.read(&kind.place()).await);
    assert!(!error.message.contains(CANARY), "{error}");
    assert!(error.message.contains(&server.address), "{error}");
    error
}

/// What becomes of an answer, to a read of each store and to a login.
async fn outcomes(reply: impl Fn() -> Reply + Clone + Send + Sync + 'static) -> Vec<StoreError> {
    let mut errors = Vec::new();
    for kind in KINDS {
        let reply = reply.clone();
        let server = Scripted::start(move |asked| after_login(asked, &reply)).await;
        errors.push(asked_of(kind, &server).await);
    }
    let server = Scripted::start(move |_| reply()).await;
    errors.push(asked_of(Kind::Vault, &server).await);
    errors
}

#[tokio::test]
async fn a_web_page_is_named() {
    for error in outcomes(|| Reply::Text("200 OK\ncontent-type: text/html; charset=utf-8", "<html>canary")).await {
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("web page (HTML)") && error.message.contains("address"), "{error}");
    }
    // One that says no is told by its status.
    for error in outcomes(|| Reply::Text("502 Bad Gateway\ncontent-type: text/html", "<html>canary")).await {
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("status 502"), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_json_is_named() {
    for error in outcomes(|| Reply::Text("200 OK\ncontent-type: text/plain", "canary")).await {
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("not JSON"), "{error}");
    }
    for error in outcomes(|| Reply::Text("200 OK\ncontent-type: application/json", "canary")).await {
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("another shape"), "{error}");
    }
}

#[tokio::test]
async fn json_of_another_shape_is_named() {
    for shape in [
        json!({}),
        json!([]),
        json!("canary"),
        json!(null),
        json!({"data": "canary"}),
        json!({"data": {"data": ["canary"], "metadata": {}}}),
        json!({"auth": {"client_token": ["canary"], "lease_duration": "long"}}),
        json!([{"id": 5, "name": "prod"}]),
        json!({"data": {"data": {"token": "canary"}, "metadata": {"version": "canary"}}}),
    ] {
        for error in outcomes(move || Reply::Json(200, shape.clone())).await {
            // An empty list is an honest answer of 1Password's.
            let kind =
                if error.message.contains("has no vault") { TroubleKind::NotFound } else { TroubleKind::Unusable };
            assert_eq!(error.kind, kind, "{error}");
        }
    }
    let deep = || Reply::Text("200 OK\ncontent-type: application/json", DEEP.as_str());
    for error in outcomes(deep).await {
        assert_eq!(error.kind, TroubleKind::Unusable, "{error}");
    }
}

static DEEP: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| format!(r#"{{"data":{{"data":{{"a":{}"#, "[".repeat(500_000)));

#[tokio::test]
async fn a_key_that_is_named_twice_is_refused() {
    let server = Scripted::start(|asked| {
        after_login(asked, || {
            let body = r#"{"data":{"data":{"token":"canary","token":"other"},"metadata":{"version":1}}}"#;
            Reply::Text("200 OK\ncontent-type: application/json", body)
        })
    })
    .await;
    let error = asked_of(Kind::Vault, &server).await;
    assert_eq!(error.kind, TroubleKind::Unusable);
    assert!(error.message.contains("twice"), "{error}");
}

#[tokio::test]
async fn an_answer_of_100_mib_is_not_taken() {
    for announced in [true, false] {
        for kind in KINDS {
            let server = Scripted::start(move |asked| after_login(asked, || Reply::Endless { announced })).await;
            let error = asked_of(kind, &server).await;
            assert_eq!(error.kind, TroubleKind::Unusable);
            assert!(error.message.contains("more than 1 MiB"), "{error}");
            eventually("the store is hung up on", async || server.hung_up()).await;
            // What is on the way in the buffers of two sockets counts as sent.
            assert!(server.sent() < 16 << 20, "{} bytes were sent", server.sent());
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Arc::new(Scripted::start(|_| Reply::Json(200, login())).await);
    let target: &'static str = format!("307 -\nlocation: {}/v1/canary", elsewhere.address).leak();
    for error in outcomes(move || Reply::Text(target, "")).await {
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("status 307") && error.message.contains("redirect"), "{error}");
    }
    assert!(elsewhere.asked().is_empty(), "{:?}", elsewhere.asked());
}

#[tokio::test]
async fn too_many_questions_are_answered_with_when_to_ask_again() {
    for error in outcomes(|| Reply::Text("429 -\nretry-after: 7\ncontent-type: application/json", "{}")).await {
        assert_eq!(
            (error.kind, error.retry_after),
            (TroubleKind::Unavailable, Some(Duration::from_secs(7))),
            "{error}"
        );
    }
    for error in outcomes(|| Reply::Text("503 -\nretry-after: Fri, 31 Dec 2100 23:59:59 GMT", "")).await {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!((error.kind, error.retry_after), (TroubleKind::Unavailable, hour), "not for ever: {error}");
    }
    for error in outcomes(|| Reply::Text("429 -\nretry-after: canary", "")).await {
        assert_eq!((error.kind, error.retry_after), (TroubleKind::Unavailable, None));
    }
}

#[tokio::test]
async fn a_status_tells_the_kind() {
    for (status, kind) in [
        ("403 -", TroubleKind::Refused),
        ("404 -", TroubleKind::NotFound),
        ("418 -", TroubleKind::Unusable),
        ("500 -", TroubleKind::Unavailable),
    ] {
        for at in KINDS {
            let server = Scripted::start(move |asked| after_login(asked, || Reply::Text(status, "canary"))).await;
            let error = asked_of(at, &server).await;
            assert_eq!(error.kind, kind, "{error}");
            assert_eq!(error.is_retryable(), kind == TroubleKind::Unavailable);
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for() {
    // At once, so that one time limit passes and not three.
    let (vault, connect, login) = tokio::join!(
        Scripted::start(|asked| after_login(asked, || Reply::Silence)),
        Scripted::start(|_| Reply::Silence),
        Scripted::start(|_| Reply::Silence),
    );
    let (vault, connect, login) = tokio::join!(
        asked_of(Kind::Vault, &vault),
        asked_of(Kind::OnePassword, &connect),
        asked_of(Kind::Vault, &login)
    );
    for error in [vault, connect, login] {
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("not answered within"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_drips_is_not_waited_for() {
    let (vault, connect) =
        tokio::join!(Scripted::start(|asked| after_login(asked, || Reply::Drip)), Scripted::start(|_| Reply::Drip));
    let (of_vault, of_connect) = tokio::join!(asked_of(Kind::Vault, &vault), asked_of(Kind::OnePassword, &connect));
    for error in [of_vault, of_connect] {
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("not answered within"), "{error}");
    }
    eventually("they are hung up on", async || vault.hung_up() && connect.hung_up()).await;
}

#[tokio::test]
async fn an_answer_that_is_broken_off_is_none() {
    for error in outcomes(|| Reply::BrokenOff).await {
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("broken off"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_certificate_is_named_with_its_fault() {
    let own = Authority::new("own");
    for (names, trusted, fault) in
        [(["127.0.0.1"], false, "unknown issuer"), (["vault.example"], true, "for another name")]
    {
        for kind in KINDS {
            let server = Scripted::start_tls(&own.sign(1, "store", &names), |_| Reply::Silence).await;
            let mut settings = kind.settings(&server.address);
            let bed = Bed::new(CANARY);
            settings.ca_bundle = trusted;
            bed.write("ca.crt", &own.pem);
            let error = trouble(given(bed.open(&settings).await).read(&kind.place()).await);
            assert_eq!(error.kind, TroubleKind::Unavailable);
            assert!(error.message.contains(fault) && error.message.contains("caBundle"), "{error}");
            assert!(server.asked().is_empty(), "it was asked");
        }
    }
}

#[tokio::test]
async fn one_that_speaks_no_tls_is_named() {
    for kind in KINDS {
        let server = Scripted::start(|_| Reply::Json(200, json!({}))).await;
        let address = server.address.replace("http:", "https:");
        let error = trouble(given(Bed::new(CANARY).open(&kind.settings(&address)).await).read(&kind.place()).await);
        assert_eq!(error.kind, TroubleKind::Unavailable);
        assert!(error.message.contains("TLS") && error.message.contains("http://"), "{error}");
    }
}
