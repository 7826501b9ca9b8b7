//! One line of JSON for each decision and for what became of it. No token, no body, no query, and of arguments what may be
//! shown.
//!
//! Does not decide, and knows no more of a request than the line says ([`crate::account`] keeps it).

use std::borrow::Cow;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelValue;
use serde::{Serialize, Serializer};

use crate::arguments::Arguments;

/// Longest method or tool name in a line. What is longer is cut: a line must stay one line of bounded length.
const MAX_NAME: usize = 256;

/// Where lines go.
pub struct AuditSink(Box<dyn Write + Send>);

impl AuditSink {
    /// The process's standard output.
    pub fn stdout() -> Self {
        Self(Box::new(std::io::stdout()))
    }

    /// Somewhere else.
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(writer))
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Verdict {
    Allow,
    Deny,
    Unauthenticated,
}

#[cfg(feature = "otel")]
impl Verdict {
    /// As lines spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
            Self::Unauthenticated => "Unauthenticated",
        }
    }
}

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Event {
    /// What was decided. Of a refusal it is all there is to tell.
    Decision,
    /// What became of what was permitted.
    Outcome,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, EncodeLabelValue)]
pub(crate) enum End {
    /// With its last byte.
    Complete,
    /// Here or at the server, before that.
    Broken,
    /// The caller went, or the proxy stopped.
    Left,
    /// A stream: what proved the caller has run out.
    Expired,
    /// A stream: the caller would not be permitted it any more.
    Revoked,
    /// A stream: the proxy stops, and ended it in order.
    Stopped,
}

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    pub(crate) event: Event,
    /// The proxy's id of the request: the same in both lines, and in the answer's `x-request-id`.
    pub(crate) request: &'a str,
    /// Trace id (W3C Trace Context).
    pub(crate) trace: &'a str,
    pub(crate) decision: Verdict,
    /// Rule that permitted or refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'a str>,
    /// Why, when no rule says so; of an outcome, why there is no answer of the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub(crate) subject: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub(crate) method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub(crate) tool: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub(crate) prompt: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub(crate) resource: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<&'a Arguments>,
    /// Bytes of the request's body.
    pub(crate) request_bytes: u64,
    /// Until this was decided; of an outcome, until the answer began.
    pub(crate) latency_ms: f64,
    /// HTTP status of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Until the last byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_ms: Option<f64>,
    /// Bytes of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
    /// Code of the JSON-RPC error that the server answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<i32>,
    /// The tool's result says that it failed (`isError`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tool_error: bool,
    /// Address the connection came from.
    pub(crate) peer: std::net::IpAddr,
    /// Namespace and name of the server.
    pub(crate) server: (&'a str, &'a str),
    /// Generation of the configuration that decided.
    pub(crate) generation: i64,
}

#[derive(Serialize)]
struct Written<'a> {
    /// Tells audit lines from others in the same stream.
    kind: &'static str,
    #[serde(serialize_with = "as_text")]
    time: jiff::Timestamp,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

/// Writes lines, in order.
pub(crate) struct Audit(Mutex<AuditSink>);

impl Audit {
    pub(crate) fn new(sink: AuditSink) -> Self {
        Self(Mutex::new(sink))
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The line could not be written.
    pub(crate) fn write(&self, line: &Line<'_>) -> std::io::Result<()> {
        let written = Written { kind: "audit", time: jiff::Timestamp::now(), line };
        let mut bytes = Vec::with_capacity(1024);
        written.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Printable))?;
        bytes.push(b'\n');
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.0.write_all(&bytes)?;
        sink.0.flush()
    }
}

/// JSON whose strings hold no control character at all. JSON itself allows DEL and those from U+0080 to U+009F, and a
/// terminal that shows the line would obey them.
struct Printable;

impl serde_json::ser::Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> std::io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for part in fragment.split_inclusive(char::is_control) {
            match part.char_indices().next_back().filter(|(_, last)| last.is_control()) {
                None => writer.write_all(part.as_bytes())?,
                Some((at, control)) => {
                    writer.write_all(part.get(..at).unwrap_or_default().as_bytes())?;
                    write!(writer, "\\u{:04x}", u32::from(control))?;
                }
            }
        }
        Ok(())
    }
}

fn as_text<S: Serializer>(time: &jiff::Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde gives it so")]
fn cut<S: Serializer>(text: &Option<Cow<'_, str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(shortened(text.as_deref().unwrap_or_default()))
}

/// A name as long as one may be.
pub(crate) fn shortened(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or_default()
}
