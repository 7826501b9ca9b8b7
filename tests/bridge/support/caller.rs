//! A caller of the bridge: HTTP over its socket, as the proxy speaks it.

use std::path::PathBuf;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::LONG;

/// A caller, in a session once it has begun one.
#[derive(Clone)]
pub(crate) struct Caller {
    socket: PathBuf,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// An answer that is read as it comes. Dropping it hangs up.
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    rest: String,
    _connection: tokio::task::JoinSet<()>,
}

/// A request of the legacy era's first kind.
pub(crate) fn initialize(version: &str) -> Value {
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

/// A call of a tool.
#[expect(clippy::needless_pass_by_value, reason = "they are written where the call is")]
pub(crate) fn call(id: impl Into<Value>, name: &str, arguments: Value) -> Value {
    let id: Value = id.into();
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": name, "arguments": arguments}})
}

/// The text that a tool has answered with.
pub(crate) fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {message}"))
}

/// Asks, and reads the answer later.
pub(crate) fn later(caller: &Caller, message: Value) -> tokio::task::JoinHandle<Answer> {
    let caller = caller.clone();
    tokio::spawn(async move { caller.post(&message).await })
}

impl Caller {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Speaks for a principal in the era without sessions.
    pub(crate) fn modern(self, partition: &str) -> Self {
        self.with("mcp-protocol-version", "2026-07-28").with("x-cardea-partition", partition)
    }

    /// Begins a session.
    pub(crate) async fn begin(&mut self) -> Answer {
        let answer = self.post(&initialize("2025-06-18")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.headers.push(("mcp-session-id", answer.header("mcp-session-id").expect("a session").to_owned()));
        let initialized = self.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assert_eq!((initialized.status, initialized.body.as_str()), (202, ""));
        answer
    }

    pub(crate) fn session(&self) -> &str {
        &self.headers.iter().find(|(name, _)| *name == "mcp-session-id").expect("a session").1
    }

    pub(crate) async fn post(&self, message: &Value) -> Answer {
        self.post_text(&message.to_string()).await
    }

    pub(crate) async fn post_text(&self, body: &str) -> Answer {
        self.open(Method::POST, body.to_owned()).await.whole().await
    }

    /// Calls a tool: the text that it answers with.
    pub(crate) async fn tool(&self, name: &str, arguments: Value) -> String {
        let answer = self.post(&call(1, name, arguments)).await;
        text(&answer.message()).to_owned()
    }

    pub(crate) async fn get(&self) -> Stream {
        self.open(Method::GET, String::new()).await
    }

    pub(crate) async fn delete(&self) -> Answer {
        self.open(Method::DELETE, String::new()).await.whole().await
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn open(&self, method: Method, body: String) -> Stream {
        self.open_at("/mcp", method, body).await
    }

    pub(crate) async fn open_at(&self, path: &str, method: Method, body: String) -> Stream {
        let stream = UnixStream::connect(&self.socket).await.expect("the bridge listens");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        request = request.header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let answer =
            tokio::time::timeout(LONG, sender.send_request(request)).await.expect("in time").expect("an answer");
        let (head, body) = Response::into_parts(answer);
        Stream { status: head.status.as_u16(), headers: head.headers, body, rest: String::new(), _connection: tasks }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Its one message.
    pub(crate) fn message(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.body);
        serde_json::from_str(&self.body).unwrap()
    }

    /// Its messages, if it is a stream of events.
    pub(crate) fn messages(&self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"), "{}", self.body);
        let data = self.body.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

impl Stream {
    /// Everything until its end.
    pub(crate) async fn whole(self) -> Answer {
        let Self { status, headers, body, rest, _connection } = self;
        let whole = tokio::time::timeout(LONG, body.collect()).await.expect("it ends").expect("a whole body");
        let body = rest + str::from_utf8(&whole.to_bytes()).unwrap();
        Answer { status, headers, body }
    }

    /// The next message; none at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.rest = rest;
                match event.strip_prefix("data: ") {
                    Some(data) => return Some(serde_json::from_str(data).unwrap()),
                    None => continue,
                }
            }
            let frame = tokio::time::timeout(LONG, self.body.frame()).await.expect("something comes")?;
            self.rest.push_str(str::from_utf8(frame.ok()?.data_ref().unwrap()).unwrap());
        }
    }
}
