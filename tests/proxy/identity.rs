//! What of a caller reaches the server: its identity in our words, and nothing by which it proved it or would like to be
//! taken for another.

use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Client, Reply, World, eventually, message, tool_call, with_header};

const CANARY: &str = "canary-7d10";

/// Headers by which a server might be told who calls, or that end at each hop.
const SPOOFS: [&str; 44] = [
    "x-cardea-identity",
    "x_cardea_identity",
    "x-cardea_identity",
    "x-forwarded-user",
    "x_forwarded_user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client-cert",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "via",
    "remote-user",
    "remote_user",
    "x-remote-user",
    "x-remote-group",
    "x-user",
    "x-user-id",
    "x-auth-request-user",
    "x-auth-request-access-token",
    "x-authenticated-user",
    "impersonate-user",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "ssl-client-cert",
    "ssl-client-s-dn",
    "x-ssl-client-cert",
    "x_ssl_client_verify",
    "x-client-cert",
    "client-cert",
    "client-cert-chain",
    "x-api-key",
    "baggage",
    "x-request-id",
    "x-amzn-oidc-data",
    "cf-access-jwt-assertion",
];
const EVIDENCE: [&str; 7] = [
    "cookie",
    "cookie2",
    "proxy-authorization",
    "dpop",
    "x-authorization",
    "authorization-info",
    "x-forwarded-authorization",
];

/// Whether anything of what the server saw holds the canary, but for its own body.
fn leaked(world: &World) -> Vec<String> {
    let of = |seen: &crate::support::Seen| {
        let headers =
            seen.headers.iter().filter(|(_, value)| value.as_bytes().windows(11).any(|part| part == b"canary-7d10"));
        headers
            .map(|(name, _)| name.to_string())
            .chain(seen.uri.contains(CANARY).then(|| seen.uri.clone()))
            .collect::<Vec<_>>()
    };
    world.server.seen().iter().flat_map(of).collect()
}

#[tokio::test]
async fn e11_whoever_else_a_caller_claims_to_be_the_server_sees_one_identity_and_it_is_ours() {
    let world = World::with(|config| {
        config["identityHeaders"] = json!({"subject": "X-Forwarded-User", "groups": "x-forwarded-groups"});
    })
    .await;
    for name in SPOOFS {
        let mut request = world.as_alice(tool_call("echo", json!({})));
        for value in [CANARY, "canary-7d10-again"] {
            request = with_header(request, name, value);
        }
        assert_eq!(world.anonymous().send(request).await.status, 200, "{name}");
        assert_eq!(leaked(&world), [""; 0], "{name}");
        let seen = world.server.only();
        for (name, value) in
            [("x-forwarded-user", Some("alice")), ("x-forwarded-groups", Some("dev")), ("x-cardea-identity", None)]
        {
            let values: Vec<_> = seen.headers.get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{name}");
            assert!(value.is_none_or(|value| values[0] == value), "{name}: {values:?}");
        }
        world.server.forget();
    }
}

