//! Notices, in passing and without keeping anything, whether an answer tells of an error, and a list in an answer that
//! should hold none. A server finds the stream for an answer by the request's id, so a caller that uses one id twice can
//! have a list sent where a call was permitted; there it would not be filtered.
//!
//! Looks for `"result":{"tools":` as servers write it, at that depth only: what a tool says may hold such words.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use memchr::memchr2;

use crate::known::TOOLS_CHANGED;
use crate::response::CATALOGS;

/// Longest name that matters.
const MAX_NAME: usize = "resourceTemplates".len();

/// What an answer told of itself, for whoever keeps account of it: the code of the JSON-RPC error that came last, or that
/// a tool has failed.
#[derive(Default)]
pub(crate) struct Said(AtomicI32);

impl Said {
    /// JSON-RPC has no such code.
    const TOOL_ERROR: i32 = i32::MIN;

    pub(crate) fn error(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|code| ![0, Self::TOOL_ERROR].contains(code))
    }

    pub(crate) fn is_tool_error(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::TOOL_ERROR
    }
}

/// Looks at an answer as it goes by. Notices on the way when the server says that its tools have changed.
#[derive(Default)]
pub(crate) struct Watch {
    said: Arc<Said>,
    /// A value that says something, as far as it has come.
    value: Option<Telling>,
    /// Of a stream, the line's field so far; none of a single message.
    line: Option<Line>,
    /// The last line ended with a carriage return: a line feed now is part of the same end.
    after_cr: bool,
    depth: usize,
    in_string: bool,
    escaped: bool,
    in_result: bool,
    in_error: bool,
    in_method: bool,
    tools_changed: bool,
    /// The last string, as far as it matters.
    text: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    /// So many bytes of `data:` were there.
    Field(usize),
    Data,
    Other,
}

#[derive(Clone, Copy)]
enum Telling {
    /// `error.code`: its sign and digits.
    Code(i32, i32),
    /// `result.isError`
    IsError,
}

impl Watch {
    /// What the answer tells of itself, while it comes.
    pub(crate) fn said(&self) -> Arc<Said> {
        self.said.clone()
    }

    /// One message.
    pub(crate) fn message() -> Self {
        Self::default()
    }

    /// A stream of events, each a message.
    pub(crate) fn events() -> Self {
        Self { line: Some(Line::Field(0)), ..Self::default() }
    }

    /// Whether a list begins in these bytes.
    pub(crate) fn finds(&mut self, bytes: &[u8]) -> bool {
        if self.line.is_none() {
            return self.reads(bytes);
        }
        let mut rest = bytes;
        loop {
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (part, tail) = rest.split_at(end);
            if self.reads_line(part) {
                return true;
            }
            let Some((end, tail)) = tail.split_first() else { return false };
            self.ends_line(*end);
            rest = tail;
        }
    }

    /// Whether the server has said, since this was asked last, that its tools have changed.
    pub(crate) fn tools_changed(&mut self) -> bool {
        std::mem::take(&mut self.tools_changed)
    }

    /// A part of one line of a stream.
    fn reads_line(&mut self, part: &[u8]) -> bool {
        const DATA: &[u8] = b"data:";
        let mut rest = part;
        while let (Some((byte, tail)), Some(line)) = (rest.split_first(), self.line) {
            self.line = Some(match line {
                Line::Field(at) if DATA.get(at) != Some(byte) => Line::Other,
                Line::Field(at) if at + 1 == DATA.len() => Line::Data,
                Line::Field(at) => Line::Field(at + 1),
                Line::Data => return self.reads(rest),
                Line::Other => return false,
            });
            rest = tail;
        }
        false
    }

    fn ends_line(&mut self, end: u8) {
        if end == b'\n' && std::mem::take(&mut self.after_cr) && self.line == Some(Line::Field(0)) {
            return;
        }
        if self.line == Some(Line::Field(0)) {
            *self = Self { said: self.said.clone(), tools_changed: self.tools_changed, ..Self::events() };
        }
        self.line = Some(Line::Field(0));
        self.after_cr = end == b'\r';
    }

    /// A part of one message.
    fn reads(&mut self, part: &[u8]) -> bool {
        let mut rest = part;
        while !rest.is_empty() {
            if self.in_string && !self.escaped && self.text.len() > self.longest() {
                // Most of what goes by is text that says nothing.
                let dull = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                rest = rest.get(dull..).unwrap_or_default();
            }
            let Some((byte, tail)) = rest.split_first() else { return false };
            if self.json(*byte) {
                return true;
            }
            rest = tail;
        }
        false
    }

