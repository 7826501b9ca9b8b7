//! An MCP handshake with the server, to see whether it speaks MCP and what tools it has: `initialize` in the newest
//! legacy revision, or `server/discover` where that is refused. These requests are the proxy's own, fixed in form, and
//! carry nothing of any caller; that is why they need no permit.
//!
//! Does not know who wants to know.

use std::collections::BTreeSet;

use bytes::Bytes;
use cardea_contract::{ServerInfo, Upstream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::headers::{METHOD, PROTOCOL_VERSION, SESSION_ID};
use crate::identity::SigningFailed;
use crate::mcp::{LEGACY, MODERN};
use crate::sse::Splitter;
use crate::upstream::{self, Outgoing};

/// Most tools that are counted.
const MAX_TOOLS: usize = 1000;
/// Most pages of tools that are asked for.
const MAX_PAGES: usize = 50;
/// Largest answer.
const MAX_BYTES: usize = 8 << 20;
/// Longest name that is reported.
const MAX_NAME: usize = 128;

/// Why there was no handshake. Repeats nothing of what the server said but a status code.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the server cannot be reached")]
    Unreachable,
    #[error("the server answered with HTTP status {0}")]
    Status(u16),
    #[error("the server's answer is not MCP")]
    NotMcp,
    #[error("the server refused the handshake")]
    Refused,
    #[error("the request could not be signed")]
    Unsigned,
}

impl From<SigningFailed> for Failure {
    fn from(_: SigningFailed) -> Self {
        Self::Unsigned
    }
}

/// Shakes hands.
pub(crate) async fn perform(
    address: &Upstream,
    sign: impl Fn() -> Result<HeaderValue, SigningFailed>,
) -> Result<ServerInfo, Failure> {
    let mut exchange = Exchange { client: upstream::client(), address, sign, headers: HeaderMap::new(), next_id: 0 };
    match exchange.legacy().await {
        Err(Failure::Refused | Failure::Status(400..=499)) => {
            exchange.headers.clear();
            exchange.modern().await
        }
        outcome => outcome,
    }
}

struct Exchange<'a, S> {
    client: Client<HttpConnector, Full<Bytes>>,
    address: &'a Upstream,
    sign: S,
    /// Session and revision, once agreed on.
    headers: HeaderMap,
    next_id: u64,
}

