//! The process's own log: lines of JSON, without what looks like a secret, whoever wrote it there. Not the audit log.
//!
//! Does not know what is logged: the last guard behind code that logs no secrets.

use std::io::Write;

use cardea_contract::Redact;
use cardea_policy::{Redaction, RedactionError};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;

/// Longest line. One that would be longer is not written.
const MAX_LINE: usize = 16 << 10;
const TOO_LONG: &[u8] = b"{\"level\":\"WARN\",\"message\":\"a line was too long to be logged\"}\n";

/// A layer that writes such lines.
///
/// # Errors
/// Never, as long as the default expressions compile, which a test sees to.
pub fn lines<S, W>(writer: W) -> Result<impl Layer<S>, RedactionError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    let redaction = Redaction::compile(&Redact::default())?;
    Ok(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Guarded { writer, redaction }))
}

struct Guarded<W> {
    writer: W,
    redaction: Redaction,
}

/// One line on its way: the layer writes each in one piece.
struct Line<'a, W> {
    writer: W,
    redaction: &'a Redaction,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Guarded<W> {
    type Writer = Line<'w, W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line { writer: self.writer.make_writer(), redaction: &self.redaction }
    }
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > MAX_LINE {
            self.writer.write_all(TOO_LONG)?;
        } else {
            self.writer.write_all(self.redaction.text(&String::from_utf8_lossy(bytes)).as_bytes())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}
