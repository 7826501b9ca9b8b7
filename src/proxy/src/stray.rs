//! Notices, in passing and without keeping anything, a list in an answer that should hold none. A server finds the stream
//! for an answer by the request's id, so a caller that uses one id twice can have a list sent where a call was permitted;
//! there it would not be filtered.
//!
//! Looks for `"result":{"tools":` as servers write it, at that depth only: what a tool says may hold such words.

use crate::response::CATALOGS;

/// Longest name that matters.
const MAX_NAME: usize = "resourceTemplates".len();

/// Looks at an answer byte by byte.
#[derive(Default)]
pub(crate) struct Watch {
    /// Of a stream, the line's field so far; none of a single message.
    line: Option<Line>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    in_result: bool,
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

impl Watch {
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
        bytes.iter().any(|byte| self.event(*byte))
    }

    fn event(&mut self, byte: u8) -> bool {
        const DATA: &[u8] = b"data:";
        let Some(line) = self.line else {
            return self.json(byte);
        };
        let (next, found) = match (line, byte) {
            (Line::Field(0), b'\r' | b'\n') => {
                *self = Self::events();
                return false;
            }
            (_, b'\r' | b'\n') => (Line::Field(0), false),
            (Line::Field(at), byte) if DATA.get(at) == Some(&byte) => {
                (if at + 1 == DATA.len() { Line::Data } else { Line::Field(at + 1) }, false)
            }
            (Line::Field(_) | Line::Other, _) => (Line::Other, false),
            (Line::Data, byte) => (Line::Data, self.json(byte)),
        };
        self.line = Some(next);
        found
    }

    fn json(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if std::mem::take(&mut self.escaped) => {}
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            if self.in_string && self.text.len() <= MAX_NAME {
                self.text.push(byte);
            }
            return false;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.text.clear();
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => self.in_result = self.text == b"result",
            b':' if self.depth == 2 && self.in_result => {
                return CATALOGS.iter().any(|catalog| catalog.member().as_bytes() == self.text);
            }
            _ => {}
        }
        false
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
                ] {
                    assert_eq!(found(Watch::events(), &stream), expected, "{stream}");
                }
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
