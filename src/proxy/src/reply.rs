//! Answers that the proxy gives itself: status, body, JSON-RPC error.
//!
//! Does not know why: whoever refuses picks the status and the words, and the words never name a rule, a tool or a key.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use serde_json::json;

/// What can go wrong in the middle of a body.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// Body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// JSON-RPC error codes. Those of JSON-RPC 2.0 section 5.1, those of MCP 2026-07-28, and two of our own from the range
/// that JSON-RPC leaves to servers (clear of -32000 to -32002, which SDKs use for themselves).
pub(crate) mod code {
    pub(crate) const PARSE: i32 = -32700;
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    pub(crate) const HEADER_MISMATCH: i32 = -32020;
    pub(crate) const UNSUPPORTED_VERSION: i32 = -32022;
    /// Whatever the proxy refuses: who calls, from where, what for.
    pub(crate) const REFUSED: i32 = -32003;
    /// What the caller may ask again later.
    pub(crate) const UNAVAILABLE: i32 = -32004;
}

/// Id of a JSON-RPC request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    Number(i64),
    Text(String),
}

impl Id {
    fn to_json(this: Option<&Self>) -> serde_json::Value {
        match this {
            None => serde_json::Value::Null,
            Some(Self::Number(number)) => json!(number),
            Some(Self::Text(text)) => json!(text),
        }
    }
}

/// An answer with JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer with a JSON-RPC error; without an id it is about no request in particular.
pub(crate) fn error(status: StatusCode, id: Option<&Id>, code: i32, message: &str) -> Response<Body> {
    let body = json!({"jsonrpc": "2.0", "id": Id::to_json(id), "error": {"code": code, "message": message}});
    json(status, body.to_string())
}

/// Like [`error`], with further data.
pub(crate) fn error_with(id: Option<&Id>, code: i32, message: &str, data: &serde_json::Value) -> Response<Body> {
    let error = json!({"code": code, "message": message, "data": data});
    let body = json!({"jsonrpc": "2.0", "id": Id::to_json(id), "error": error});
    json(StatusCode::BAD_REQUEST, body.to_string())
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
