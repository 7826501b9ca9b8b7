//! What a message asks for: its revision, its era, its [`Action`]. The one file that knows revisions and methods. Both
//! eras are decided per request, and a mix of the two is refused, not guessed (rows 21 to 29, 40).
//!
//! Does not know who asks, and decides nothing about permission: a method that no rule can be about is
//! [`Action::Unknown`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cardea_policy::{Action, Catalog};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::headers::{self, Era};
use crate::jsonrpc::{Id, Kind, Malformed, Member, Message, Reference};
use crate::metrics::MethodLabel;
use crate::reply::code;

/// The revision of the modern era.
pub(crate) const MODERN: &str = "2026-07-28";
/// The newest revision of the legacy era.
pub(crate) const LEGACY: &str = "2025-11-25";
/// Methods that are decided on by what they name.
const DECIDED_FURTHER: [&str; 7] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "subscriptions/listen",
];
const LEGACY_ALL: [&str; 4] = [LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"];

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked<'a> {
    pub(crate) action: Action<'a>,
    pub(crate) era: Era,
    /// Id to answer to.
    pub(crate) id: Option<&'a Id>,
    /// Method, for the audit line.
    pub(crate) method: &'a str,
}

impl Asked<'_> {
    pub(crate) fn label(&self) -> MethodLabel {
        match self.action {
            Action::Session => MethodLabel::Session,
            Action::List(_) => MethodLabel::List,
            Action::CallTool(_) => MethodLabel::CallTool,
            Action::GetPrompt(_) => MethodLabel::GetPrompt,
            Action::ReadResource(_) | Action::ReadTemplate(_) | Action::Listen { .. } => MethodLabel::ReadResource,
            Action::Method(_) | Action::Unknown(_) => MethodLabel::Other,
        }
    }
}

/// Why a message is not one that the protocol knows.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    pub(crate) status: http::StatusCode,
    pub(crate) code: i32,
    pub(crate) message: &'static str,
    pub(crate) data: Option<serde_json::Value>,
}

impl Refused {
    fn new(code: i32, message: &'static str) -> Self {
        Self { status: http::StatusCode::BAD_REQUEST, code, message, data: None }
    }

    fn mismatch(message: &'static str) -> Self {
        Self::new(code::HEADER_MISMATCH, message)
    }

    /// An argument and the header that mirrors it say different things.
    pub(crate) fn parameter() -> Self {
        Self::mismatch("an Mcp-Param header does not agree with the body")
    }

    /// The server speaks a transport that the modern era does not have.
    pub(crate) fn legacy_only() -> Self {
        Self::unsupported(MODERN, &LEGACY_ALL)
    }

    fn version(requested: &str) -> Self {
        let supported: Vec<_> = [MODERN].into_iter().chain(LEGACY_ALL).collect();
        Self::unsupported(requested, &supported)
    }

    fn unsupported(requested: &str, supported: &[&str]) -> Self {
        let requested: String = requested.chars().filter(char::is_ascii_graphic).take(64).collect();
        let data = json!({"supported": supported, "requested": requested});
        Self { data: Some(data), ..Self::new(code::UNSUPPORTED_VERSION, "unsupported protocol version") }
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Syntax => Self::new(code::PARSE, "the body is not JSON"),
            Malformed::Invalid => Self::new(code::INVALID_REQUEST, "the body is not one JSON-RPC message"),
        }
    }
}

/// What a POST asks for. The decision is made on the body; mirrored headers must agree with it.
pub(crate) fn of_message<'a>(headers: &HeaderMap, message: &'a Message) -> Result<Asked<'a>, Refused> {
    let era = match era(headers)? {
        Era::Modern => {
            check_mirrors(headers, message)?;
            Era::Modern
        }
        Era::Legacy if message.params.version != Member::Absent => {
            // Revision 2026-07-28 is known by its header; a body that claims it alone would be judged as one era here and
            // maybe as the other by the server.
            return Err(Refused::mismatch("MCP-Protocol-Version does not agree with the body"));
        }
        Era::Legacy => Era::Legacy,
    };
    let (id, method) = match &message.kind {
        Kind::Request { id, method } => (Some(id), method.as_str()),
        Kind::Notification { method } => (None, method.as_str()),
        Kind::Answer => (None, "(answer)"),
    };
    Ok(Asked { action: action(message, era)?, era, id, method })
}