impl<S: Fn() -> Result<HeaderValue, SigningFailed>> Exchange<'_, S> {
    async fn legacy(&mut self) -> Result<ServerInfo, Failure> {
        let client = json!({"name": "cardea-proxy", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client});
        let (answer, session) = self.request("initialize", params).await?;
        let version = text(answer.get("protocolVersion")).ok_or(Failure::NotMcp)?;
        if let Ok(value) = HeaderValue::try_from(&version) {
            self.headers.insert(PROTOCOL_VERSION, value);
        }
        if let Some(session) = session {
            self.headers.insert(SESSION_ID, session);
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let outcome = self.post("notifications/initialized", &initialized).await.map(drop);
        let info = match outcome {
            Ok(()) => self.describe(answer.get("serverInfo"), version, &answer).await,
            Err(failure) => Err(failure),
        };
        if self.headers.contains_key(SESSION_ID) {
            // Whatever it says: the session is ours no more.
            let _ = self.send(Method::DELETE, HeaderMap::new(), Bytes::new()).await;
        }
        info
    }

    async fn modern(&mut self) -> Result<ServerInfo, Failure> {
        self.headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN));
        let (answer, _) = self.request("server/discover", json!({})).await?;
        let described = || answer.pointer("/_meta/io.modelcontextprotocol~1serverInfo");
        let server = answer.get("serverInfo").or_else(described);
        self.describe(server, MODERN.into(), &answer).await
    }

    async fn describe(
        &mut self,
        server: Option<&Value>,
        protocol_version: String,
        answer: &Value,
    ) -> Result<ServerInfo, Failure> {
        let has_tools = answer.pointer("/capabilities/tools").is_some_and(Value::is_object);
        let tools = if has_tools { self.tools().await? } else { BTreeSet::new() };
        Ok(ServerInfo {
            name: text(server.and_then(|server| server.get("name"))).unwrap_or_default(),
            version: text(server.and_then(|server| server.get("version"))).unwrap_or_default(),
            protocol_version,
            tools: tools.into_iter().collect(),
        })
    }

    async fn tools(&mut self) -> Result<BTreeSet<String>, Failure> {
        let mut tools = BTreeSet::new();
        let mut params = json!({});
        for _ in 0..MAX_PAGES {
            let (page, _) = self.request("tools/list", params).await?;
            for tool in page.get("tools").and_then(Value::as_array).ok_or(Failure::NotMcp)? {
                if tools.len() < MAX_TOOLS {
                    tools.extend(text(tool.get("name")));
                }
            }
            match page.get("nextCursor").and_then(Value::as_str) {
                Some(cursor) if tools.len() < MAX_TOOLS => params = json!({"cursor": cursor}),
                _ => break,
            }
        }
        Ok(tools)
    }

    /// A request's result, and the session that came with it.
    async fn request(&mut self, method: &str, mut params: Value) -> Result<(Value, Option<HeaderValue>), Failure> {
        self.next_id += 1;
        let id = self.next_id;
        if self.is_modern() {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            params.as_object_mut().map(|params| params.insert("_meta".into(), meta));
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let answer = self.post(method, &message).await?;
        let session = answer.headers().get(SESSION_ID).cloned();
        let mut message = find(answer, id).await?;
        if message.get("error").is_some() {
            return Err(Failure::Refused);
        }
        match message.get_mut("result").map(Value::take) {
            Some(result @ Value::Object(_)) => Ok((result, session)),
            _ => Err(Failure::NotMcp),
        }
    }

    async fn post(&self, method: &str, message: &Value) -> Result<Response<Incoming>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if self.is_modern() {
            headers.extend(HeaderValue::try_from(method).ok().map(|value| (METHOD, value)));
        }
        let answer = self.send(Method::POST, headers, message.to_string().into()).await?;
        if answer.status().is_success() { Ok(answer) } else { Err(Failure::Status(answer.status().as_u16())) }
    }

    async fn send(&self, method: Method, mut headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, Failure> {
        headers.extend(self.headers.clone());
        let outgoing = Outgoing { method, headers, identity: (self.sign)()?, body };
        let request = upstream::request(self.address, outgoing).ok_or(Failure::Unreachable)?;
        self.client.request(request).await.map_err(|_| Failure::Unreachable)
    }

    fn is_modern(&self) -> bool {
        self.headers.get(PROTOCOL_VERSION).is_some_and(|version| version == MODERN)
    }
}

/// The answer with this id, in JSON or on a stream that may stay open.
async fn find(answer: Response<Incoming>, id: u64) -> Result<Value, Failure> {
    let stream = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/event-stream"));
    let is_it = |message: &Value| message.get("id") == Some(&json!(id)) && message.get("method").is_none();
    let mut body = answer.into_body();
    let (mut whole, mut splitter, mut found) = (Vec::new(), Splitter::new(MAX_BYTES), None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Unreachable)?.into_data() else {
            continue;
        };
        if stream {
            let pushed = splitter.push(&data, |event| {
                let message = event.data().and_then(|data| serde_json::from_slice(&data).ok());
                found = found.take().or(message.filter(is_it));
            });
            pushed.map_err(|_| Failure::NotMcp)?;
            if let Some(message) = found.take() {
                return Ok(message);
            }
        } else if whole.len() + data.len() > MAX_BYTES {
            return Err(Failure::NotMcp);
        } else {
            whole.extend_from_slice(&data);
        }
    }
    serde_json::from_slice(&whole).ok().filter(is_it).ok_or(Failure::NotMcp)
}

/// A string of the server's, fit for a status: bounded, without control characters.
fn text(value: Option<&Value>) -> Option<String> {
    let clean: String = value?.as_str()?.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    (!clean.is_empty()).then_some(clean)
}
