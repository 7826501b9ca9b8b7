//! Secrets in every place where a secret can stand, and nothing of them in anything that the proxy writes or says: audit
//! lines, its own log down to `trace`, metrics, the other answers of the admin port, the report, and refusals.
//!
//! Two canaries: one that looks like nothing, where nothing is ever written down, and one in the shape of a token, where a
//! name is written down and might be one.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Answer, Reply, Shared, World, eventually, message, tool_call, with_header};

const PLAIN: &str = "canary-9e41";
const SHAPED: &str = "ghp_canary9e41canary9e41";

/// Headers that a caller may put a secret in.
const HEADERS: [&str; 20] = [
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "user-agent",
    "referer",
    "origin",
    "accept",
    "accept-language",
    "mcp-session-id",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-param-secret",
    "mcp-protocol-version",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "x-cardea-identity",
    "content-type",
];

/// Log lines and all that is answered.
struct Witness {
    world: World,
    log: Shared,
    said: Vec<(String, String)>,
    _log: tracing::subscriber::DefaultGuard,
}

impl Witness {
    async fn start(edit: impl FnOnce(&mut Value)) -> Self {
        let log = Shared::default();
        let writer = log.clone();
        let lines = cardea_proxy::log::lines(move || writer.clone()).unwrap();
        // All of the proxy runs on the test's own thread.
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines));
        Self { world: World::with(edit).await, log, said: Vec::new(), _log: guard }
    }

    /// Sends, and keeps what the proxy itself says to it.
    async fn send(&mut self, what: &str, request: Request<Full<Bytes>>) -> Answer {
        let seen = self.world.server.seen().len();
        let answer = self.world.anonymous().send(request).await;
        if self.world.server.seen().len() == seen {
            self.said
                .push((what.to_owned(), format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body))));
        }
        answer
    }

    async fn alice(&mut self, what: &str, request: Request<Full<Bytes>>) -> Answer {
        let request = self.world.as_alice(request);
        self.send(what, request).await
    }

    async fn end(mut self) {
        for path in ["/metrics", "/healthz", "/readyz", "/identity/jwks.json", "/"] {
            let answer = self.world.admin(path).await;
            self.said.push((path.to_owned(), String::from_utf8_lossy(&answer.body).into_owned()));
        }
        self.said.push(("the report".to_owned(), self.world.report().await.to_string()));
        let allowed = self.world.lines().iter().filter(|line| line["decision"] == "Allow").count();
        self.world.outcomes(allowed).await;
        self.said.push(("the audit log".to_owned(), self.world.audit.text()));
        let log = self.log.text();
        assert!(log.lines().count() > 3, "the log is heard: {log}");
        for line in log.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        self.said.push(("the log".to_owned(), log));
        for (place, text) in &self.said {
            let text = text.to_lowercase();
            assert!(!text.contains("canary"), "{place}: {text}");
            assert!(!text.contains("y2fuyxj5"), "{place}: {text}");
        }
        assert!(self.world.audit.text().lines().all(|line| line.len() < 12_000));
    }
}

