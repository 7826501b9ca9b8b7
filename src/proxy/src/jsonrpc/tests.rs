//! The table of bad input (E1 to E4) and what is read from good input.

use super::strict::MAX_DEPTH;
use super::*;

fn call(inner: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{inner}}}}}"#)
}

#[test]
fn what_decides_is_read() {
    let message = read(
        br#" {"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"e\u0063ho","arguments":{"a":[1,{"b":null}]},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","x":1}}} "#,
    )
    .unwrap();
    assert_eq!(message.kind, Kind::Request { id: Id::Text("a".into()), method: "tools/call".into() });
    assert_eq!(message.params.name, Member::Text("echo".into()));
    assert_eq!(message.params.version, Member::Text("2026-07-28".into()));
    assert_eq!(read(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap().kind, Kind::Answer);
    assert_eq!(read(br#"{"jsonrpc":"2.0","id":1,"error":{}}"#).unwrap().kind, Kind::Answer);
    let notification = read(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).unwrap();
    assert_eq!(notification.kind, Kind::Notification { method: "notifications/initialized".into() });
    let odd = read(br#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":{"a":1}}}"#).unwrap();
    assert_eq!(odd.params.name, Member::OtherType);
}

#[test]
fn what_is_listened_to_is_read() {
    let listens = |filter: &str| {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{filter}}}}}"#
        );
        read(text.as_bytes()).map(|message| (message.params.listens.resources.len(), message.params.listens.further))
    };
    assert_eq!(listens(r#"{"toolsListChanged":true,"promptsListChanged":false}"#), Ok((0, false)));
    assert_eq!(listens(r#"{"toolsListChanged":true,"resourceSubscriptions":["file:///etc","a:b"]}"#), Ok((2, false)));
    assert_eq!(listens(r#"{"resourceSubscriptions":null}"#), Ok((0, false)));
    assert_eq!(listens(r#"{"other":true}"#), Ok((0, true)));
    assert_eq!(listens(r#"{"toolsListChanged":[]}"#), Err(Malformed::Invalid));
    assert_eq!(listens(r#"{"resourceSubscriptions":"file:///etc"}"#), Err(Malformed::Invalid));
    assert_eq!(listens(r#"{"resourceSubscriptions":[{"uri":"file:///etc"}]}"#), Err(Malformed::Invalid));
    assert_eq!(listens(r#"{"ResourceSubscriptions":["file:///etc"]}"#), Err(Malformed::Invalid));
    assert_eq!(listens(r#"["resourceSubscriptions"]"#), Err(Malformed::Invalid));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    use Malformed::{Invalid, Syntax};
    let deep = |depth: usize| call(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    for (body, expected) in [
        // Batches.
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#.to_owned(), Invalid),
        ("[]".into(), Invalid),
        // Duplicates, spelt alike or not.
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","na\u006de":"b"}}"#.into(), Invalid),
        (call(r#"{"a":{"b":1,"b":2}}"#), Invalid),
        (call(r#"[{"b":1,"\u0062":2}]"#), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"a":1,"a":1}}}"#.into(), Invalid),
        // Names that a laxer parser folds.
        (r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name\u0000":"b"}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","argumentſ":{}}}"#.into(), Invalid),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/ProtocolVersion":"a"}}}"#
                .into(),
            Invalid,
        ),
        // Members that no message has, and messages that are none.
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.into(), Invalid),
        (r#"{"id":1,"method":"ping"}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","result":{}}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#.into(), Invalid),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#.into(), Invalid),
        (r#""ping""#.into(), Invalid),
        // Depth: the message and its params count.
        (deep(MAX_DEPTH - 1), Invalid),
        (deep(10_000), Invalid),
        // No JSON.
        (call("{}") + "x", Syntax),
        (call("{}") + "\0", Syntax),
        (call("{}") + &call("{}"), Syntax),
        (format!("\u{feff}{}", call("{}")), Syntax),
        (call("NaN"), Syntax),
        (call("1e999"), Syntax),
        (call(r#""\ud800""#), Syntax),
        (call("{'a':1}"), Syntax),
        (call("[1,]"), Syntax),
        (String::new(), Syntax),
    ] {
        assert_eq!(read(body.as_bytes()), Err(expected), "{}", body.get(..200).unwrap_or(&body));
    }
    assert_eq!(read(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), Err(Syntax));
    assert!(read(deep(MAX_DEPTH - 2).as_bytes()).is_ok());
}

#[test]
fn many_names_are_still_compared() {
    let names: Vec<_> = (0..5000).map(|number| format!("\"k{number}\":0")).collect();
    assert!(read(call(&format!("{{{}}}", names.join(","))).as_bytes()).is_ok());
    assert!(read(call(&format!("{{{},\"k3\":1}}", names.join(","))).as_bytes()).is_err());
    assert!(read(call(&format!("{{{},\"k4000\":1}}", names.join(","))).as_bytes()).is_err());
}
