//! Lists through the filter, byte for byte.

use std::sync::Arc;

use cardea_policy::Evidence;

use super::*;
use crate::authn::Means;
use crate::known::Known;

/// A filter for a caller who may call `echo` and `get_*`, but not `get_secret`.
fn filter(era: Era) -> Filter {
    let config = serde_json::json!({
        "generation": 1, "namespace": "a", "name": "b", "resource": "https://b/mcp", "hosts": ["b"],
        "trustDomain": "cluster.local", "operator": "spiffe://cluster.local/o", "clientAuth": "None",
        "upstream": {"listens": {"port": 1}, "path": "/"}, "authentication": {"issuers": [], "clientCertificates": true},
        "rules": [
            {"name": "all", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["echo", "get_*"]},
            {"name": "not", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["get_secret"]}
        ],
        "limits": {"maxBodyBytes": 1, "requestSeconds": 1, "concurrent": 1}, "audit": "None"
    });
    let metrics = Arc::new(Metrics::new());
    let means = Means::new(Default::default(), Default::default(), metrics.clone());
    let config = Arc::new(ConfigStore::of(&config.to_string(), means));
    let evidence = Evidence::Certificate { spiffe_id: None };
    let principal = Arc::new(Principal::named("x".into(), u64::MAX, evidence));
    Filter {
        config,
        metrics,
        principal,
        era,
        private: false,
        known: Arc::new(Known::new(std::time::Duration::ZERO)),
        read: Slots::default(),
    }
}

fn filtered(era: Era, message: &str) -> Result<String, Unfit> {
    let outcome = filter(era).message(message.as_bytes())?;
    Ok(outcome.map_or_else(|| message.to_owned(), |bytes| String::from_utf8(bytes).unwrap()))
}

#[test]
fn what_is_kept_is_kept_to_the_byte() {
    let list = r#"{"jsonrpc":"2.0", "id": 7,"result":{"nextCursor":"c","tools":[ {"name":"echo", "x":1.0, "y":"\u00e9"} ,{"name":"drop"},{"name":"get_a"}],"ttlMs":5, "other" : [1, 2]},"z":null}"#;
    let expected = r#"{"jsonrpc":"2.0","id":7,"result":{"nextCursor":"c","tools":[{"name":"echo", "x":1.0, "y":"\u00e9"},{"name":"get_a"}],"ttlMs":5,"other":[1, 2]},"z":null}"#;
    assert_eq!(filtered(Era::Legacy, list).unwrap(), expected);
}

#[test]
fn a_modern_list_is_private() {
    for (list, expected) in [
        (r#"{"result":{"tools":[],"cacheScope":"public"}}"#, r#"{"result":{"tools":[],"cacheScope":"private"}}"#),
        (r#"{"result":{"tools":[]}}"#, r#"{"result":{"tools":[],"cacheScope":"private"}}"#),
    ] {
        assert_eq!(filtered(Era::Modern, list).unwrap(), expected);
    }
    assert_eq!(filtered(Era::Legacy, r#"{"result":{"tools":[]}}"#).unwrap(), r#"{"result":{"tools":[]}}"#);
}

#[test]
fn what_has_no_list_is_not_touched() {
    for message in [
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"data":{"tools":[]}}}"#,
        r#"{"jsonrpc":"2.0", "method":"sampling/createMessage","params":{"tools":[{"name":"drop"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{ "content": [] }}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[]}"#,
    ] {
        assert_eq!(filtered(Era::Modern, message).unwrap(), message);
    }
}

#[test]
fn what_is_hidden_by_no_trick_shown() {
    for (tools, expected) in [
        (r#"{"name":"get_secret"}"#, ""),
        (r#"{"name":"get_\u0073ecret"}"#, ""),
        (r#"{"name":"drop","name":"echo"}"#, ""),
        (r#"{"name":"echo","name":"drop"}"#, ""),
        (r#"{"Name":"echo"}"#, ""),
        (r#"{"name":["echo"]}"#, ""),
        (r#""echo""#, ""),
        (r#"{"name":"\u0065cho"}"#, r#"{"name":"\u0065cho"}"#),
    ] {
        let list = format!(r#"{{"result":{{"tools":[{tools}]}}}}"#);
        assert_eq!(filtered(Era::Legacy, &list).unwrap(), format!(r#"{{"result":{{"tools":[{expected}]}}}}"#));
    }
    let other =
        r#"{"result":{"prompts":[{"name":"echo"}],"resources":[{"uri":"a"}],"resourceTemplates":[{}],"tools":[]}}"#;
    let expected = r#"{"result":{"prompts":[],"resources":[],"resourceTemplates":[],"tools":[]}}"#;
    assert_eq!(filtered(Era::Legacy, other).unwrap(), expected);
}

#[test]
fn what_cannot_be_read_in_one_way_is_not_shown() {
    for message in [
        "",
        "no json",
        r#"[{"result":{"tools":[{"name":"drop"}]}}]"#,
        r#"{"result":{"tools":[]},"result":{"tools":[{"name":"drop"}]}}"#,
        r#"{"result":{"tools":[],"tools":[{"name":"drop"}]}}"#,
        r#"{"result":{"tools":{"name":"drop"}}}"#,
        r#"{"result":{"tools":[{"name":"drop"}], "x": NaN}}"#,
        "\u{feff}{\"result\":{\"tools\":[{\"name\":\"drop\"}]}}",
    ] {
        assert!(filtered(Era::Legacy, message).is_err(), "{message}");
    }
}

#[test]
fn events_are_filtered_one_by_one() {
    let filter = filter(Era::Legacy);
    let event = |text: &str| filter.event(Event(text.into())).map(|event| String::from_utf8(event.0).unwrap());
    for kept in [": ping\n\n", "id: 1\ndata:\n\n", "retry: 5\n\n", "data: {\"method\":\"notifications/message\"}\n\n"] {
        assert_eq!(event(kept).as_deref(), Some(kept));
    }
    assert_eq!(
        event("id: 2\ndata: {\"result\":\ndata: {\"tools\":[{\"name\":\"drop\"}]}}\n\n").as_deref(),
        Some("id: 2\ndata: {\"result\":{\"tools\":[]}}\n\n")
    );
    assert_eq!(event("data: [{\"result\":{\"tools\":[{\"name\":\"drop\"}]}}]\n\n"), None);
}