#[tokio::test]
async fn e29_what_a_caller_sends_as_a_secret_is_written_nowhere() {
    let mut witness = Witness::start(|_| {}).await;
    let secrets = json!({"deep": [{"value": PLAIN}], PLAIN: PLAIN, "list": [PLAIN, [PLAIN]]});
    for name in HEADERS {
        for tool in ["echo", "hidden"] {
            let mut request = tool_call(tool, secrets.clone());
            request.headers_mut().remove(name);
            // The one thing that must be repeated to the caller: the version it asked for.
            let value = if name == "mcp-protocol-version" { "2025-06-18" } else { PLAIN };
            witness.alice(name, with_header(request.clone(), name, value)).await;
            let modern = with_header(request, "mcp-protocol-version", "2026-07-28");
            witness.alice(name, with_header(modern, name, PLAIN)).await;
        }
    }
    for authorization in [
        PLAIN.to_owned(),
        format!("Bearer {PLAIN}"),
        format!("Basic {PLAIN}"),
        format!("DPoP {PLAIN}"),
        format!("Bearer {}", witness.world.token(&json!({"aud": PLAIN}))),
        format!("Bearer {}", witness.world.token(&json!({"iss": PLAIN, "email": PLAIN}))),
        format!("Bearer {}x", witness.world.token(&json!({"sub": PLAIN}))),
        "Bearer eyJjYW5hcnkiOiJjYW5hcnkifQ.eyJjYW5hcnkiOiJjYW5hcnkifQ.Y2FuYXJ5".to_owned(),
    ] {
        witness
            .send("authorization", with_header(tool_call("echo", secrets.clone()), "authorization", &authorization))
            .await;
    }
    for target in [
        format!("/mcp?access_token={PLAIN}"),
        format!("/mcp?{PLAIN}={PLAIN}"),
        format!("/{PLAIN}"),
        format!("/mcp/{PLAIN}"),
        format!("/.well-known/oauth-protected-resource/{PLAIN}"),
        format!("https://{PLAIN}.test/mcp"),
        format!("https://user:{PLAIN}@mcp.test/mcp"),
    ] {
        for method in [Method::POST, Method::GET, Method::OPTIONS] {
            let mut request = tool_call("echo", secrets.clone());
            (*request.uri_mut(), *request.method_mut()) = (target.parse().unwrap(), method);
            witness.alice(&target, request).await;
        }
    }
    for body in [
        PLAIN.to_owned(),
        format!("{{\"{PLAIN}\": \"{PLAIN}\"}}"),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"{PLAIN}":1,"{PLAIN}":2}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{SHAPED}"}}"#),
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/{SHAPED}"}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{{"a":"{PLAIN}"}}}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{SHAPED}"}}}}"#),
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"https://x:{PLAIN}@host/{SHAPED}"}}}}"#
        ),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{{"name":"Bearer {PLAIN}"}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":1,"message":"{PLAIN}","data":"{PLAIN}"}}}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{"{PLAIN}":"{PLAIN}"}}}}}}"#),
    ] {
        witness.alice(&body, message(body.clone())).await;
    }
    let host = with_header(Request::post("/mcp").body(Full::default()).unwrap(), "host", &format!("{PLAIN}.test"));
    witness.alice("host", host).await;
    let leaf = witness.world.authority.sign(9, PLAIN, &["spiffe://elsewhere.test/canary-9e41"]);
    let answer = witness.world.bearing(&leaf).send(tool_call("echo", secrets)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "it names nobody here");
    witness.end().await;
}

