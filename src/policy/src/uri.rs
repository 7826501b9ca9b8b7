//! URIs that read in one way only (RFC 3986 section 6.2.2). A glob is compared with the text of a URI, so `..`, `%65` for
//! `e` or `FILE:` would lead where the rule does not look.
//!
//! Knows nothing of schemes: what a server makes of a URI in normal form is its own affair.

/// Whether a URI is in normal form. One that is not may be read by nobody.
pub(crate) fn is_normal(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let scheme_is_normal = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", rest),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments = path.split('/').skip(usize::from(path.starts_with('/'))).peekable();
    let mut segments_are_normal = true;
    while let Some(segment) = segments.next() {
        // Only the last may be empty: a path may end in a slash.
        let empty = segment.is_empty() && segments.peek().is_some();
        segments_are_normal &= !empty && segment != "." && segment != "..";
    }
    scheme_is_normal
        && !authority.bytes().any(|byte| byte.is_ascii_uppercase())
        && segments_are_normal
        && uri.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && escapes_are_needed(uri)
}

/// Whether nothing is percent-encoded that could stand as it is, or that would part a path anew once decoded.
fn escapes_are_needed(uri: &str) -> bool {
    uri.split('%').skip(1).all(|rest| {
        let hex = rest.get(..2).filter(|hex| hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F')));
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_some_and(|byte| {
            !byte.is_ascii_alphanumeric() && !byte.is_ascii_control() && !b"-._~/\\".contains(&byte)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_in_one_way_or_by_nobody() {
        for (uri, expected) in [
            ("file:///docs/a.md", true),
            ("file:///docs/", true),
            ("test://static-text", true),
            ("demo://resource/dynamic/text/1", true),
            ("urn:example:a", true),
            ("https://host:8443/a%20b?x=..", true),
            ("ui://weather/..hidden", true),
            ("test://a/\u{fc}", false),
            ("file:///docs/../etc/passwd", false),
            ("file:///docs/..", false),
            ("file:///docs/./a", false),
            ("file:///docs/%2e%2e/etc", false),
            ("file:///docs/%2E%2E/etc", false),
            ("file:///docs/..%2Fetc", false),
            ("file:///docs%5C..%5Cetc", false),
            ("file:///docs\\..\\etc", false),
            ("file:////etc/passwd", false),
            ("file:///etc//passwd", false),
            ("file:///etc/pass%77d", false),
            ("file:///etc/a%c3%bc", false),
            ("file:///etc/a%", false),
            ("file:///etc/a%+1", false),
            ("file:///etc/a%00", false),
            ("file:///etc/a%0A", false),
            ("FILE:///etc/passwd", false),
            ("https://HOST/a", false),
            (" file:///a", false),
            ("file:///a b", false),
            ("file:///a\n", false),
            ("etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(is_normal(uri), expected, "{uri:?}");
        }
    }
}
