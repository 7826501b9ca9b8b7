//! The checks: what was tried, what should come of it, what came of it.

use std::fmt;

/// All checks, in the order in which they were made.
#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

struct Row {
    what: String,
    expected: String,
    got: String,
    passed: bool,
}

impl Table {
    /// Adds a check.
    pub(crate) fn check(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
        passed: bool,
    ) {
        self.0.push(Row { what: what.into(), expected: expected.into(), got: got.into(), passed });
    }

    pub(crate) fn passed(&self) -> usize {
        self.0.iter().filter(|row| row.passed).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.0.len() - self.passed()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Row) -> &str, title: &str| {
            self.0.iter().map(|row| column(row).chars().count()).chain([title.len()]).max().unwrap_or_default()
        };
        let (what, expected) = (width(|row| &row.what, "check"), width(|row| &row.expected, "expected"));
        writeln!(out, "     {:what$}  {:expected$}  got", "check", "expected")?;
        for row in &self.0 {
            let mark = if row.passed { "ok  " } else { "FAIL" };
            writeln!(out, "{mark} {:what$}  {:expected$}  {}", row.what, row.expected, row.got)?;
        }
        Ok(())
    }
}
