//! Arguments that clients send in headers too, beside the body (row 25). What stands before the proxy may go by the header,
//! and the server goes by the body, so they must say the same.
//!
//! Which arguments these are is known from the tool's definition; of a tool that is not known nothing is asked (row 26).

use std::sync::Arc;

use cardea_contract::Listens;
use cardea_policy::{Arguments, Mirror};
use http::HeaderMap;
use serde_json::Value;

use crate::Proxy;
use crate::config::Snapshot;
use crate::given::Given;
use crate::headers::PARAMETER;
use crate::known::Look;
use crate::mcp::{self, Refused};

/// Checks the headers of a call of this tool, with this body.
///
/// # Errors
/// When one does not agree with the body, by what is known of the tool now.
pub(crate) async fn check(
    proxy: &Arc<Proxy>,
    snapshot: &Arc<Snapshot>,
    tool: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Refused> {
    let agrees = |look: &Look| agree(look.mirrors(tool), headers, &Given::new(Some(body)));
    let upstream = &snapshot.config.upstream;
    let fits = match (proxy.known.last(upstream), &upstream.listens) {
        (Some(look), _) => agrees(&look),
        // A server that speaks HTTP looks by itself.
        (None, Listens::Port(_)) => true,
        // One that speaks stdio sees no headers.
        (None, Listens::Socket(_)) => false,
    };
    if fits {
        return Ok(());
    }
    // It may be the tool that has changed.
    let look = proxy.known.look(proxy, snapshot).await;
    if agrees(&look) { Ok(()) } else { Err(Refused::parameter()) }
}

fn agree(mirrors: &[Mirror], headers: &HeaderMap, arguments: &impl Arguments) -> bool {
    if mirrors.is_empty() {
        return true;
    }
    let Some(arguments) = arguments.value() else { return false };
    mirrors.iter().all(|mirror| {
        let sent = headers.get(format!("{PARAMETER}{}", mirror.header)).map(mcp::mirrored);
        match (sent, mirror.value(arguments)) {
            (None, None) => true,
            (Some(Some(sent)), Some(value)) => says(&sent, value),
            (Some(_), _) | (None, Some(_)) => false,
        }
    })
}

/// Whether a header says this value.
fn says(sent: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => sent == text,
        Value::Bool(value) => sent == if *value { "true" } else { "false" },
        Value::Number(number) => match (sent.parse::<i128>(), number.as_i128()) {
            (Ok(sent), Some(number)) => sent == number,
            // `42.0` and `42` are one number.
            _ => sent.parse::<f64>().ok().filter(|sent| sent.is_finite()) == number.as_f64(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_header_says_what_the_body_says() {
        let mirror = |header: &str| Mirror { header: header.to_owned(), path: vec!["a".into()] };
        for (sent, arguments, expected) in [
            (Some("eu"), json!({"a": "eu"}), true),
            (Some("EU"), json!({"a": "eu"}), false),
            (Some("=?base64?w6k=?="), json!({"a": "é"}), true),
            (Some("=?base64?w6k=?="), json!({"a": "=?base64?w6k=?="}), false),
            (Some("42"), json!({"a": 42}), true),
            (Some("42.0"), json!({"a": 42}), true),
            (Some("42"), json!({"a": 42.0}), true),
            (Some("42"), json!({"a": "42"}), true),
            (Some("43"), json!({"a": 42}), false),
            (Some("x"), json!({"a": 42}), false),
            (Some("inf"), json!({"a": 42}), false),
            (Some("true"), json!({"a": true}), true),
            (Some("True"), json!({"a": true}), false),
            (Some("1"), json!({"a": true}), false),
            (Some("[]"), json!({"a": []}), false),
            (None, json!({"a": "eu"}), false),
            (None, json!({"a": null}), true),
            (None, json!({}), true),
            (Some("eu"), json!({}), false),
            (Some("null"), json!({"a": null}), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(sent.map(|sent| (http::HeaderName::from_static("mcp-param-region"), sent.parse().unwrap())));
            assert_eq!(agree(&[mirror("region")], &headers, &arguments), expected, "{sent:?} {arguments}");
        }
    }
}
