//! The server behind every target: as little work as an MCP server can have, on one thread.

use std::borrow::Cow;
use std::convert::Infallible;
use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::rules;
use crate::work::{BIG, EVENTS, REVISION};

type Body = Either<Full<Bytes>, Events>;

/// What is said again and again.
struct Answers {
    tools: String,
    big: String,
    /// Keys of the tokens' issuer, for targets that fetch them.
    keys: Bytes,
}

/// Serves until it is killed; says its port on standard output.
pub(crate) async fn serve(keys: String) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    let tools: Vec<_> = rules::tools().iter().map(|name| tool(name)).collect();
    let big = json!({"content": [{"type": "text", "text": "x".repeat(BIG)}], "isError": false});
    let answers =
        Arc::new(Answers { tools: json!({ "tools": tools }).to_string(), big: big.to_string(), keys: keys.into() });
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, answers.clone()));
            // A caller that hangs up is no concern of this server's.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A tool as servers describe them: about 400 bytes.
fn tool(name: &str) -> serde_json::Value {
    json!({
        "name": name,
        "title": format!("The tool {name}"),
        "description": "Does one thing for whoever may ask for it, says what it did, and leaves everything else as it was.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What it is about"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            },
            "required": ["text"],
        },
        "annotations": {"readOnlyHint": true},
    })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

async fn answer(request: Request<Incoming>, answers: Arc<Answers>) -> Result<Response<Body>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == "/keys" {
        return Ok(respond(StatusCode::OK, answers.keys.clone()));
    }
    if request.method() != Method::POST {
        return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(respond(StatusCode::BAD_REQUEST, Bytes::new()));
    };
    let body = body.to_bytes();
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return Ok(respond(StatusCode::BAD_REQUEST, Bytes::new()));
    };
    let Some(id) = message.id.map(RawValue::get) else {
        return Ok(respond(StatusCode::ACCEPTED, Bytes::new()));
    };
    let result = |result: &str| respond(StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    let text = message.params.arguments.text.map_or("\"\"", RawValue::get);
    Ok(match (message.method.as_deref().unwrap_or_default(), message.params.name.as_deref()) {
        ("initialize", _) => result(&format!(
            r#"{{"protocolVersion":"{REVISION}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"upstream","version":"1"}}}}"#
        )),
        ("tools/list", _) => result(&answers.tools),
        ("tools/call", Some("big")) => result(&answers.big),
        ("tools/call", Some("count")) => stream(Events { next: 1, last: EVENTS, id: id.to_owned() }),
        ("tools/call", Some("hold")) => stream(Events { next: 1, last: usize::MAX, id: id.to_owned() }),
        ("tools/call", Some(_)) => {
            result(&format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":false}}"#))
        }
        ("ping", _) => result("{}"),
        _ => {
            let error = r#"{"code":-32601,"message":"no such method"}"#;
            respond(StatusCode::OK, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
        }
    })
}

fn respond(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn stream(events: Events) -> Response<Body> {
    let mut response = Response::new(Either::Right(events));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// Progress, then the answer. One whose last event is never reached says one event and then nothing.
struct Events {
    next: usize,
    last: usize,
    id: String,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let number = self.next;
        if number > self.last {
            return Poll::Ready(None);
        }
        if self.last == usize::MAX && number > 1 {
            // Nobody will wake it: the connection alone ends it.
            return Poll::Pending;
        }
        self.next += 1;
        let message = if number == self.last {
            format!(
                r#"{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":"done"}}],"isError":false}}}}"#,
                self.id
            )
        } else {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"p","progress":{number},"message":"one step further"}}}}"#
            )
        };
        Poll::Ready(Some(Ok(Frame::data(format!("event: message\ndata: {message}\n\n").into()))))
    }
}
