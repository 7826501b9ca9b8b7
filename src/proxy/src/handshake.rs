//! An MCP handshake with the server, to see whether it speaks MCP and what tools it has: `initialize` in the newest
//! legacy revision (on the stream of HTTP+SSE, if that is its transport), or `server/discover` where that is refused.
//! These requests are the proxy's own, fixed in form, and carry nothing of any caller; that is why they need no permit.
//!
//! Does not know who wants to know.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use cardea_contract::{ServerInfo, Tool, Transport, Upstream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::headers::{METHOD, PROTOCOL_VERSION, SESSION_ID};
use crate::identity::SigningFailed;
use crate::mcp::{LEGACY, MODERN};
use crate::sse::{Event, Splitter};
use crate::two_endpoints::{first_event, named_by};
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
    let (client, headers) = (upstream::client(), HeaderMap::new());
    let mut exchange = Exchange { client, address, sign, headers, next_id: 0, stream: None };
    if address.transport == Transport::Sse {
        exchange.open().await?;
        return exchange.legacy().await;
    }
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
    /// With HTTP+SSE: where messages go, and where answers come.
    stream: Option<(PathAndQuery, Answers)>,
}

impl<S: Fn() -> Result<HeaderValue, SigningFailed>> Exchange<'_, S> {
    /// Opens the stream of HTTP+SSE.
    async fn open(&mut self) -> Result<(), Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let answer = self.send(Method::GET, headers, Bytes::new()).await?;
        if !answer.status().is_success() {
            return Err(Failure::Status(answer.status().as_u16()));
        }
        let mut body = answer.into_body();
        let (first, ready, splitter) = first_event(&mut body).await.map_err(|_| Failure::NotMcp)?;
        let target = named_by(&first, self.address).and_then(|endpoint| endpoint.parse().ok());
        self.stream = Some((target.ok_or(Failure::NotMcp)?, Answers { body, splitter, ready: ready.into() }));
        Ok(())
    }

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
            tools: tools.into_iter().map(|name| Tool { name, digest: String::new(), flags: Vec::new() }).collect(),
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
        let mut message = match &mut self.stream {
            Some((_, answers)) => answers.find(id).await?,
            None => find(answer, id).await?,
        };
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
        let target = self.stream.as_ref().map(|(target, _)| target.clone());
        let outgoing = Outgoing { method, target, headers, identity: (self.sign)()?, body };
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
    let body = answer.into_body();
    if stream {
        return Answers { body, splitter: Splitter::new(MAX_BYTES), ready: VecDeque::new() }.find(id).await;
    }
    let whole = Limited::new(body, MAX_BYTES).collect().await.map_err(|_| Failure::NotMcp)?;
    serde_json::from_slice(&whole.to_bytes()).ok().filter(|message| answers(message, id)).ok_or(Failure::NotMcp)
}

fn answers(message: &Value, id: u64) -> bool {
    message.get("id") == Some(&json!(id)) && message.get("method").is_none()
}

/// A stream on which answers come.
struct Answers {
    body: Incoming,
    splitter: Splitter,
    ready: VecDeque<Event>,
}

impl Answers {
    /// The answer with this id.
    async fn find(&mut self, id: u64) -> Result<Value, Failure> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                let message = event.data().and_then(|data| serde_json::from_slice(&data).ok());
                if let Some(message) = message.filter(|message| answers(message, id)) {
                    return Ok(message);
                }
            }
            let frame = self.body.frame().await.ok_or(Failure::NotMcp)?.map_err(|_| Failure::Unreachable)?;
            let data = frame.into_data().unwrap_or_default();
            self.splitter.push(&data, |event| self.ready.push_back(event)).map_err(|_| Failure::NotMcp)?;
        }
    }
}

/// A string of the server's, fit for a status: bounded, without control characters.
fn text(value: Option<&Value>) -> Option<String> {
    let clean: String = value?.as_str()?.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    (!clean.is_empty()).then_some(clean)
}
