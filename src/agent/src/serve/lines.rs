//! Lines of a process, within a bound: one that is longer is skipped without being kept (E33).

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that are read at once.
const CHUNK: usize = 8 << 10;

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// One within the bound.
    Whole(Vec<u8>),
    /// One that was longer.
    TooLong,
}

/// Cuts what comes into lines.
pub(crate) struct Lines<R> {
    from: R,
    limit: usize,
    buffer: Vec<u8>,
    /// Here the line begins that is looked at.
    start: usize,
    /// Up to here no line ends.
    scanned: usize,
    skipping: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub(crate) fn new(from: R, limit: usize) -> Self {
        Self { from, limit, buffer: Vec::new(), start: 0, scanned: 0, skipping: false }
    }

    /// The next line; none at the end. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.cut() {
                return Some(line);
            }
            self.buffer.reserve(CHUNK);
            let read = (&mut self.from).take(CHUNK as u64).read_buf(&mut self.buffer).await;
            if !read.is_ok_and(|count| count > 0) {
                return self.rest();
            }
        }
    }

    fn cut(&mut self) -> Option<Line> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        if let Some(length) = memchr::memchr(b'\n', unseen) {
            let end = self.scanned + length;
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            let whole = !std::mem::take(&mut self.skipping) && line.len() <= self.limit;
            let line = if whole { Line::Whole(line.to_vec()) } else { Line::TooLong };
            (self.start, self.scanned) = (end + 1, end + 1);
            return Some(line);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        if self.skipping || self.buffer.len() > self.limit {
            self.skipping = true;
            self.buffer.clear();
        }
        if self.buffer.is_empty() {
            // A process may be silent for hours.
            self.buffer = Vec::new();
        }
        self.scanned = self.buffer.len();
        None
    }

    fn rest(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.buffer);
        (self.start, self.scanned) = (0, 0);
        if std::mem::take(&mut self.skipping) {
            return Some(Line::TooLong);
        }
        (!rest.is_empty()).then_some(Line::Whole(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::new(bytes, 10_000);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await {
            found.push(match line {
                Line::Whole(line) if line.len() > 100 => format!("{} bytes", line.len()),
                Line::Whole(line) => String::from_utf8(line).unwrap(),
                Line::TooLong => "too long".to_owned(),
            });
        }
        found
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_costs_nobody_but_itself() {
        let long = |length| "x".repeat(length);
        let text = format!("a\n\n{}\nb\n{}\nc\n{}\nd", long(10_000), long(10_001), long(100_000));
        let expected = ["a", "", "10000 bytes", "b", "too long", "c", "too long", "d"];
        assert_eq!(all(text.as_bytes()).await, expected);
        assert_eq!(all(format!("a\n{}", long(100_000)).as_bytes()).await, ["a", "too long"]);
    }

    #[tokio::test]
    async fn what_is_kept_of_a_long_line_is_bounded() {
        let text = "x".repeat(50 << 20);
        let mut lines = Lines::new(text.as_bytes(), 10_000);
        assert_eq!(lines.next().await, Some(Line::TooLong));
        assert!(lines.buffer.capacity() < 100_000, "{}", lines.buffer.capacity());
        assert_eq!(lines.next().await, None);
    }
}