    fn json(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if std::mem::take(&mut self.escaped) => {}
                b'\\' => {
                    self.escaped = true;
                    return false;
                }
                b'"' => {
                    self.in_string = false;
                    self.tools_changed |= self.depth == 1 && self.in_method && self.text == TOOLS_CHANGED.as_bytes();
                }
                _ => {}
            }
            if self.in_string && self.text.len() <= self.longest() {
                self.text.push(byte);
            }
            return false;
        }
        self.hear(byte);
        match byte {
            b'"' => {
                self.in_string = true;
                self.text.clear();
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => {
                self.in_result = self.text == b"result";
                self.in_error = self.text == b"error";
                self.in_method = self.text == b"method";
            }
            b':' if self.depth == 2 && self.in_error && self.text == b"code" => self.value = Some(Telling::Code(1, 0)),
            b':' if self.depth == 2 && self.in_result && self.text == b"isError" => self.value = Some(Telling::IsError),
            b':' if self.depth == 2 && self.in_result => {
                return CATALOGS.iter().any(|catalog| catalog.member().as_bytes() == self.text);
            }
            _ => {}
        }
        false
    }

    /// Longest string that matters here.
    fn longest(&self) -> usize {
        if self.depth == 1 && self.in_method { TOOLS_CHANGED.len() } else { MAX_NAME }
    }

    fn hear(&mut self, byte: u8) {
        let Some(value) = self.value else { return };
        self.value = match (value, byte) {
            (value, b' ' | b'\t' | b'\r' | b'\n') => Some(value),
            (Telling::Code(_, 0), b'-') => Some(Telling::Code(-1, 0)),
            (Telling::Code(sign, code), b'0'..=b'9') => {
                let code = code.saturating_mul(10).saturating_add(i32::from(byte - b'0'));
                Some(Telling::Code(sign, code))
            }
            (Telling::Code(sign, code), _) => {
                self.said.0.store(code.saturating_mul(sign), Ordering::Relaxed);
                None
            }
            (Telling::IsError, b't') => {
                self.said.0.store(Said::TOOL_ERROR, Ordering::Relaxed);
                None
            }
            (Telling::IsError, _) => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_found_however_it_is_cut_and_nothing_else() {
        for (message, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"x","tools":[]}}"#, true),
            (r#"{ "result" : { "tools" : [] } }"#, true),
            (r#"{"result":{"_meta":{"a":[{"b":"}\""}]},"resourceTemplates":[]}}"#, true),
            (r#"{"result":{"content":[{"type":"text","text":"\"result\":{\"tools\":[]}"}]}}"#, false),
            (r#"{"result":{"structuredContent":{"tools":[],"result":{"tools":[]}}}}"#, false),
            (r#"{"result":{"capabilities":{"tools":{}}}}"#, false),
            (r#"{"result":{},"error":{"tools":[]}}"#, false),
            (r#"{"method":"sampling/createMessage","params":{"tools":[]}}"#, false),
            (r#"{"result":["tools"]}"#, false),
            (r#"{"result":{"content":"tools"}}"#, false),
            (r#"{"result":{"toolsAndSomethingThatIsLong":[]}}"#, false),
        ] {
            for size in 1..message.len() {
                let found =
                    |mut watch: Watch, stream: &str| stream.as_bytes().chunks(size).any(|part| watch.finds(part));
                assert_eq!(found(Watch::message(), message), expected, "{message}");
                for stream in [
                    format!("data: {message}\n\n"),
                    format!(": {{\r\n\r\nid: {{\r\nevent: message\r\ndata:{message}\r\n\r\n"),
                    format!("data: {{\"half\r\rdata: {message}\r\r"),
                    format!("data: {}\n\n", message.replace(',', ",\ndata: ")),
                    format!("data: {}\r\n\r\n", message.replace(':', ":\r\ndata: ")),
                    format!("data: {}\r\r", message.replace('{', "{\rdata: ")),
                ] {
                    assert_eq!(found(Watch::events(), &stream), expected, "{stream}");
                }
            }
        }
    }

    #[test]
    fn an_answer_tells_of_its_error_however_it_is_cut() {
        for (message, error, tool_error) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"x","data":{"code":1}}}"#,
                Some(-32602),
                false,
            ),
            (r#"{"error" : { "message" : "\"code\":5" , "code" : 7 } }"#, Some(7), false),
            (r#"{"result":{"content":[],"isError":true}}"#, None, true),
            (r#"{"result":{"isError" : false}}"#, None, false),
            (r#"{"result":{"structuredContent":{"isError":true,"code":3},"error":{"code":1}}}"#, None, false),
            (r#"{"params":{"code":1,"isError":true}}"#, None, false),
            (r#"{"error":{"code":99999999999}}"#, Some(i32::MAX), false),
            (r#"{"error":{"code":"7"}}"#, None, false),
        ] {
            for size in 1..message.len() {
                for (mut watch, text) in
                    [(Watch::message(), message.to_owned()), (Watch::events(), format!("id: 1\ndata: {message}\n\n"))]
                {
                    assert!(!text.as_bytes().chunks(size).any(|part| watch.finds(part)));
                    let said = watch.said();
                    assert_eq!((said.error(), said.is_tool_error()), (error, tool_error), "{text}");
                }
            }
        }
    }

    #[test]
    fn that_tools_have_changed_is_noticed_however_it_is_cut() {
        for (message, expected) in [
            (r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#, true),
            (r#"{"method" : "notifications\/tools\/list_changed","params":{}}"#, true),
            (r#"{"method":"notifications/tools/list_changed2"}"#, false),
            (r#"{"method":"notifications/progress","params":{"method":"notifications/tools/list_changed"}}"#, false),
            (r#"{"result":{"content":"\"method\":\"notifications/tools/list_changed\""}}"#, false),
        ] {
            let stream = format!("data: {message}\n\ndata: {{\"result\":{{}}}}\n\n");
            for size in 1..stream.len() {
                let mut watch = Watch::events();
                assert!(!stream.as_bytes().chunks(size).any(|part| watch.finds(part)));
                assert_eq!((watch.tools_changed(), watch.tools_changed()), (expected, false), "{message}");
            }
        }
    }

    #[test]
    fn what_is_no_data_is_not_looked_at() {
        let mut watch = Watch::events();
        assert!(!watch.finds(
            b": {\"result\":{\"tools\":[]}}\n\nid: {\"result\":{\"tools\":[]}}\n\ndatax: {\"result\":{\"tools\":1"
        ));
    }
}