#[tokio::test]
async fn e29_what_the_server_answers_is_written_nowhere() {
    let mut witness = Witness::start(|_| {}).await;
    let list = message(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#);
    for status in [200, 302, 400, 401, 403, 404, 500, 503] {
        for media_type in ["application/json", "text/plain", "text/event-stream", PLAIN] {
            for body in [
                json!({"jsonrpc": "2.0", "id": 7, "error": {"code": -1, "message": PLAIN, "data": {"secret": PLAIN}}})
                    .to_string(),
                json!({"jsonrpc": "2.0", "id": 7, "result": {"tools": PLAIN}}).to_string(),
                format!("data: {{\"result\":{{\"tools\":[\"{PLAIN}\"]}}}}\n\n"),
                PLAIN.to_owned(),
            ] {
                for request in [list.clone(), tool_call("echo", json!({}))] {
                    let headers =
                        ["location", "set-cookie", "www-authenticate", "x-secret", "mcp-method", "x-request-id"];
                    let mut headers: Vec<_> = headers.into_iter().map(|name| (name, PLAIN.to_owned())).collect();
                    headers.push(("content-type", media_type.to_owned()));
                    let status = StatusCode::from_u16(status).unwrap();
                    witness.world.server.once(Reply::Whole(status, headers, body.clone().into()));
                    let request = witness.world.as_alice(request);
                    // An answer may be broken off.
                    let mut sender = witness.world.anonymous().http1().await;
                    if let Ok(answer) = sender.send_request(request).await {
                        let mut headers = answer.headers().clone();
                        headers.remove("content-type");
                        witness.said.push((format!("headers of {status} {media_type}"), format!("{headers:?}")));
                    }
                }
            }
        }
    }
    witness.end().await;
}

#[tokio::test]
async fn e29_arguments_in_full_are_without_secrets() {
    let mut witness = Witness::start(|config| {
        config["audit"] = json!("Full");
        config["redact"] = json!({"paths": ["/users/*/home"], "keys": ["codename"]});
    })
    .await;
    for tool in ["echo", "hidden", SHAPED] {
        let arguments = json!({
            "password": PLAIN, "Client_Secret": [PLAIN, {"a": PLAIN}], "x": {"apiKey": {"b": PLAIN}}, "code-name": PLAIN,
            "users": [{"home": PLAIN}, {"home": {"street": PLAIN}}],
            "text": format!("curl -H 'Authorization: Bearer {PLAIN}' https://me:{PLAIN}@host"),
            "jwt": "eyJjYW5hcnkiOiJjYW5hcnkifQ.eyJjYW5hcnkiOiJjYW5hcnkifQ.Y2FuYXJ5",
            "pem": format!("-----BEGIN EC PRIVATE KEY-----\n{PLAIN}\n-----END EC PRIVATE KEY-----"),
            "list": [SHAPED, [SHAPED]], SHAPED: 1, "half": format!("{}{SHAPED}", "x".repeat(1020)),
        });
        let answer = witness.alice(tool, tool_call(tool, arguments)).await;
        assert_eq!(answer.status, if tool == "echo" { 200 } else { 403 }, "{tool}");
        assert_eq!(witness.world.last_line()["arguments"]["shown"]["password"], "[redacted]");
    }
    witness.end().await;
}

#[tokio::test]
async fn e29_a_configuration_that_is_rejected_is_not_repeated() {
    let witness = Witness::start(|_| {}).await;
    for (pointer, value) in [
        ("/limits/concurrent", json!(PLAIN)),
        ("/audit", json!(PLAIN)),
        ("/clientAuth", json!({PLAIN: PLAIN})),
        ("/authentication/issuers/0/kind", json!(PLAIN)),
        ("/rules/0/effect", json!(PLAIN)),
    ] {
        let mut config = witness.world.config.clone();
        *config.pointer_mut(pointer).unwrap() = value;
        witness.world.write_config(&config.to_string());
        eventually(pointer, async || witness.world.report().await["rejectedConfig"].is_string()).await;
        let report = witness.world.report().await.to_string();
        assert!(report.contains("a value of another kind than expected at line 1 column "), "{report}");
        assert!(!report.contains("canary"), "{report}");
        witness.world.write_config(&witness.world.config.to_string());
        eventually("put right", async || witness.world.report().await["rejectedConfig"].is_null()).await;
    }
    witness.world.write_config(&format!("{{ {PLAIN}"));
    eventually("no JSON", async || witness.world.report().await["rejectedConfig"].is_string()).await;
    witness.end().await;
}

#[tokio::test]
async fn e29_a_credential_that_is_checked_elsewhere_is_written_nowhere() {
    let issuer = crate::support::Issuer::start().await;
    let (url, authority) = (issuer.url.clone(), issuer.authority.pem.clone());
    let metadata = json!({
        "issuer": url, "jwks_uri": format!("{url}/jwks"), "introspection_endpoint": format!("{url}/introspect")
    });
    issuer.page("/.well-known/openid-configuration", &metadata.to_string());
    let mut witness = Witness::start(move |config| {
        config["authentication"]["staticTokens"] = json!(true);
        let configured = &mut config["authentication"]["issuers"][0];
        configured["url"] = json!(url);
        configured["keys"] = json!("discovery");
        configured["caBundle"] = json!(authority);
        configured["introspection"] = json!({"clientId": "the proxy"});
    })
    .await;
    witness.world.write("credentials/introspection", "client-secret", PLAIN);
    let long = format!("cardea_{PLAIN}{}", "x".repeat(50));
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, PLAIN.to_owned()),
        (StatusCode::OK, PLAIN.to_owned()),
        (StatusCode::OK, json!({"active": PLAIN}).to_string()),
        (StatusCode::OK, json!({"active": true, "sub": "alice", "iss": PLAIN, "aud": PLAIN}).to_string()),
    ] {
        issuer.page_with("/introspect", status, &body);
        for token in [PLAIN, &long, SHAPED] {
            let request = with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {token}"));
            let answer = witness.send("a token", request).await;
            assert!([401, 503].contains(&answer.status.as_u16()), "{answer:?}");
        }
    }
    for text in [
        format!("{{ {PLAIN}"),
        json!({"tokens": [{"subject": "ci", "sha256": PLAIN}]}).to_string(),
        json!({"tokens": [{"subject": PLAIN, "sha256": 1, PLAIN: PLAIN}]}).to_string(),
    ] {
        witness.world.write("credentials/static", "tokens.json", &text);
        eventually("rejected", async || witness.world.report().await["rejectedStaticTokens"].is_string()).await;
    }
    witness.end().await;
}
