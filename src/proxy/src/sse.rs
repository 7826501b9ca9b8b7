//! Server-sent events, one at a time and byte for byte (WHATWG HTML, section 9.2): where an event ends, what its data is,
//! and the same event with other data. Comments, ids, retry times and line ends stay as they were.
//!
//! Knows nothing of JSON.

/// One event with its closing blank line, as it came. Also a run of comments, or a lone line feed that belongs to the
/// event before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event(pub(crate) Vec<u8>);

/// An event that is longer than may be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is too long")]
pub(crate) struct TooLong;

/// Cuts a stream into events.
pub(crate) struct Splitter {
    limit: usize,
    buffer: Vec<u8>,
    /// Here the event begins that is being looked at.
    event: usize,
    /// Up to here the buffer was looked at.
    scanned: usize,
    /// Here the line begins that is being looked at.
    line: usize,
    /// The last byte was a carriage return: a line feed now is part of the same line end.
    after_cr: bool,
}

impl Splitter {
    /// Events of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), event: 0, scanned: 0, line: 0, after_cr: false }
    }

    /// Takes what came and gives each event that is complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut complete: impl FnMut(Event)) -> Result<(), TooLong> {
        self.buffer.extend_from_slice(bytes);
        while let Some(byte) = self.buffer.get(self.scanned).copied() {
            let at = self.scanned;
            self.scanned += 1;
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            if byte == b'\n' && follows_cr {
                self.line = self.scanned;
                if at == self.event {
                    // The event it ends is gone already. It goes at once: a parser may wait for it to know that the
                    // line has ended.
                    complete(self.cut());
                }
            } else if byte == b'\n' || byte == b'\r' {
                let blank = self.line == at;
                self.line = self.scanned;
                if blank {
                    complete(self.cut());
                }
            }
        }
        // Once, not for each event: a chunk may be full of them.
        self.buffer.drain(..self.event);
        self.scanned -= self.event;
        self.line -= self.event;
        self.event = 0;
        if self.buffer.is_empty() {
            // A stream may be silent for hours.
            self.buffer = Vec::new();
        }
        if self.buffer.len() > self.limit { Err(TooLong) } else { Ok(()) }
    }

    /// Bytes of the event that is not complete yet.
    pub(crate) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// What is left at the end of the stream. Some readers take it for an event.
    pub(crate) fn rest(&mut self) -> Option<Event> {
        let rest = std::mem::take(&mut self.buffer);
        (self.event, self.scanned, self.line) = (0, 0, 0);
        (!rest.is_empty()).then_some(Event(rest))
    }

    fn cut(&mut self) -> Event {
        let event = self.buffer.get(self.event..self.scanned).unwrap_or_default().to_vec();
        (self.event, self.line) = (self.scanned, self.scanned);
        Event(event)
    }
}

impl Event {
    /// Its data, the lines joined by line feeds; none if it has none (comments, a priming event without data).
    pub(crate) fn data(&self) -> Option<Vec<u8>> {
        let lines: Vec<&[u8]> = lines(&self.0).filter_map(|(line, _)| data_of(line)).collect();
        (!lines.is_empty()).then(|| lines.join(&b'\n'))
    }

    /// Whether any line calls it that: a reader takes the last one, a lax one maybe another.
    pub(crate) fn is_called(&self, name: &[u8]) -> bool {
        lines(&self.0).any(|(line, _)| value_of(line, b"event") == Some(name))
    }

    /// The same event with other data.
    pub(crate) fn with_data(&self, data: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut written = false;
        for (line, end) in lines(&self.0) {
            if data_of(line).is_none() {
                bytes.extend_from_slice(line);
                bytes.extend_from_slice(end);
            } else if !std::mem::replace(&mut written, true) {
                for part in data.split(|byte| *byte == b'\n') {
                    bytes.extend_from_slice(b"data: ");
                    bytes.extend_from_slice(part);
                    bytes.extend_from_slice(if end.is_empty() { b"\n" } else { end });
                }
            }
        }
        Self(bytes)
    }
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    value_of(line, b"data")
}

