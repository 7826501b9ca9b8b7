//! A double of 1Password Connect, whose server is closed: written from its public REST documents (version 1.8 of the API), as
//! far as reading goes. Its official client reads from it in the tests.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The only access token.
pub(crate) const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.canary.token";
/// The vault that the token may read, called `Production`.
pub(crate) const VAULT: &str = "vaultaaaaaaaaaaaaaaaaaaaaa";
/// One that exists and that it may not read.
pub(crate) const FOREIGN: &str = "vaultbbbbbbbbbbbbbbbbbbbbb";

#[derive(Clone, Default)]
struct Content(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    items: Vec<Value>,
    /// Paths that were asked for.
    asked: Vec<String>,
}

/// The server, which ends when this does.
pub(crate) struct Connect {
    pub(crate) url: String,
    content: Content,
    serving: JoinHandle<()>,
}

impl Connect {
    pub(crate) async fn start() -> Self {
        let content = Content::default();
        let routes = Router::new()
            .route("/v1/vaults", get(vaults))
            .route("/v1/vaults/", get(vaults))
            .route("/v1/vaults/{vault}", get(vault))
            .route("/v1/vaults/{vault}/items", get(items))
            .route("/v1/vaults/{vault}/items/", get(items))
            .route("/v1/vaults/{vault}/items/{item}", get(item))
            .with_state(content.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, content, serving }
    }

    /// Puts an item there, in place of one with the same id. Its version is told.
    pub(crate) fn put(&self, id: &str, title: &str, version: u64, fields: Value) {
        let item = json!({
            "id": id, "title": title, "version": version, "vault": {"id": VAULT}, "category": "LOGIN", "favorite": false,
            "tags": [], "urls": [], "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-01T10:00:00Z", "lastEditedBy": "LYDYW6UKHBDZLFMXCVYBFO3MTE",
            "sections": [{"id": "db", "label": "database"}, {"id": "web", "label": "website"}], "fields": fields, "files": [],
        });
        let mut shelf = self.content.0.lock().unwrap();
        shelf.items.retain(|other| other["id"] != id);
        shelf.items.push(item);
    }

    /// Paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.content.0.lock().unwrap().asked.clone()
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn said(status: StatusCode, what: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], what.to_string()).into_response()
}

/// What it says when it says no.
fn no(status: StatusCode, message: &str) -> Response {
    said(status, &json!({"status": status.as_u16(), "message": message}))
}

/// Refuses who has no token, and a vault that the token may not read.
fn refusal(headers: &HeaderMap, vault: Option<&str>) -> Option<Response> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer != Some(format!("Bearer {TOKEN}").as_str()) {
        return Some(no(StatusCode::UNAUTHORIZED, "Invalid token signature"));
    }
    match vault {
        None | Some(VAULT) => None,
        Some(FOREIGN) => Some(no(StatusCode::FORBIDDEN, "vault is not in scope")),
        Some(_) => Some(no(StatusCode::NOT_FOUND, "vault not found")),
    }
}

/// The SCIM filters that are documented: `ATTRIBUTE eq "VALUE"`. What is escaped in the value is escaped as in JSON.
fn filtered(listed: Vec<Value>, query: Option<String>, attributes: &[&str]) -> Response {
    let url = Url::parse(&format!("http://connect/?{}", query.unwrap_or_default())).unwrap();
    let Some((_, filter)) = url.query_pairs().find(|(name, _)| name == "filter") else {
        return said(StatusCode::OK, &Value::from(listed));
    };
    let asked = attributes.iter().find_map(|attribute| filter.strip_prefix(&format!("{attribute} eq ")));
    let Some(wanted) = asked.and_then(|text| serde_json::from_str::<String>(text).ok()) else {
        return no(StatusCode::BAD_REQUEST, "invalid filter");
    };
    let called_so = |entry: &Value| [&entry["name"], &entry["title"]].contains(&&Value::from(wanted.as_str()));
    said(StatusCode::OK, &listed.into_iter().filter(called_so).collect())
}

fn the_vault() -> Value {
    json!({
        "id": VAULT, "name": "Production", "attributeVersion": 1, "contentVersion": 7, "items": 2, "type": "USER_CREATED",
        "createdAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-01T10:00:00Z",
    })
}

impl Content {
    fn note(&self, path: String) {
        self.0.lock().unwrap().asked.push(path);
    }
}

async fn vaults(State(content): State<Content>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    content.note("vaults".to_owned());
    // The documents say `name`; the official clients say `title`.
    refusal(&headers, None).unwrap_or_else(|| filtered(vec![the_vault()], query, &["name", "title"]))
}

async fn vault(State(content): State<Content>, headers: HeaderMap, Path(vault): Path<String>) -> Response {
    content.note(format!("vaults/{vault}"));
    refusal(&headers, Some(&vault)).unwrap_or_else(|| said(StatusCode::OK, &the_vault()))
}

async fn items(
    State(content): State<Content>,
    headers: HeaderMap,
    Path(vault): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    content.note(format!("vaults/{vault}/items"));
    if let Some(refused) = refusal(&headers, Some(&vault)) {
        return refused;
    }
    let mut listed = content.0.lock().unwrap().items.clone();
    for item in &mut listed {
        // A list shows neither values nor where they would be.
        item.as_object_mut().unwrap().retain(|member, _| !["fields", "sections", "files"].contains(&member.as_str()));
    }
    filtered(listed, query, &["title"])
}

async fn item(
    State(content): State<Content>,
    headers: HeaderMap,
    Path((vault, item)): Path<(String, String)>,
) -> Response {
    content.note(format!("vaults/{vault}/items/{item}"));
    if let Some(refused) = refusal(&headers, Some(&vault)) {
        return refused;
    }
    let found = content.0.lock().unwrap().items.iter().find(|other| other["id"] == item.as_str()).cloned();
    found.map_or_else(|| no(StatusCode::NOT_FOUND, "item not found"), |item| said(StatusCode::OK, &item))
}