/// What a message asks for, its era once known.
pub(crate) fn action(message: &Message, era: Era) -> Result<Action<'_>, Refused> {
    match &message.kind {
        Kind::Request { method, .. } => request(method, message, era),
        Kind::Notification { method } => Ok(notification(method, era)),
        Kind::Answer if era == Era::Legacy => Ok(Action::Session),
        Kind::Answer => Err(Refused::new(code::INVALID_REQUEST, "this revision has no answers from clients")),
    }
}

/// What a GET (a stream) or a DELETE (the end of a session) asks for; the modern era has neither.
pub(crate) fn of_session(headers: &HeaderMap, method: &'static str) -> Result<Option<Asked<'static>>, Refused> {
    Ok(match era(headers)? {
        Era::Legacy => Some(Asked { action: Action::Session, era: Era::Legacy, id: None, method }),
        Era::Modern => None,
    })
}

/// The era of a request by its header alone. Without one it is 2025-03-26 (row 9).
fn era(headers: &HeaderMap) -> Result<Era, Refused> {
    match header(headers, &headers::PROTOCOL_VERSION)? {
        None => Ok(Era::Legacy),
        Some(MODERN) => Ok(Era::Modern),
        Some(version) if LEGACY_ALL.contains(&version) => Ok(Era::Legacy),
        Some(version) => Err(Refused::version(version)),
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refused> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim_matches([' ', '\t']))),
            Err(_) => Err(Refused::mismatch("a header is not printable ASCII")),
        },
    }
}

fn request<'a>(method: &'a str, message: &'a Message, era: Era) -> Result<Action<'a>, Refused> {
    let params = &message.params;
    Ok(match (method, era) {
        ("initialize" | "ping" | "logging/setLevel", Era::Legacy) | ("server/discover", Era::Modern) => Action::Session,
        ("subscriptions/listen", Era::Modern) => {
            Action::Listen { resources: &params.listens.resources, further: params.listens.further }
        }
        ("tools/list", _) => Action::List(Catalog::Tools),
        ("prompts/list", _) => Action::List(Catalog::Prompts),
        ("resources/list", _) => Action::List(Catalog::Resources),
        ("resources/templates/list", _) => Action::List(Catalog::ResourceTemplates),
        ("tools/call", _) => Action::CallTool(text(&params.name, "params.name must be a string")?),
        ("prompts/get", _) => Action::GetPrompt(text(&params.name, "params.name must be a string")?),
        ("resources/read", _) | ("resources/subscribe" | "resources/unsubscribe", Era::Legacy) => {
            Action::ReadResource(text(&params.uri, "params.uri must be a string")?)
        }
        ("completion/complete", _) => completed(&params.reference)?,
        // Known, but of the other era: the client learns that it must speak the other one (rows 28, 40, 67).
        ("initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe", Era::Modern) => {
            return Err(Refused { status: http::StatusCode::NOT_FOUND, ..other_era() });
        }
        ("server/discover" | "subscriptions/listen", Era::Legacy) => return Err(other_era()),
        (method, _) if !may_be_taken_for_another(method) => Action::Method(method),
        (method, _) => Action::Unknown(method),
    })
}

fn text<'a>(member: &'a Member, otherwise: &'static str) -> Result<&'a str, Refused> {
    member.text().ok_or(Refused::new(code::INVALID_PARAMS, otherwise))
}