/// Value of a line with this field. A byte order mark may stand before the first line of a stream; a reader takes it off,
/// so it must not hide the field's name from us.
fn value_of<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let rest = line.strip_prefix(field)?;
    match rest.split_first() {
        None => Some(rest),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

/// Lines with their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(length);
        let end = if tail.starts_with(b"\r\n") { 2 } else { tail.len().min(1) };
        let (end, tail) = tail.split_at(end);
        rest = tail;
        Some((line, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut splitter = Splitter::new(1000);
        let mut events = Vec::new();
        for chunk in stream.chunks(size) {
            splitter.push(chunk, |event| events.push(event.0)).unwrap();
        }
        events.extend(splitter.rest().map(|event| event.0));
        events
    }

    #[test]
    fn every_line_end_and_every_chunking_gives_the_same_events_and_bytes() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!(
                ": hello{end}{end}id: 1{end}data:{end}{end}event: message{end}data: {{\"a\":{end}data: \"ü\"}}{end}{end}"
            );
            for size in 1..stream.len() {
                let events = split(stream.as_bytes(), size);
                assert_eq!(events.concat(), stream.as_bytes());
                let data: Vec<_> = events.into_iter().filter_map(|event| Event(event).data()).collect();
                assert_eq!(data, [b"".to_vec(), "{\"a\":\n\"ü\"}".as_bytes().to_vec()], "{end:?} {size}");
            }
        }
    }

    #[test]
    fn an_event_is_given_with_its_last_byte() {
        let mut splitter = Splitter::new(1000);
        let mut count = 0;
        splitter.push(b"data: a\r\n\r", |_| count += 1).unwrap();
        assert_eq!(count, 1);
        splitter.push(b"\n", |event| assert_eq!(event.0, b"\n")).unwrap();
        assert!(splitter.rest().is_none());
    }

    #[test]
    fn other_data_leaves_the_rest() {
        for (event, expected) in [
            ("id: 7\ndata: {\ndata: }\nretry: 5\n\n", "id: 7\ndata: new\nretry: 5\n\n"),
            ("data:{}\r\n: c\r\n\r\n", "data: new\r\n: c\r\n\r\n"),
            ("data: {}", "data: new\n"),
            ("\u{feff}data: {}\n\n", "data: new\n\n"),
        ] {
            assert_eq!(Event(event.into()).with_data(b"new").0, expected.as_bytes(), "{event:?}");
        }
        assert_eq!(Event(b"data: a\n\n".to_vec()).with_data(b"1\n2").0, b"data: 1\ndata: 2\n\n");
    }

    #[test]
    fn what_is_data_and_what_is_not() {
        for (event, expected) in [
            ("data: a\n\n", Some("a")),
            ("data:a\n\n", Some("a")),
            ("data:  a\n\n", Some(" a")),
            ("data\n\n", Some("")),
            ("\u{feff}data: a\n\n", Some("a")),
            ("datax: a\n\n", None),
            ("Data: a\n\n", None),
            (" data: a\n\n", None),
            (": data: a\n\n", None),
        ] {
            assert_eq!(Event(event.into()).data().as_deref(), expected.map(str::as_bytes), "{event:?}");
        }
    }

    /// Cutting each from the front of the others would move a terabyte here.
    #[test]
    fn a_chunk_full_of_blank_lines_takes_no_longer_than_another() {
        let (mut splitter, mut count) = (Splitter::new(10 << 20), 0);
        splitter.push(&b"\n".repeat(4 << 20), |event| count += event.0.len()).unwrap();
        assert_eq!(count, 4 << 20);
    }

    #[test]
    fn what_an_event_is_called() {
        for (event, expected) in [
            ("event: endpoint\ndata: /a\n\n", true),
            ("data: /a\nevent:endpoint\r\n\n", true),
            ("event: endpoint\nevent: message\n\n", true),
            ("\u{feff}event: endpoint\n\n", true),
            ("event: Endpoint\n\n", false),
            ("event: endpoints\n\n", false),
            ("data: endpoint\n\n", false),
            (": event: endpoint\n\n", false),
        ] {
            assert_eq!(Event(event.into()).is_called(b"endpoint"), expected, "{event:?}");
        }
    }

    #[test]
    fn an_endless_event_is_cut_off() {
        let mut splitter = Splitter::new(10);
        assert_eq!(splitter.push(b"data: aaaaaaaaaaaaaaaa", |_| {}), Err(TooLong));
    }
}
