//! The MCP server behind the proxy: a double that remembers what it saw and answers as it is told.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What it answers.
pub(crate) enum Reply {
    Whole(StatusCode, Vec<(&'static str, String)>, Bytes),
    /// What is sent to the channel, until it is closed.
    Stream(Vec<(&'static str, String)>, mpsc::Receiver<Bytes>),
    /// Never; the channel closes when the request is given up.
    Never(oneshot::Sender<()>),
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self::text("application/json", value.to_string())
    }

    pub(crate) fn text(media_type: &str, body: impl Into<Bytes>) -> Self {
        Self::Whole(StatusCode::OK, vec![("content-type", media_type.to_owned())], body.into())
    }

    /// A stream of events, and the hand that feeds it.
    pub(crate) fn events() -> (Self, mpsc::Sender<Bytes>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self::Stream(vec![("content-type", "text/event-stream".to_owned())], receiver), sender)
    }
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

/// The double.
pub(crate) struct Server {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(answer)));
        let (remembered, told) = (seen.clone(), script.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (seen, script) = (remembered.clone(), told.clone());
                let service = service_fn(move |request| respond(request, seen.clone(), script.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { port, seen, script }
    }

    /// Answers this way from now on.
    pub(crate) fn script(&self, script: impl FnMut(&Seen) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// Answers as a small MCP server does, with this session for whoever begins one.
    pub(crate) fn with_session(&self, id: &str) {
        let id = id.to_owned();
        self.script(move |seen| match (answer(seen), seen.json()["method"].as_str()) {
            (Reply::Whole(status, mut headers, body), Some("initialize")) => {
                headers.push(("mcp-session-id", id.clone()));
                Reply::Whole(status, headers, body)
            }
            (reply, _) => reply,
        });
    }

    /// Answers as a small MCP server does, with these tools, which may change meanwhile.
    pub(crate) fn with_tools(&self, tools: impl IntoIterator<Item = Value>) -> Arc<Mutex<Vec<Value>>> {
        let tools = Arc::new(Mutex::new(tools.into_iter().collect::<Vec<_>>()));
        let listed = tools.clone();
        self.script(move |seen| match seen.json()["method"].as_str() {
            Some("tools/list") => {
                let result = json!({"tools": *listed.lock().unwrap()});
                Reply::json(&json!({"jsonrpc": "2.0", "id": seen.json()["id"], "result": result}))
            }
            _ => answer(seen),
        });
        tools
    }

    /// How many requests of this method there were.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen().iter().filter(|seen| seen.json()["method"] == method).count()
    }

    /// Gives this answer to the next request, and none after it.
    pub(crate) fn once(&self, reply: Reply) {
        let mut reply = Some(reply);
        self.script(move |_| reply.take().expect("one request only"));
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }
}

/// What a small MCP server says.
pub(crate) fn answer(seen: &Seen) -> Reply {
    let message = seen.json();
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "double", "version": "1"}
        }),
        "tools/list" => json!({"tools": [
            {"name": "echo", "inputSchema": {"type": "object"}},
            {"name": "get_a"},
            {"name": "get_secret"},
            {"name": "hidden"},
        ]}),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ if message["id"].is_null() => return Reply::Whole(StatusCode::ACCEPTED, vec![], Bytes::new()),
        _ => json!({}),
    };
    Reply::json(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn respond(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Mutex<Script>>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::new(Full::default().boxed_unsync()));
    };
    let trailers = body.trailers().cloned();
    let (uri, body) = (head.uri.to_string(), body.to_bytes());
    let request = Seen { method: head.method, uri, headers: head.headers, body, trailers };
    seen.lock().unwrap().push(request.clone());
    let reply = (script.lock().unwrap())(&request);
    let (status, headers, body) = match reply {
        Reply::Whole(status, headers, body) => (status, headers, Full::new(body).boxed_unsync()),
        Reply::Stream(headers, receiver) => (StatusCode::OK, headers, Fed(receiver).boxed_unsync()),
        Reply::Never(_held) => return std::future::pending().await,
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(body).unwrap())
}

struct Fed(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