#[tokio::test]
async fn e11_nor_is_it_told_in_trailers() {
    let world = World::start().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let answer = world
        .anonymous()
        .raw(
            format!(
                "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\ncontent-type: application/json\r\n\
                 authorization: Bearer {}\r\ntrailer: x-cardea-identity\r\ntransfer-encoding: chunked\r\n\r\n\
                 {:x}\r\n{body}\r\n0\r\nx-cardea-identity: {CANARY}\r\nx-forwarded-user: {CANARY}\r\n\r\n",
                world.token(&json!({})),
                body.len()
            )
            .as_bytes(),
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = world.server.only();
    assert_eq!(seen.body.as_ref(), body.as_bytes());
    assert!(!seen.headers.contains_key("trailer") && !seen.headers.contains_key("transfer-encoding"));
    assert_eq!(seen.headers.get_all("x-cardea-identity").iter().count(), 1);
    assert_eq!(leaked(&world), [""; 0]);
    assert!(seen.trailers.is_none(), "{:?}", seen.trailers);
}

#[tokio::test]
async fn e12_nothing_by_which_a_caller_proved_itself_goes_further() {
    let world = World::start().await;
    let token = world.token(&json!({"jti": CANARY}));
    let leaf = world.authority.sign(7, CANARY, &["spiffe://cluster.local/ns/agents/sa/canary-7d10"]);
    for name in EVIDENCE {
        let request = with_header(tool_call("echo", json!({})), "authorization", &format!("Bearer {token}"));
        assert_eq!(world.bearing(&leaf).send(with_header(request, name, CANARY)).await.status, 200, "{name}");
    }
    let session = Request::get("/mcp").header("host", "mcp.test").header("accept", "text/event-stream");
    let (reply, _feed) = Reply::events();
    world.server.once(reply);
    let session = with_header(session.body(Full::default()).unwrap(), "cookie", CANARY);
    world.anonymous().open(with_header(session, "authorization", &format!("Bearer {token}"))).await;
    eventually("the stream is open", async || world.server.seen().len() == EVIDENCE.len() + 1).await;
    assert_eq!(leaked(&world), [""; 0]);
    for seen in world.server.seen() {
        assert!(!seen.headers.contains_key("authorization"));
        let parts: Vec<&str> = token.split('.').collect();
        assert!(seen.headers.values().all(|value| parts.iter().all(|part| !value.to_str().unwrap().contains(part))));
    }
    // HTTP/2 brings them in other ways: cookies in pieces, upper case refused.
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    world.server.forget();
    world.server.script(|_| Reply::json(&json!({"jsonrpc": "2.0", "id": 7, "result": {}})));
    let mut request = world.as_alice(tool_call("echo", json!({})));
    *request.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
    request.headers_mut().remove("host");
    *request.version_mut() = http::Version::HTTP_2;
    for name in ["cookie", "cookie", "x-forwarded-user", "proxy-authorization"] {
        request = with_header(request, name, CANARY);
    }
    assert_eq!(client.http2().await.send_request(request).await.unwrap().status(), 200);
    assert_eq!(leaked(&world), [""; 0]);
}

#[tokio::test]
async fn plain_headers_come_if_asked_for_and_hold_one_value_each_whatever_a_name_holds() {
    let world = World::with(|config| {
        config["identityHeaders"] = json!({"subject": "X-User", "groups": "X-Groups", "issuer": "X-Issuer"});
        config["rules"][0]["principals"] = json!(["anyAuthenticated"]);
    })
    .await;
    let claims = json!({"sub": "é root, 100%", "groups": ["a,b", "ops team", "c"]});
    let answer = world.with_token(&world.token(&claims), tool_call("echo", json!({}))).await;
    assert_eq!(answer.status, 200);
    let seen = world.server.only();
    assert_eq!(seen.header("x-user"), "%C3%A9%20root%2C%20100%25");
    assert_eq!((seen.header("x-groups"), seen.header("x-issuer")), ("a%2Cb,ops%20team,c", "corp"));
    world.server.forget();
    let many: Vec<_> = (0..1000).map(|number| format!("group-{number}")).collect();
    let token = world.token(&json!({"groups": many[..120]}));
    assert_eq!(world.with_token(&token, tool_call("echo", json!({}))).await.status, 200);
    assert!(world.server.only().header("x-groups").ends_with(",group-119"));
    let plain = World::start().await;
    plain.alice(tool_call("echo", json!({}))).await;
    assert!(
        plain.server.only().headers.keys().all(|name| !name.as_str().starts_with("x-") || name == "x-cardea-identity")
    );
}

#[tokio::test]
async fn a_trace_goes_on_and_what_rides_on_it_does_not() {
    let world = World::start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let meta = json!({"traceparent": parent, "tracestate": "a=1", "baggage": "b=2"});
    let body = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "echo", "arguments": {}, "_meta": meta}
    });
    let mut request = message(body.to_string());
    for (name, value) in [("traceparent", parent), ("tracestate", "a=1,b=2"), ("baggage", CANARY)] {
        request = with_header(request, name, value);
    }
    world.alice(request).await;
    let seen = world.server.only();
    let passed: Vec<_> = seen.header("traceparent").split('-').collect();
    assert_eq!(
        (passed[1], passed[3], seen.header("tracestate")),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "01", "a=1,b=2")
    );
    assert_ne!(passed[2], "00f067aa0ba902b7", "a span of our own");
    assert!(!seen.headers.contains_key("baggage"));
    assert_eq!(seen.json(), body, "the message is not touched");
    assert_eq!(world.last_line()["trace"], passed[1]);
    world.server.forget();
    world.alice(with_header(tool_call("echo", json!({})), "traceparent", "00-zz-zz-00")).await;
    let seen = world.server.only();
    assert_eq!((seen.header("traceparent").len(), seen.headers.get_all("traceparent").iter().count()), (55, 1));
    assert_eq!(world.last_line()["trace"], seen.header("traceparent").split('-').nth(1).unwrap());
}

#[tokio::test]
async fn e30_where_tokens_come_from_is_told_by_the_configuration_alone() {
    let world = World::with(|config| config["hosts"] = json!(["mcp.test", "mcp.test:8443", "other.test"])).await;
    let known = "https://mcp.test/.well-known/oauth-protected-resource/mcp";
    for (name, value) in [
        ("host", "other.test"),
        ("host", "mcp.test:8443"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("x-original-url", "/evil\", scope=\"all"),
        ("forwarded", "host=evil.test;proto=http"),
        ("origin", "https://mcp.test"),
    ] {
        for path in ["/mcp", "/mcp?x=%22%0d%0aset-cookie:%20a=b", "/mcp?resource_metadata=https://evil.test"] {
            let mut request = tool_call("echo", json!({}));
            request.headers_mut().remove(name);
            *request.uri_mut() = path.parse().unwrap();
            let answer = world.anonymous().send(with_header(request, name, value)).await;
            assert_eq!(answer.status, 401, "{name}: {value}");
            let challenge = answer.header("www-authenticate");
            assert!(challenge.contains(&format!("resource_metadata=\"{known}\"")), "{challenge}");
            assert!(!format!("{answer:?}").contains("evil"), "{answer:?}");
        }
        let metadata = Request::get("/.well-known/oauth-protected-resource/mcp");
        let mut request = metadata.header("host", "mcp.test").body(Full::default()).unwrap();
        request.headers_mut().remove(name);
        let request = with_header(request, name, value);
        let answer = world.anonymous().send(request).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["resource"]),
            (200, &json!("https://mcp.test/mcp")),
            "{name}"
        );
        assert!(!format!("{answer:?}").contains("evil"), "{answer:?}");
    }
    assert!(world.server.seen().is_empty());
}