/// Completing is a look at what is completed. A reference that could be read as both is neither.
fn completed(reference: &Reference) -> Result<Action<'_>, Refused> {
    let Reference { kind, name, uri } = reference;
    match (kind.text(), name, uri) {
        (Some("ref/prompt"), Member::Text(name), Member::Absent) => Ok(Action::GetPrompt(name)),
        (Some("ref/resource"), Member::Absent, Member::Text(uri)) => Ok(Action::ReadTemplate(uri)),
        _ => Err(Refused::new(code::INVALID_PARAMS, "params.ref must name a prompt or a resource")),
    }
}

/// Whether a lax server could run one of the methods that are decided on by more than their name.
fn may_be_taken_for_another(method: &str) -> bool {
    let plain = method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte));
    !plain || DECIDED_FURTHER.iter().any(|known| known.eq_ignore_ascii_case(method))
}

fn other_era() -> Refused {
    Refused::new(code::METHOD_NOT_FOUND, "the protocol version in use has no such method")
}

/// A method with effect sent as a notification is none of these, so it is denied: a lax server might run it.
fn notification(method: &str, era: Era) -> Action<'_> {
    match (method, era) {
        ("notifications/cancelled" | "notifications/progress", _)
        | ("notifications/initialized" | "notifications/roots/list_changed", Era::Legacy) => Action::Session,
        (method, _) if method.starts_with("notifications/") && !may_be_taken_for_another(method) => {
            Action::Method(method)
        }
        (method, _) => Action::Unknown(method),
    }
}

/// Mirrored headers of the modern era against the body.
fn check_mirrors(headers: &HeaderMap, message: &Message) -> Result<(), Refused> {
    let params = &message.params;
    match (&params.version, &message.kind) {
        (Member::Text(version), _) if version == MODERN => {}
        (Member::Absent, Kind::Notification { .. } | Kind::Answer) => {}
        (Member::Absent, Kind::Request { .. }) => {
            return Err(Refused::new(code::INVALID_PARAMS, "params._meta must name the protocol version"));
        }
        (Member::Text(_) | Member::OtherType, _) => {
            return Err(Refused::mismatch("MCP-Protocol-Version does not agree with the body"));
        }
    }
    let method = match &message.kind {
        Kind::Request { .. } if params.capabilities == Member::Absent => {
            return Err(Refused::new(code::INVALID_PARAMS, "params._meta must name the client's capabilities"));
        }
        Kind::Request { method, .. } | Kind::Notification { method } => method.as_str(),
        Kind::Answer => return Ok(()),
    };
    // Which argument is mirrored is known to the tool; here they must only be readable (rows 24 to 26).
    for name in headers.keys().filter(|name| name.as_str().starts_with(headers::PARAMETER)) {
        if header(headers, name)?.and_then(decoded).is_none() {
            return Err(Refused::mismatch("an Mcp-Param header cannot be read"));
        }
    }
    if header(headers, &headers::METHOD)? != Some(method) {
        return Err(Refused::mismatch("Mcp-Method does not agree with the body"));
    }
    let mirrored = match method {
        "tools/call" | "prompts/get" => Some(&params.name),
        "resources/read" => Some(&params.uri),
        // The extension for tasks (SEP-2663).
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some(&params.task_id),
        _ => None,
    };
    let name = header(headers, &headers::NAME)?;
    match (mirrored, name) {
        (Some(Member::Text(text)), Some(name)) if decoded(name).as_deref() == Some(text) => Ok(()),
        (None, None) => Ok(()),
        // Nothing to compare with here, but the server may look at it.
        (None, Some(name)) if decoded(name).is_some() && [Some(name), None].contains(&params.name.text()) => Ok(()),
        _ => Err(Refused::mismatch("Mcp-Name does not agree with the body")),
    }
}

/// What a header that mirrors something says; none if it cannot be read.
pub(crate) fn mirrored(value: &HeaderValue) -> Option<String> {
    decoded(value.to_str().ok()?.trim_matches([' ', '\t']))
}

/// A mirrored value, out of its `=?base64?…?=` if it is in one (row 24).
fn decoded(value: &str) -> Option<String> {
    let text = match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?,
        None => value.to_owned(),
    };
    (!text.contains(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests;
