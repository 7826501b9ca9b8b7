//! Text of manifests and servers as a terminal may have it: an escape sequence in a name would show something else than what
//! is answered, and a line end a line that nobody wrote.

/// The text, with what is no visible letter written out.
pub(crate) fn shown(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '"' | '\'' | '\\') {
            all.push(letter);
        } else {
            all.extend(letter.escape_debug());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(shown("group \"é\" \\ 日本"), "group \"é\" \\ 日本");
        assert_eq!(shown("a\u{1b}[2K\r\nb\u{9b}1m\u{202e}\u{7f}"), "a\\u{1b}[2K\\r\\nb\\u{9b}1m\\u{202e}\\u{7f}");
    }
}
