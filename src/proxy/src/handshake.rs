//! An MCP handshake with the server, to see whether it speaks MCP and what tools it has: `initialize` in the newest
//! legacy revision (on the stream of HTTP+SSE, if that is its transport), or `server/discover` where that is refused.
//! These requests are the proxy's own, fixed in form, and carry nothing of any caller; that is why they need no permit.
//!
//! Does not know who wants to know.

use std::collections::VecDeque;

use bytes::Bytes;
use cardea_contract::{ServerInfo, Tool, Transport, Upstream};
use cardea_policy::ToolDefinition;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::headers::{METHOD, PROTOCOL_VERSION, SESSION_ID};
use crate::identity::SigningFailed;
use crate::mcp::{LEGACY, MODERN};
use crate::sse::{Event, Splitter};
use crate::two_endpoints::{first_event, named_by};
use crate::upstream::{self, Outgoing, Ways};

/// Most tools that are looked at.
const MAX_TOOLS: usize = 1000;
/// Most pages of tools that are asked for.
const MAX_PAGES: usize = 50;
/// Largest answer, and most of all tools together.
const MAX_BYTES: usize = 8 << 20;
/// Longest name that is known.
const MAX_NAME: usize = 128;

/// What came of a handshake.
pub(crate) struct Met {
    /// For the report.
    pub(crate) info: ServerInfo,
    /// The tools.
    pub(crate) tools: Tools,
}

/// The tools of a server, one of each name, in the order of names.
#[derive(Default)]
pub(crate) struct Tools {
    /// Each by its name as far as it can be shown: what is longer or has control characters is another one.
    pub(crate) all: Vec<ToolDefinition>,
    /// Whether there are others, which are too many, too long, or cannot be read.
    pub(crate) cut: bool,
}

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
) -> Result<Met, Failure> {
    let (client, headers) = (Ways::new(), HeaderMap::new());
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
    client: Ways,
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

    async fn legacy(&mut self) -> Result<Met, Failure> {
        let client = json!({"name": "cardea-proxy", "version": env!("CARGO_PKG_VERSION")});
        let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client});
        let (answer, session) = self.request("initialize", params).await?;
        let answer = object(&answer)?;
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

    async fn modern(&mut self) -> Result<Met, Failure> {
        self.headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(MODERN));
        let (answer, _) = self.request("server/discover", json!({})).await?;
        let answer = object(&answer)?;
        let described = || answer.pointer("/_meta/io.modelcontextprotocol~1serverInfo");
        let server = answer.get("serverInfo").or_else(described);
        self.describe(server, MODERN.into(), &answer).await
    }

    async fn describe(
        &mut self,
        server: Option<&Value>,
        protocol_version: String,
        answer: &Value,
    ) -> Result<Met, Failure> {
        let has_tools = answer.pointer("/capabilities/tools").is_some_and(Value::is_object);
        let tools = if has_tools { self.tools().await? } else { Tools::default() };
        let reported = |tool: &ToolDefinition| Tool {
            name: tool.name.clone(),
            digest: tool.digest.clone(),
            flags: tool.flags.clone(),
        };
        let info = ServerInfo {
            name: text(server.and_then(|server| server.get("name"))).unwrap_or_default(),
            version: text(server.and_then(|server| server.get("version"))).unwrap_or_default(),
            protocol_version,
            tools: tools.all.iter().map(reported).collect(),
        };
        Ok(Met { info, tools })
    }

    async fn tools(&mut self) -> Result<Tools, Failure> {
        let (mut tools, mut left) = (Tools::default(), MAX_BYTES);
        let mut params = json!({});
        for _ in 0..MAX_PAGES {
            let (page, _) = self.request("tools/list", params).await?;
            let page: Page<'_> = serde_json::from_str(page.get()).map_err(|_| Failure::NotMcp)?;
            let next = page.next_cursor.as_ref().and_then(Value::as_str);
            tools.cut |= tools.add(page.tools, &mut left).await;
            match next {
                Some(cursor) if tools.all.len() < MAX_TOOLS => params = json!({"cursor": cursor}),
                more => {
                    tools.cut |= more.is_some();
                    return Ok(tools.together());
                }
            }
        }
        tools.cut = true;
        Ok(tools.together())
    }

    /// A request's result, and the session that came with it.
    async fn request(
        &mut self,
        method: &str,
        mut params: Value,
    ) -> Result<(Box<RawValue>, Option<HeaderValue>), Failure> {
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
        let message = match &mut self.stream {
            Some((_, answers)) => answers.find(id).await?,
            None => find(answer, id).await?,
        };
        if message.error.is_some() {
            return Err(Failure::Refused);
        }
        Ok((message.result.ok_or(Failure::NotMcp)?, session))
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
async fn find(answer: Response<Incoming>, id: u64) -> Result<Message, Failure> {
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
    let message: Option<Message> = serde_json::from_slice(&whole.to_bytes()).ok();
    message.filter(|message| message.answers(id)).ok_or(Failure::NotMcp)
}

/// What comes. A member that is there twice makes it none: what one reader takes for the list, another does not.
#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<IgnoredAny>,
    error: Option<IgnoredAny>,
    result: Option<Box<RawValue>>,
}

impl Message {
    fn answers(&self, id: u64) -> bool {
        self.id == Some(json!(id)) && self.method.is_none()
    }
}

/// Tools as the server writes them.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<Value>,
}

impl Tools {
    fn together(self) -> Self {
        Self { all: ToolDefinition::together(self.all), ..self }
    }

    /// Adds those of a page. True if not all of them.
    async fn add(&mut self, listed: Vec<&RawValue>, left: &mut usize) -> bool {
        let mut cut = false;
        for listed in listed {
            let size = listed.get().len();
            if self.all.len() == MAX_TOOLS || size > *left {
                return true;
            }
            *left -= size;
            let read = ToolDefinition::read(listed.get());
            let named = read.and_then(|mut tool| {
                tool.name = plain(&tool.name)?;
                Some(tool)
            });
            cut |= named.is_none();
            self.all.extend(named);
            // There may be a lot to read, and others are waiting.
            tokio::task::yield_now().await;
        }
        cut
    }
}

/// A result.
fn object(result: &RawValue) -> Result<Value, Failure> {
    serde_json::from_str(result.get()).ok().filter(Value::is_object).ok_or(Failure::NotMcp)
}

/// A stream on which answers come.
struct Answers {
    body: Incoming,
    splitter: Splitter,
    ready: VecDeque<Event>,
}

impl Answers {
    /// The answer with this id.
    async fn find(&mut self, id: u64) -> Result<Message, Failure> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                let message: Option<Message> = event.data().and_then(|data| serde_json::from_slice(&data).ok());
                if let Some(message) = message.filter(|message| message.answers(id)) {
                    return Ok(message);
                }
            }
            let frame = self.body.frame().await.ok_or(Failure::NotMcp)?.map_err(|_| Failure::Unreachable)?;
            let data = frame.into_data().unwrap_or_default();
            self.splitter.push(&data, |event| self.ready.push_back(event)).map_err(|_| Failure::NotMcp)?;
        }
    }
}

/// A string of the server's, fit for a status.
fn text(value: Option<&Value>) -> Option<String> {
    plain(value?.as_str()?)
}

/// Bounded, and without control characters.
fn plain(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    (!clean.is_empty()).then_some(clean)
}
