//! Takes secrets out of what a server says before it is logged: what looks like one, and the very values that it was
//! given, as they are and as programs encode them.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use cardea_policy::Redaction;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Shorter ones would be found everywhere, and guessed.
const SHORTEST: usize = 4;
/// Most forms of values that are looked for. Older ones are of versions that nobody has any more.
const MAX_FORMS: usize = 2000;

/// What is looked for. Clones are the same.
#[derive(Clone)]
pub(crate) struct Scrub {
    patterns: Arc<Redaction>,
    forms: Arc<Mutex<Vec<Zeroizing<Vec<u8>>>>>,
}

impl Scrub {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let patterns = Redaction::compile(&cardea_contract::Redact::default())?;
        Ok(Self { patterns: Arc::new(patterns), forms: Arc::default() })
    }

    /// Looks for these from now on, and for those before.
    pub(crate) fn learn<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) {
        let mut known = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        for form in values.into_iter().flat_map(forms) {
            if !known.contains(&form) {
                known.push(form);
            }
        }
        let surplus = known.len().saturating_sub(MAX_FORMS);
        known.drain(..surplus);
        // A value within another goes last.
        known.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text without secrets.
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        let mut text = bytes.to_vec();
        for form in self.forms.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if memchr::memmem::find(&text, form).is_some() {
                text = without(&text, form);
            }
        }
        let text = String::from_utf8_lossy(&text);
        self.patterns.text(&text).into_owned()
    }
}

fn without(text: &[u8], form: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(text, form) {
        left.extend_from_slice(text.get(from..at).unwrap_or_default());
        left.extend_from_slice(Redaction::cut().as_bytes());
        from = at + form.len();
    }
    left.extend_from_slice(text.get(from..).unwrap_or_default());
    left
}

/// A value as it may stand in a line: as it is, each of its lines, in JSON, in base64 from any of three places of a
/// longer text, in hexadecimal, in a URL.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let value = value.trim_ascii();
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut forms: Vec<Zeroizing<Vec<u8>>> = lines.map(|line| Zeroizing::new(line.to_vec())).collect();
    let mut add = |text: String| forms.push(Zeroizing::new(text.into_bytes()));
    if value.len() >= SHORTEST {
        for skipped in 0..3 {
            // Letters that hold bits of the value alone: not the first and the last, which neighbours share.
            let rest = value.get((3 - skipped) % 3..).unwrap_or_default();
            let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
            add(STANDARD_NO_PAD.encode(whole));
            add(URL_SAFE_NO_PAD.encode(whole));
        }
        add(STANDARD_NO_PAD.encode(value));
        add(URL_SAFE_NO_PAD.encode(value));
        let hex = value.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        add(hex.to_uppercase());
        add(hex);
        add(form_urlencoded::byte_serialize(value).collect());
        add(percent(value));
        add(percent(value).to_lowercase());
        if let Ok(text) = str::from_utf8(value) {
            let json = serde_json::to_string(text).unwrap_or_default();
            add(json.trim_matches('"').to_owned());
        }
    }
    forms.retain(|form| form.len() >= SHORTEST);
    forms
}

/// As RFC 3986 has it, a space too.
fn percent(value: &[u8]) -> String {
    value.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_value_is_found_in_every_form_and_what_looks_like_a_secret_too() {
        let scrub = Scrub::new().unwrap();
        let value = b"ca+na/ry \"17\" ?value";
        scrub.learn([&value[..], b"one line of two\nanother line"]);
        let text = str::from_utf8(value).unwrap();
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut said = vec![
            text.to_owned(),
            STANDARD.encode(value),
            STANDARD.encode(format!("user:{text}")),
            STANDARD.encode(format!("u:{text}:x")),
            STANDARD.encode(format!("us:{text}")),
            hex.to_uppercase(),
            hex,
            form_urlencoded::byte_serialize(value).collect(),
            serde_json::to_string(&serde_json::json!({ "a": text })).unwrap(),
            "and another line".to_owned(),
            "ghp_0123456789abcdef".to_owned(),
        ];
        for line in &mut said {
            let scrubbed = scrub.text(format!("before {line} after").as_bytes());
            assert!(scrubbed.contains("[redacted]"), "{line}: {scrubbed}");
            assert!(scrubbed.starts_with("before ") && scrubbed.ends_with(" after"), "{scrubbed}");
        }
        assert_eq!(scrub.text(b"nothing to hide"), "nothing to hide");
    }
}
