//! A double of Vault: as much of its API as the fetcher asks for, and every way of saying no.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// How it answers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// 503, as a sealed one.
    Sealed,
    /// A page, as a proxy in between may send.
    Page,
    /// 403 to everything but the login.
    Refusing,
    /// 404 to everything but the login.
    Empty,
}

#[derive(Default)]
struct Shelf {
    mood: Mood,
    /// Path, version, values.
    secrets: BTreeMap<String, (u64, Value)>,
    /// Paths below `/v1/` that were asked for.
    asked: Vec<String>,
}

/// The double.
#[derive(Clone)]
pub(crate) struct Vault {
    shelf: Arc<Mutex<Shelf>>,
    address: SocketAddr,
}

impl Vault {
    /// Listens until the runtime ends.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let vault = Self { shelf: Arc::default(), address: listener.local_addr().unwrap() };
        let router = Router::new().fallback(answer).with_state(vault.shelf.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        vault
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Writes a new version.
    pub(crate) fn put(&self, path: &str, values: Value) {
        let mut shelf = self.shelf.lock().unwrap();
        let secret = shelf.secrets.entry(path.to_owned()).or_default();
        *secret = (secret.0 + 1, values);
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.shelf.lock().unwrap().mood = mood;
    }

    /// How often it was asked for paths that begin so.
    pub(crate) fn asked(&self, prefix: &str) -> usize {
        self.shelf.lock().unwrap().asked.iter().filter(|path| path.starts_with(prefix)).count()
    }
}

async fn answer(State(shelf): State<Arc<Mutex<Shelf>>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches("/v1/").to_owned();
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push(path.clone());
    let errors =
        |status: StatusCode| (status, json!({"errors": ["hvs.leaked-by-the-store"]}).to_string()).into_response();
    match shelf.mood {
        Mood::Sealed => return errors(StatusCode::SERVICE_UNAVAILABLE),
        Mood::Page => return axum::response::Html("<h1>hvs.leaked-by-the-store</h1>").into_response(),
        _ => {}
    }
    if request.method() == Method::POST && path == "auth/kubernetes/login" {
        let auth = json!({"client_token": "hvs.canary-token", "lease_duration": 3600, "renewable": true});
        return json_answer(&json!({"auth": auth}));
    }
    if request.headers().get("x-vault-token").is_none_or(|token| token != "hvs.canary-token") {
        return errors(StatusCode::FORBIDDEN);
    }
    if path == "auth/token/lookup-self" {
        return json_answer(&json!({"data": {}}));
    }
    match shelf.mood {
        Mood::Refusing => return errors(StatusCode::FORBIDDEN),
        Mood::Empty => return errors(StatusCode::NOT_FOUND),
        _ => {}
    }
    let secret = |part: &str| path.strip_prefix(part).and_then(|path| shelf.secrets.get(path));
    if let Some((version, _)) = secret("secret/metadata/") {
        return json_answer(&json!({"data": {"current_version": version, "versions": {}}}));
    }
    if let Some((version, values)) = secret("secret/data/") {
        return json_answer(&json!({"data": {"data": values, "metadata": {"version": version}}}));
    }
    // A mount without versions.
    if let Some((_, values)) = secret("plain/") {
        return json_answer(&json!({"lease_id": "", "lease_duration": 2_764_800, "renewable": false, "data": values}));
    }
    errors(StatusCode::NOT_FOUND)
}

fn json_answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}
