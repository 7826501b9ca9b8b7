//! Arguments in headers (rows 25 and 26): what stands before the proxy may go by the header, and the server by the body.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{World, message, tool_call, with_header};

fn modern(tool: &str, arguments: &Value, sent: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string();
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", tool)];
    headers.iter().chain(sent).fold(message(body), |request, (name, value)| with_header(request, name, value))
}

fn region(header: &str) -> Value {
    json!({"name": "echo", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": header},
        "copies": {"type": "integer", "x-mcp-header": "Copies"}
    }}})
}

#[tokio::test]
async fn headers_say_what_the_body_says_once_the_tool_is_known() {
    let world = World::start().await;
    world.server.with_tools([region("Region"), json!({"name": "get_a"})]);
    let other = ("mcp-param-region", "us");
    // Of a tool that is not known nothing is asked.
    assert_eq!(world.alice(modern("echo", &json!({"region": "eu"}), &[other])).await.status, 200);
    world.report().await;
    for (arguments, sent, status) in [
        (json!({"region": "eu"}), &[("mcp-param-region", "eu")][..], 200),
        (json!({"region": "é"}), &[("mcp-param-region", "=?base64?w6k=?=")], 200),
        (json!({"region": "eu", "copies": 2}), &[("mcp-param-region", "eu"), ("mcp-param-copies", "2.0")], 200),
        (json!({}), &[], 200),
        (json!({"region": null}), &[], 200),
        (json!({"region": "eu"}), &[("mcp-param-region", "eu"), ("mcp-param-unknown", "x")], 200),
        (json!({"region": "eu"}), &[other], 400),
        (json!({"region": "eu"}), &[], 400),
        (json!({}), &[other], 400),
        (json!({"copies": 2}), &[("mcp-param-copies", "3")], 400),
    ] {
        world.server.forget();
        let answer = world.alice(modern("echo", &arguments, sent)).await;
        assert_eq!(answer.status, status, "{arguments} {sent:?}");
        if status == 400 {
            assert_eq!((answer.code(), world.server.seen().len()), (-32020, 0), "{arguments} {sent:?}");
        }
    }
    assert_eq!(world.alice(modern("get_a", &json!({"region": "eu"}), &[other])).await.status, 200);
    // Who may not call it is not told what it takes.
    assert_eq!(world.alice(modern("hidden", &json!({"region": "eu"}), &[other])).await.status, 403);
    // The legacy era has no such headers.
    assert_eq!(world.alice(tool_call("echo", json!({"region": "eu"}))).await.status, 200);
}
