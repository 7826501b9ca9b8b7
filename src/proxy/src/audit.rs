//! One line of JSON a decision: who asked for what, and what was said. No argument, no token, no body, no query.
//!
//! Does not decide, and knows no more of a request than the line says.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cardea_contract::AuditLevel;
use serde::Serialize;

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

/// One line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'a> {
    pub(crate) decision: Verdict,
    /// Rule that permitted or refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'a str>,
    /// Why, when no rule says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool: Option<&'a str>,
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
    time: String,
    request: String,
    #[serde(flatten)]
    line: &'a Line<'a>,
}

/// Writes lines, in order.
pub(crate) struct Audit {
    sink: Mutex<AuditSink>,
    /// Tells requests of one process from those of another.
    process: u64,
    requests: AtomicU64,
}

impl Audit {
    pub(crate) fn new(sink: AuditSink) -> Self {
        let mut seed = [0; 8];
        // Only to tell processes apart: zero would do, if there were no randomness.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        Self { sink: Mutex::new(sink), process: u64::from_ne_bytes(seed), requests: AtomicU64::new(0) }
    }

    /// Writes a line, before anything is done about what was decided.
    ///
    /// # Errors
    /// The line could not be written.
    pub(crate) fn write(&self, level: AuditLevel, mut line: Line<'_>) -> std::io::Result<()> {
        match level {
            AuditLevel::None => return Ok(()),
            AuditLevel::Decisions => {}
        }
        line.method = line.method.map(cut);
        line.tool = line.tool.map(cut);
        line.subject = line.subject.map(cut);
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let written = Written {
            kind: "audit",
            time: jiff::Timestamp::now().to_string(),
            request: format!("{:016x}-{number:x}", self.process),
            line: &line,
        };
        let mut bytes = Vec::with_capacity(512);
        written.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Printable))?;
        bytes.push(b'\n');
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.0.write_all(&bytes)?;
        sink.0.flush()
    }
}

/// JSON whose strings hold no control character at all. JSON itself allows DEL and those from U+0080 to U+009F, and a
/// terminal that shows the line would obey them.
struct Printable;

impl serde_json::ser::Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> std::io::Result<()> {
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

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_NAME)).unwrap_or_default()
}
