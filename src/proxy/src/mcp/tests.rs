//! Methods by era, and headers against bodies.

use super::*;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn message(text: &str) -> Message {
    crate::jsonrpc::read(text.as_bytes()).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// Code of the refusal, or 0.
fn code_of(pairs: &[(&'static str, &str)], text: &str) -> i32 {
    of_message(&headers(pairs), &message(text)).err().map_or(0, |refused| refused.code)
}

#[test]
fn methods_by_era() {
    for (method, legacy, modern) in [
        ("initialize", Ok(Action::Session), Err(-32601)),
        ("ping", Ok(Action::Session), Err(-32601)),
        ("logging/setLevel", Ok(Action::Session), Err(-32601)),
        ("server/discover", Err(-32601), Ok(Action::Session)),
        ("subscriptions/listen", Err(-32601), Ok(Action::Listen { resources: &[], further: false })),
        ("tools/list", Ok(Action::List(Catalog::Tools)), Ok(Action::List(Catalog::Tools))),
        ("resources/list", Ok(Action::List(Catalog::Resources)), Ok(Action::List(Catalog::Resources))),
        ("completion/complete", Err(-32602), Err(-32602)),
        ("prompts/get", Err(-32602), Err(-32020)),
        ("resources/read", Err(-32602), Err(-32020)),
        ("resources/subscribe", Err(-32602), Err(-32601)),
        (
            "notifications/cancelled",
            Ok(Action::Method("notifications/cancelled")),
            Ok(Action::Method("notifications/cancelled")),
        ),
        ("Tools/List", Ok(Action::Method("Tools/List")), Ok(Action::Method("Tools/List"))),
        ("Tools/Call", Ok(Action::Unknown("Tools/Call")), Ok(Action::Unknown("Tools/Call"))),
        ("tools/call ", Ok(Action::Unknown("tools/call ")), Err(-32020)),
        ("tasks/get", Ok(Action::Method("tasks/get")), Err(-32020)),
        ("tasks/list", Ok(Action::Method("tasks/list")), Ok(Action::Method("tasks/list"))),
    ] {
        let asked = |pairs: &[(&'static str, &str)], params: &str| {
            let message = message(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#));
            of_message(&headers(pairs), &message)
                .map(|asked| format!("{:?}", asked.action))
                .map_err(|refused| refused.code)
        };
        let shown = |expected: Result<Action<'_>, i32>| expected.map(|action| format!("{action:?}"));
        assert_eq!(asked(&[], ""), shown(legacy), "{method}");
        let mirrored = [("mcp-protocol-version", MODERN), ("mcp-method", method)];
        assert_eq!(asked(&mirrored, META), shown(modern), "{method}");
    }
}

#[test]
fn a_call_sent_as_a_notification_is_no_call() {
    let text = message(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo"}}"#);
    assert_eq!(of_message(&headers(&[]), &text).unwrap().action, Action::Unknown("tools/call"));
    let text = message(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#);
    assert_eq!(of_message(&headers(&[]), &text).unwrap().action, Action::Method("notifications/x"));
}

#[test]
fn completing_is_about_what_is_completed() {
    let action = |reference: &str| {
        let text = message(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{{"ref":{reference},"argument":{{}}}}}}"#
        ));
        of_message(&headers(&[]), &text).map(|asked| format!("{:?}", asked.action)).map_err(|refused| refused.code)
    };
    assert_eq!(action(r#"{"type":"ref/prompt","name":"a","title":"A"}"#), Ok(r#"GetPrompt("a")"#.into()));
    assert_eq!(action(r#"{"type":"ref/resource","uri":"a:{b}"}"#), Ok(r#"ReadTemplate("a:{b}")"#.into()));
    for odd in [r#"{"type":"ref/prompt","name":"a","uri":"a:b"}"#, r#"{"type":"ref/x","name":"a"}"#, "{}"] {
        assert_eq!(action(odd), Err(-32602), "{odd}");
    }
}

#[test]
fn prompts_and_resources_are_named() {
    for (method, params, expected) in [
        ("prompts/get", r#"{"name":"a"}"#, r#"GetPrompt("a")"#),
        ("resources/read", r#"{"uri":"a:b"}"#, r#"ReadResource("a:b")"#),
        ("resources/subscribe", r#"{"uri":"a:b"}"#, r#"ReadResource("a:b")"#),
        ("resources/unsubscribe", r#"{"uri":"a:b"}"#, r#"ReadResource("a:b")"#),
    ] {
        let text = message(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#));
        assert_eq!(format!("{:?}", of_message(&headers(&[]), &text).unwrap().action), expected);
    }
}

#[test]
fn answers_are_of_the_legacy_era() {
    let text = message(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(of_message(&headers(&[]), &text).unwrap().action, Action::Session);
    assert!(of_message(&headers(&[("mcp-protocol-version", MODERN)]), &text).is_err());
}

#[test]
fn revisions_are_known_or_refused() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (version, expected) in [
        ("2025-11-25", 0),
        ("2025-06-18", 0),
        ("2025-03-26", 0),
        ("2024-11-05", 0),
        (" 2025-06-18 ", 0),
        ("2027-01-01", -32022),
        ("", -32022),
        ("2025-06-18,2026-07-28", -32022),
    ] {
        assert_eq!(code_of(&[("mcp-protocol-version", version)], ping), expected, "{version:?}");
    }
    let refused = of_message(&headers(&[("mcp-protocol-version", "2027-01-01")]), &message(ping)).unwrap_err();
    assert_eq!(refused.data.unwrap()["supported"][0], MODERN);
}

#[test]
fn eras_are_not_mixed() {
    let modern_body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    assert_eq!(code_of(&[], &modern_body), -32020);
    assert_eq!(code_of(&[("mcp-protocol-version", LEGACY)], &modern_body), -32020);
    let legacy_body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(code_of(&[("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")], legacy_body), -32602);
    let other = modern_body.replace(MODERN, LEGACY);
    assert_eq!(code_of(&[("mcp-protocol-version", MODERN), ("mcp-method", "tools/list")], &other), -32020);
    assert!(of_session(&headers(&[("mcp-protocol-version", MODERN)]), "GET").unwrap().is_none());
    assert!(of_session(&headers(&[("mcp-protocol-version", "x")]), "GET").is_err());
    assert!(of_session(&headers(&[]), "GET").unwrap().is_some());
}

#[test]
fn mirrored_headers_agree_with_the_body() {
    let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"café",{META}}}}}"#);
    let plain = call.replace("café", "echo");
    let version = ("mcp-protocol-version", MODERN);
    let method = ("mcp-method", "tools/call");
    for (text, pairs, expected) in [
        (&plain, vec![version, method, ("mcp-name", "echo")], 0),
        (&plain, vec![version, method, ("mcp-name", "=?base64?ZWNobw==?=")], 0),
        (&call, vec![version, method, ("mcp-name", "=?base64?Y2Fmw6k=?=")], 0),
        (&plain, vec![version, method, ("mcp-name", "Echo")], -32020),
        (&plain, vec![version, method, ("mcp-name", "=?base64?ZWNobw?=")], -32020),
        (&plain, vec![version, method, ("mcp-name", "=?base64?!!?=")], -32020),
        (&plain, vec![version, method], -32020),
        (&plain, vec![version, ("mcp-name", "echo")], -32020),
        (&plain, vec![version, ("mcp-method", "tools/list"), ("mcp-name", "echo")], -32020),
        (&plain, vec![version, ("mcp-method", "TOOLS/CALL"), ("mcp-name", "echo")], -32020),
        (&plain, vec![method, ("mcp-name", "echo")], -32020),
    ] {
        assert_eq!(code_of(&pairs, text), expected, "{pairs:?}");
    }
}

#[test]
fn a_call_names_its_tool() {
    for params in ["{}", r#"{"name":1}"#, r#"{"name":null}"#, r#"{"name":["echo"]}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        assert_eq!(code_of(&[], &text), -32602, "{params}");
    }
}
