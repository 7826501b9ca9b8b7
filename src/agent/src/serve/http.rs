//! Streamable HTTP in front of processes that speak stdio: which session a request belongs to, what becomes of it, and
//! in which form it is answered.
//!
//! Who may ask what was decided by the proxy, which alone can reach the socket. Does not know processes.

use bytes::Bytes;
use cardea_contract::Isolation;
use cardea_contract::pod::PARTITION_HEADER;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::events::{Events, Reply};
use super::keeper::{Sharing, Trouble, Waiting};
use super::message::{self, Kind, Malformed, Message, code, text_at};
use super::room::Delivery;
use super::router::Nature;
use super::sessions::{Seat, Sessions};

const SESSION_ID: &str = "mcp-session-id";
const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The revision of the era without sessions.
const MODERN: &str = "2026-07-28";
/// The id of an error that answers nothing that could be read.
const NO_ID: &str = "null";
/// Seconds after which who found no room may come again.
const COME_AGAIN: &str = "5";

/// The endpoint.
pub(crate) struct Endpoint {
    pub(crate) sessions: Sessions,
    pub(crate) path: String,
    pub(crate) max_message_bytes: usize,
    /// Whether new sessions are turned away.
    pub(crate) closing: tokio_util::sync::CancellationToken,
}

impl Endpoint {
    /// Answers a request.
    pub(crate) async fn serve(&self, request: Request<Incoming>) -> Response<Reply> {
        let (head, body) = request.into_parts();
        let modern = head.headers.get(PROTOCOL_VERSION).is_some_and(|version| version == MODERN);
        if head.uri.path() != self.path {
            return refusal(StatusCode::NOT_FOUND, NO_ID, code::INVALID_REQUEST, "there is nothing at this path");
        }
        match head.method {
            Method::POST => self.post(&head.headers, modern, body).await,
            Method::GET if !modern => self.stream(&head.headers),
            Method::DELETE if !modern => self.end(&head.headers),
            _ => not_allowed(modern),
        }
    }

    async fn post(&self, headers: &HeaderMap, modern: bool, body: Incoming) -> Response<Reply> {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let too_large = || {
            let message = format!("the message is longer than {} bytes", self.max_message_bytes);
            refusal(StatusCode::PAYLOAD_TOO_LARGE, NO_ID, code::INVALID_REQUEST, &message)
        };
        if announced.is_some_and(|announced| announced > self.max_message_bytes) {
            return too_large();
        }
        let body = match Limited::new(body, self.max_message_bytes).collect().await {
            Ok(whole) => whole.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return too_large(),
            Err(_) => return refusal(StatusCode::BAD_REQUEST, NO_ID, code::PARSE, "the body broke off"),
        };
        let message = match Message::read(&body) {
            Ok(message) => message,
            Err(Malformed::Syntax) => {
                return refusal(StatusCode::BAD_REQUEST, NO_ID, code::PARSE, "the body is not JSON");
            }
            Err(Malformed::Invalid) => {
                let message = "the body is not one JSON-RPC message";
                return refusal(StatusCode::BAD_REQUEST, NO_ID, code::INVALID_REQUEST, message);
            }
        };
        if modern { self.modern(headers, &message).await } else { self.legacy(headers, &message).await }
    }

