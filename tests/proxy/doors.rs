//! What is tried before anybody is asked who they are: numbers and depths, sizes, smuggling, foreign pages, and the other
//! port. Each by its number in the catalogue of attacks.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;

use crate::support::{Answer, Client, World, message, tool_call, with_header};

#[tokio::test]
async fn e04_what_is_no_plain_json_is_refused() {
    let world = World::with(|config| config["limits"]["maxBodyBytes"] = json!(4 << 20)).await;
    let with = |value: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"x":{value}}}}}}}"#
        )
        .into_bytes()
    };
    let nested = |open: &str, close: &str| with(&format!("{}1{}", open.repeat(10_000), close.repeat(10_000)));
    let mut invalid = with(r#""@""#);
    invalid.iter_mut().filter(|byte| **byte == b'@').for_each(|byte| *byte = 0xff);
    for (name, body) in [
        ("depth", nested("[", "]")),
        ("depth of objects", nested(r#"{"a":"#, "}")),
        ("depth without end", "[".repeat(10_000).into_bytes()),
        ("long number", with(&"9".repeat(1 << 20))),
        ("large exponent", with("1e999")),
        ("lone surrogate", with(r#""\ud800""#)),
        ("invalid UTF-8", invalid),
        ("NaN", with("NaN")),
        ("Infinity", with("-Infinity")),
        ("hexadecimal", with("0x10")),
        ("leading zero", with("01")),
        ("trailing bytes", [with("1"), b"x".to_vec()].concat()),
        ("two messages", [with("1"), with("1")].concat()),
        ("byte order mark", [b"\xef\xbb\xbf".to_vec(), with("1")].concat()),
        ("comment", with("1/**/")),
        ("NUL", [with("1"), b"\0".to_vec()].concat()),
        ("large id", br#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#.to_vec()),
    ] {
        let answer = world.alice(message(body)).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert!([-32700, -32600].contains(&answer.code()), "{name}: {answer:?}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e05_what_is_too_much_is_refused_before_anything_is_passed_on() {
    let world = World::start().await;
    // Numbers of headers, over both protocols.
    let mut many = world.as_alice(tool_call("echo", json!({})));
    for number in 0..120 {
        many.headers_mut().append("x-many", number.into());
    }
    assert_eq!(world.anonymous().send(many.clone()).await.status, 431);
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    many.headers_mut().remove("host");
    *many.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
    assert_eq!(client.http2().await.send_request(many).await.unwrap().status(), 431);
    assert_eq!(world.met("Head").await, 1);
    // A small body that would be a large one.
    for encoding in ["gzip", "br", "deflate", "identity, gzip", "x"] {
        let request = with_header(tool_call("echo", json!({})), "content-encoding", encoding);
        assert_eq!(world.alice(request).await.status, 415, "{encoding}");
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e06_a_request_that_could_be_two_is_none() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let second = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let length = body.len();
    for (name, framing, end) in [
        ("length and chunks", format!("content-length: {length}\r\ntransfer-encoding: chunked"), "\r\n"),
        ("chunks and length", format!("transfer-encoding: chunked\r\ncontent-length: {length}"), "\r\n"),
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 5"), "\r\n"),
        ("two lengths in one", format!("content-length: {length}, 5"), "\r\n"),
        ("signed length", format!("content-length: +{length}"), "\r\n"),
        ("unknown coding", "transfer-encoding: xchunked".to_owned(), "\r\n"),
        ("coding twice", "transfer-encoding: identity\r\ntransfer-encoding: chunked".to_owned(), "\r\n"),
        ("folded line", format!("x: y\r\n content-length: {length}"), "\r\n"),
        ("space before the colon", format!("content-length : {length}"), "\r\n"),
    ] {
        let head = format!(
            "POST /mcp HTTP/1.1{end}host: mcp.test{end}content-type: application/json{end}authorization: Bearer {token}{end}{framing}{end}{end}"
        );
        let answer = world.anonymous().raw(format!("{head}{body}{second}").as_bytes()).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        // Either it is refused, or the length that holds is the only one there is.
        let seen = world.server.seen();
        assert!(answers <= 1 || seen.iter().all(|seen| seen.body == body.as_bytes()), "{name}: {answer}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 408"),
            "{name}: {answer}"
        );
        assert!(seen.is_empty(), "{name}: {seen:?}");
    }
    // What a hop may strip must not be ours.
    for (name, value) in
        [("connection", "authorization, x-cardea-identity"), ("te", "trailers"), ("trailer", "x-cardea-identity")]
    {
        let request = with_header(tool_call("echo", json!({})), name, value);
        assert_eq!(world.alice(request).await.status, 200, "{name}");
        let seen = world.server.only();
        assert_eq!(seen.headers.get_all("x-cardea-identity").iter().count(), 1);
        assert!(!seen.headers.contains_key(name), "{name}");
        world.server.forget();
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "mcp.test").body(Full::default()).unwrap()
}

/// A page whose name was made to lead here (CVE-2025-66414): refused before anybody looks for a token or a message.
#[tokio::test]
async fn e09_other_hosts_and_origins_are_refused_first() {
    let world = World::start().await;
    for host in
        ["evil.com", "mcp.test.evil.com", "mcp.test:1", "localhost", "127.0.0.1", "x@mcp.test", "mcp.test@evil.com"]
    {
        let mut request = tool_call("echo", json!({}));
        request.headers_mut().insert("host", host.parse().unwrap());
        let answer = world.alice(request).await;
        assert!([400, 403].contains(&answer.status.as_u16()), "{host}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "", "{host}");
    }
    for origin in [
        "http://evil.com",
        "https://evil.com",
        "null",
        "http://localhost.evil.com",
        "https://x@mcp.test",
        "https://mcp.test.evil.com",
        "http://mcp.test",
    ] {
        let request = with_header(message("no message"), "origin", origin);
        // Neither a token nor a message is looked for.
        assert_eq!(world.anonymous().send(request).await.status, 403, "{origin}");
    }
    let twice = with_header(
        with_header(tool_call("echo", json!({})), "origin", "https://mcp.test"),
        "origin",
        "https://evil.com",
    );
    assert_eq!(world.alice(twice).await.status, 400);
    assert!(world.server.seen().is_empty());
    let own = with_header(tool_call("echo", json!({})), "origin", "https://mcp.test");
    assert_eq!(world.alice(own).await.status, 200);
}

/// What a page may send without asking, and what it asks.
#[tokio::test]
async fn e10_a_foreign_page_can_do_nothing() {
    let world = World::start().await;
    let leaf = world.authority.sign(9, "browser", &["spiffe://cluster.local/browser"]);
    for media_type in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain; application/json"]
    {
        let mut request = tool_call("echo", json!({}));
        request.headers_mut().insert("content-type", media_type.parse().unwrap());
        // A certificate goes along by itself.
        assert_eq!(world.bearing(&leaf).send(request.clone()).await.status, 415, "{media_type}");
        let request = with_header(request, "origin", "https://evil.com");
        assert_eq!(world.bearing(&leaf).send(request).await.status, 403, "{media_type}");
    }
    for path in ["/mcp", "/.well-known/oauth-protected-resource"] {
        let preflight =
            Request::options(path).header("host", "mcp.test").header("access-control-request-method", "POST");
        let preflight = preflight.header("origin", "https://evil.com").body(Full::default()).unwrap();
        let answer = world.anonymous().send(preflight).await;
        assert_eq!(answer.status, 403);
        assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{answer:?}");
    }
    assert!(world.server.seen().is_empty());
}

/// Clients have run what such URLs made of a shell command (CVE-2025-6514).
#[tokio::test]
async fn e30_where_the_metadata_stands_is_said_by_the_configuration_alone() {
    let world = World::start().await;
    let challenge = async |request: Request<Full<Bytes>>| {
        let answer = world.anonymous().send(request).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        answer.header("www-authenticate").to_owned()
    };
    let plain = challenge(tool_call("echo", json!({}))).await;
    assert!(plain.contains(r#"resource_metadata="https://mcp.test/"#), "{plain}");
    let mut steered = vec![get("/mcp?x=%22%0d%0aset-cookie:%20a=b"), get("/mcp?resource_metadata=https://evil.com")];
    let mut other = tool_call("echo", json!({}));
    other.headers_mut().insert("host", "mcp.test:8443".parse().unwrap());
    steered.push(other);
    for (name, value) in [
        ("x-forwarded-host", "evil.com"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-prefix", "/evil"),
        ("forwarded", "host=evil.com;proto=http"),
        ("x-original-url", "https://evil.com/"),
    ] {
        steered.push(with_header(tool_call("echo", json!({})), name, value));
    }
    for request in steered {
        let asked = format!("{request:?}");
        assert_eq!(challenge(request).await, plain, "{asked}");
    }
    let path = "/.well-known/oauth-protected-resource";
    let plain = world.anonymous().send(get(path)).await;
    let forwarded = with_header(get(path), "x-forwarded-host", "evil.com");
    assert_eq!(world.anonymous().send(forwarded).await.body, plain.body);
    let mut other = get(path);
    other.headers_mut().insert("host", "mcp.test:8443".parse().unwrap());
    assert_eq!(world.anonymous().send(other).await.body, plain.body);
    // A path that would break out of the header is no path of ours.
    for target in ["/mcp\"", "/mcp%0d%0ax:y", "/mcp\r\nx: y"] {
        let answer = world
            .anonymous()
            .raw(format!("GET {target} HTTP/1.1\r\nhost: mcp.test\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        assert!(
            answer.starts_with("HTTP/1.1 40") && !answer.contains("x: y") && !answer.contains("resource_metadata"),
            "{answer}"
        );
    }
}

/// The port that probes and scrapers use changes nothing and tells of nobody (CVE-2025-49596).
#[tokio::test]
async fn e31_the_other_port_knows_no_secret_and_no_command() {
    let world = World::start().await;
    let token = world.token(&json!({"sub": "canary-subject", "groups": ["dev", "canary-group"]}));
    assert_eq!(world.with_token(&token, tool_call("get_canary", json!({"a": "canary-argument"}))).await.status, 200);
    assert_eq!(world.with_token("canary-token", tool_call("hidden_canary", json!({}))).await.status, 401);
    let private = ["canary", token.as_str(), "PRIVATE", "\"d\""];
    for path in ["/metrics", "/healthz", "/readyz", cardea_contract::pod::IDENTITY_KEYS_PATH] {
        let answer = world.admin(path).await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        for word in private {
            assert!(!text.contains(word), "{path} tells {word}: {text}");
        }
    }
    for path in ["/", "/mcp", "/.cardea/status", "/config", "/debug/pprof", "/quit", "/shutdown", "/reload"] {
        assert_eq!(world.admin(path).await.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let stream = tokio::net::TcpStream::connect(world.bound.admin).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::builder().method(method).uri("/metrics").header("host", "admin").body(Full::<Bytes>::default());
        let answer = Answer::of(sender.send_request(request.unwrap()).await.unwrap()).await;
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}
