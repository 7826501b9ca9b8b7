//! Finds a value in a text, in every form that it commonly takes.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The forms of a value.
fn forms(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let plus = form_urlencoded::byte_serialize(bytes).collect::<String>();
    let quoted = serde_json::to_string(value).unwrap().trim_matches('"').to_owned();
    let mut forms = vec![value.to_owned(), hex.to_uppercase(), hex, percent.to_lowercase(), percent, plus, quoted];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        // Inside of something longer its letters depend on where it begins; those at the ends depend on its neighbours.
        for before in 0..3 {
            let text = engine.encode([&b"\0\0"[..before], bytes].concat());
            forms.push(text[if before == 0 { 0 } else { 4 }..text.len() - 2].to_owned());
        }
    }
    forms
}

/// The form in which the value stands in the text, if it does.
pub(crate) fn find(value: &str, text: &str) -> Option<String> {
    forms(value).into_iter().find(|form| text.contains(form))
}

#[test]
fn a_leak_is_found_in_every_form() {
    let value = "c4n4ry/+ \"of\" ünïcode?";
    let encoded: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let long = format!("around {value} it");
    for leak in [
        value.to_owned(),
        encoded,
        serde_json::to_string(value).unwrap(),
        base64::engine::general_purpose::STANDARD.encode(&long),
        base64::engine::general_purpose::URL_SAFE.encode(&long[1..]),
        STANDARD_NO_PAD.encode(&long[2..]),
        long.bytes().map(|byte| format!("{byte:02x}")).collect(),
        long.bytes().map(|byte| format!("%{byte:02X}")).collect(),
    ] {
        assert!(find(value, &format!("before {leak} after")).is_some(), "{leak}");
    }
    assert_eq!(find(value, "nothing of it"), None);
}