    async fn modern(&self, headers: &HeaderMap, message: &Message<'_>) -> Response<Reply> {
        let Kind::Request { id, method, .. } = &message.kind else {
            // A cancellation is the end of a stream here, and nothing else is defined (row 32).
            return match message.kind {
                Kind::Notification { .. } => accepted(),
                _ => refusal(
                    StatusCode::BAD_REQUEST,
                    NO_ID,
                    code::INVALID_REQUEST,
                    "this revision has no answers from clients",
                ),
            };
        };
        let word = headers.get(PARTITION_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
        if self.closing.is_cancelled() {
            return full(id);
        }
        let Ok(seat) = self.sessions.partition(word).await else { return full(id) };
        let nature = if method == "subscriptions/listen" { Nature::Listen } else { Nature::Plain };
        match seat.keeper.ask(seat.owner, nature, message).await {
            Ok(waiting) => answer(waiting, |code| modern_status(method, code)).await,
            Err(trouble) => troubled(id, &trouble),
        }
    }

    async fn legacy(&self, headers: &HeaderMap, message: &Message<'_>) -> Response<Reply> {
        let initializes = matches!(&message.kind, Kind::Request { method, .. } if method == "initialize");
        let Some(named) = headers.get(SESSION_ID) else {
            return match &message.kind {
                Kind::Request { id, .. } if initializes => self.initialize(id, message).await,
                _ => no_session(message),
            };
        };
        let Some(seat) = named.to_str().ok().and_then(|id| self.sessions.find(id)) else {
            return unknown_session(message);
        };
        let Kind::Request { id, method, params } = &message.kind else {
            seat.keeper.tell(seat.owner, message).await;
            return accepted();
        };
        if initializes {
            let message = "the session is initialized already; begin another one without a session id";
            return refusal(StatusCode::BAD_REQUEST, id, code::INVALID_REQUEST, message);
        }
        if seat.keeper.sharing == Sharing::Sessions && answered_here(&seat, method, params.unwrap_or("{}"), message) {
            return whole(StatusCode::OK, message::result(id, "{}").into());
        }
        match seat.keeper.ask(seat.owner, Nature::Plain, message).await {
            Ok(waiting) => answer(waiting, |_| StatusCode::OK).await,
            Err(Trouble::Over) => unknown_session(message),
            Err(trouble) => troubled(id, &trouble),
        }
    }

    async fn initialize(&self, id: &str, message: &Message<'_>) -> Response<Reply> {
        if self.closing.is_cancelled() {
            return full(id);
        }
        let Ok(seat) = self.sessions.open().await else { return full(id) };
        let abandoned = Unless(Some(seat.clone()));
        let response = match self.sessions.isolation() {
            Isolation::PerSession => match seat.keeper.ask(seat.owner, Nature::Handshake, message).await {
                Ok(mut waiting) => match waiting.deliveries.next().await {
                    Some(Delivery::Answer(text, None)) => whole(StatusCode::OK, text),
                    Some(Delivery::Answer(text, Some(_))) => return whole(StatusCode::OK, text),
                    _ => return troubled(id, &Trouble::Over),
                },
                Err(trouble) => return troubled(id, &trouble),
            },
            Isolation::Shared => match seat.greeting().await {
                Ok(greeting) => whole(StatusCode::OK, message::result(id, &greeting).into()),
                Err(trouble) => return troubled(id, &trouble),
            },
        };
        let Ok(session) = self.sessions.admit(seat) else { return full(id) };
        abandoned.keep();
        let mut response = response;
        response
            .headers_mut()
            .extend(HeaderValue::try_from(session).ok().map(|id| (http::HeaderName::from_static(SESSION_ID), id)));
        response
    }

    /// A stream for what belongs to no request.
    fn stream(&self, headers: &HeaderMap) -> Response<Reply> {
        let Some(named) = headers.get(SESSION_ID) else {
            return refusal(StatusCode::BAD_REQUEST, NO_ID, code::INVALID_REQUEST, NEEDS_SESSION);
        };
        match named.to_str().ok().and_then(|id| self.sessions.find(id)) {
            Some(seat) => events(Events::of_none(seat.keeper.listen(seat.owner))),
            None => refusal(StatusCode::NOT_FOUND, NO_ID, code::INVALID_REQUEST, NO_SUCH_SESSION),
        }
    }

    fn end(&self, headers: &HeaderMap) -> Response<Reply> {
        let Some(named) = headers.get(SESSION_ID) else {
            return refusal(StatusCode::BAD_REQUEST, NO_ID, code::INVALID_REQUEST, NEEDS_SESSION);
        };
        if named.to_str().is_ok_and(|id| self.sessions.close(id)) {
            empty(StatusCode::NO_CONTENT)
        } else {
            refusal(StatusCode::NOT_FOUND, NO_ID, code::INVALID_REQUEST, NO_SUCH_SESSION)
        }
    }
}

const NEEDS_SESSION: &str = "Mcp-Session-Id is missing: begin with initialize";
const NO_SUCH_SESSION: &str = "there is no such session: begin another one with initialize";

/// Ends a session that nobody gets to know of.
struct Unless(Option<Seat>);

impl Unless {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unless {
    fn drop(&mut self) {
        if let Some(seat) = self.0.take() {
            seat.end();
        }
    }
}

/// Whether the bridge answers in place of a process that all share: one session's wish must not change what others get.
fn answered_here(seat: &Seat, method: &str, params: &str, message: &Message<'_>) -> bool {
    match method {
        "logging/setLevel" => true,
        "resources/unsubscribe" => {
            let others = text_at(params, &["uri"]).is_some_and(|uri| seat.keeper.others_want(seat.owner, &uri));
            if others {
                seat.keeper.note(seat.owner, message);
            }
            others
        }
        _ => false,
    }
}

/// One message if the answer is the first thing that comes, events otherwise.
async fn answer(waiting: Waiting, status: impl Fn(i32) -> StatusCode) -> Response<Reply> {
    let Waiting { mut deliveries, attached } = waiting;
    match deliveries.next().await {
        Some(Delivery::Answer(text, code)) => whole(code.map_or(StatusCode::OK, status), text),
        Some(first) => events(Events::of_call(first, deliveries, attached)),
        // Nobody will answer any more: a subscription whose process has ended, or a stream that was cut.
        None => refusal(StatusCode::BAD_GATEWAY, NO_ID, code::INTERNAL, "the server has ended; ask again"),
    }
}

/// The status that goes with an error in the era without sessions (row 28).
fn modern_status(method: &str, error: i32) -> StatusCode {
    match error {
        error if code::MODERN.contains(&error) => StatusCode::BAD_REQUEST,
        // A server of this era knows it: this one is of the other, which its caller learns by this status (row 67).
        _ if method == "server/discover" => StatusCode::BAD_REQUEST,
        code::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

fn troubled(id: &str, trouble: &Trouble) -> Response<Reply> {
    let status = match trouble {
        Trouble::Over | Trouble::NotStarted(_) => StatusCode::OK,
        Trouble::Busy | Trouble::Resting(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = refusal(status, id, code::INTERNAL, &trouble.to_string());
    let seconds = match trouble {
        Trouble::Busy => Some(1),
        Trouble::Resting(wait) => Some(wait.as_secs() + 1),
        _ => None,
    };
    response.headers_mut().extend(seconds.map(|seconds| (RETRY_AFTER, seconds.into())));
    response
}

fn full(id: &str) -> Response<Reply> {
    let message = "there are as many processes of the server as there may be, all at work; raise maxProcesses or wait";
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, id, code::INTERNAL, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
    response
}

fn id_of<'a>(message: &Message<'a>) -> &'a str {
    match message.kind {
        Kind::Request { id, .. } => id,
        _ => NO_ID,
    }
}

fn no_session(message: &Message<'_>) -> Response<Reply> {
    refusal(StatusCode::BAD_REQUEST, id_of(message), code::INVALID_REQUEST, NEEDS_SESSION)
}

fn unknown_session(message: &Message<'_>) -> Response<Reply> {
    refusal(StatusCode::NOT_FOUND, id_of(message), code::INVALID_REQUEST, NO_SUCH_SESSION)
}

fn not_allowed(modern: bool) -> Response<Reply> {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    let allowed = HeaderValue::from_static(if modern { "POST" } else { "GET, POST, DELETE" });
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn refusal(status: StatusCode, id: &str, code: i32, message: &str) -> Response<Reply> {
    whole(status, message::error(id, code, message).into())
}

fn whole(status: StatusCode, text: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(Some(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn events(events: Events) -> Response<Reply> {
    let mut response = Response::new(Reply::Events(Box::new(events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn accepted() -> Response<Reply> {
    empty(StatusCode::ACCEPTED)
}

fn empty(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::Whole(None));
    *response.status_mut() = status;
    response
}
