//! Callers that are slow, silent, greedy or gone: each is given up in the end, and holds little until then.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Answer, Client, Reply, World, eventually, frames, message, tool_call};

const SOON: Duration = Duration::from_millis(300);

/// Reads until the other side has ended the connection: what came.
async fn until_it_ends(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = stream.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the connection is ended");
    bytes
}

#[tokio::test]
async fn e05_a_handshake_that_does_not_come_is_not_waited_for() {
    let world = World::hasty(|_| {}, |patience| patience.handshake = SOON).await;
    let mut silent = TcpStream::connect(world.bound.proxy).await.unwrap();
    let mut halting = TcpStream::connect(world.bound.proxy).await.unwrap();
    halting.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    until_it_ends(&mut silent).await;
    until_it_ends(&mut halting).await;
    assert_eq!(world.met("Handshake").await, 2);
}

#[tokio::test]
async fn e05_a_head_that_comes_byte_by_byte_is_not_waited_for() {
    let world = World::hasty(|_| {}, |patience| patience.head = SOON).await;
    let (mut reading, mut writing) = tokio::io::split(world.anonymous().connect().await.unwrap());
    let slowly = tokio::spawn(async move {
        writing.write_all(b"POST /mcp HTTP/1.1\r\nhost: mcp.test\r\n").await.unwrap();
        while writing.write_all(b"x: y\r\n").await.is_ok() && writing.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = until_it_ends(&mut reading).await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));
    drop(reading);
    slowly.await.unwrap();
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn e05_a_body_that_comes_byte_by_byte_is_not_waited_for() {
    let world = World::hasty(|_| {}, |patience| patience.body = SOON).await;
    let token = world.token(&json!({}));
    for length in ["content-length: 1000", "transfer-encoding: chunked"] {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n{length}\r\n\r\n1\r\n{{"
        );
        let mut stream = world.anonymous().connect().await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 408", "{length}");
    }
    assert_eq!(world.met("SlowBody").await, 2);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_ended_and_one_that_is_stays() {
    let world = World::hasty(|_| {}, |patience| patience.idle = SOON).await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let mut stream = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await.into_body();
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut idle = client.connect().await.unwrap();
    idle.write_all(&frames::opening()).await.unwrap();
    until_it_ends(&mut idle).await;
    let idle = world.anonymous().http1().await;
    eventually("it is ended", async || idle.is_closed()).await;
    assert!(world.met("IdleConnection").await >= 1);
    feed.send("data: still here\n\n".into()).await.unwrap();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "data: still here\n\n");
}

#[tokio::test]
async fn e05_connections_of_one_address_leave_room_for_others() {
    let world = World::set(|_| {}, |settings| settings.connections = 8).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(world.anonymous().connect().await.unwrap());
    }
    assert!(world.anonymous().connect().await.is_err());
    let from = |address: [u8; 4]| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        world.anonymous().connect_by(socket)
    };
    // All of 127.0.0.0/8 is here.
    open.push(from([127, 0, 0, 2]).await.unwrap());
    open.push(from([127, 0, 0, 2]).await.unwrap());
    assert!(from([127, 0, 0, 2]).await.is_err());
    open.push(from([127, 0, 0, 3]).await.unwrap());
    assert_eq!(world.met("ConnectionsPerPeer").await, 2);
    open.clear();
    eventually("there is room again", async || world.anonymous().connect().await.is_ok()).await;
}

#[tokio::test]
async fn e34_an_answer_that_is_not_read_is_given_up() {
    let world =
        World::hasty(|config| config["limits"]["concurrentPerPrincipal"] = json!(1), |patience| patience.stall = SOON)
            .await;
    // By the window of its stream, over HTTP/2.
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut sender = client.http2_without_window().await;
    let mut request = world.as_alice(tool_call("echo", json!({})));
    *request.uri_mut() = "https://mcp.test/mcp".parse().unwrap();
    request.headers_mut().remove("host");
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    // An answer with nothing in it yet is nobody's fault.
    let pause = tokio::time::sleep(2 * SOON);
    pause.await;
    assert_eq!(world.met("Stalled").await, 0);
    feed.send("data: 1\n\n".into()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), feed.closed()).await.expect("the server is told");
    eventually("it is counted", async || world.met("Stalled").await == 1).await;

    // By the window of its connection, over HTTP/1.
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let mut stream = world.anonymous().connect().await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: mcp.test\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
        world.token(&json!({})),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let endless = Bytes::from(format!("data: {}\n\n", "x".repeat(1 << 20)));
    let fed = async { while feed.send(endless.clone()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), fed).await.expect("the server is told");
    world.server.script(|_| Reply::text("application/json", "{}"));
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}

/// Windows without end and a socket that is never read: what the caller does not take must stay where it is, in the server,
/// with the caller's own places taken, and not in buffers of HTTP/2 that count for nobody.
#[tokio::test]
async fn e34_whoever_never_reads_has_little_of_it_here() {
    let world = World::with(|config| config["limits"]["concurrentPerPrincipal"] = json!(16)).await;
    world.server.script(|_| {
        let text = "x".repeat(60 << 10);
        Reply::json(&json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": text}]}}))
    });
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = client.connect_by(socket).await.unwrap();
    let bearer = format!("Bearer {}", world.token(&json!({})));
    let head = frames::head("POST", &[("content-type", "application/json"), ("authorization", &bearer)]);
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let mut bytes = frames::opening();
    for number in 0..100 {
        let stream = 2 * number + 1;
        // HEADERS with END_HEADERS, DATA with END_STREAM.
        bytes.extend(frames::frame(1, 4, stream, &head));
        bytes.extend(frames::frame(0, 1, stream, body.as_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    // All 100 were heard: so many are refused, and the others have begun.
    eventually("all were heard", async || {
        world.met("ConcurrentPerPrincipal").await + world.server.seen().len() as u64 == 100
    })
    .await;
    // 16 have their places still; of the rest only what fits into small buffers has gone, of 60 KiB each.
    assert!((16..40).contains(&world.server.seen().len()), "{}", world.server.seen().len());
    assert_eq!(world.with_token(&world.token(&json!({"sub": "bob"})), tool_call("echo", json!({}))).await.status, 200);
}

#[tokio::test]
async fn e34_a_server_that_goes_silent_is_not_listened_to_for_ever() {
    let world = World::with(|config| config["limits"]["streamIdleSeconds"] = json!(1)).await;
    let (reply, feed) = Reply::events();
    world.server.once(reply);
    let stream = Request::get("/mcp").header("host", "mcp.test").body(Full::default()).unwrap();
    let answer = world.anonymous().open(world.as_alice(stream)).await;
    feed.send("data: {}\n\n".into()).await.unwrap();
    // A stream of events may end anywhere.
    assert_eq!(Answer::of(answer).await.body, "data: {}\n\n");
    tokio::time::timeout(Duration::from_secs(10), feed.closed()).await.expect("the server is told");
    // A message may not.
    let (half, feed) = tokio::sync::mpsc::channel(1);
    world.server.once(Reply::Stream(vec![("content-type", "application/json".to_owned())], feed));
    let answer = world.anonymous().open(world.as_alice(tool_call("echo", json!({})))).await;
    half.send(r#"{"jsonrpc":"2.0","id":7,"res"#.into()).await.unwrap();
    assert!(answer.into_body().collect().await.is_err());
    assert_eq!(world.met("SilentAnswer").await, 2);
}

/// Asks and takes back at once, again and again (CVE-2023-44487).
#[tokio::test]
async fn e05_a_caller_that_takes_back_what_it_asks_is_cut_off() {
    let world = World::start().await;
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let mut stream = client.connect().await.unwrap();
    let head = frames::head("GET", &[]);
    let mut bytes = frames::opening();
    for number in 0..500 {
        bytes.extend(frames::frame(1, 5, 2 * number + 1, &head));
        bytes.extend(frames::frame(3, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&bytes).await;
    // ENHANCE_YOUR_CALM.
    assert_eq!(frames::goaway(&until_it_ends(&mut stream).await), Some(11));
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
}

/// A head that goes on in frame after frame (CVE-2024-27316).
#[tokio::test]
async fn e05_a_head_without_end_is_cut_off() {
    let world = World::start().await;
    let client = Client::new(world.bound.proxy, &[&world.authority], None, "h2");
    let (mut reading, mut writing) = tokio::io::split(client.connect().await.unwrap());
    let mut bytes = frames::opening();
    bytes.extend(frames::frame(1, 0, 1, &frames::head("GET", &[])));
    let more = frames::frame(9, 0, 1, &frames::head("GET", &[("x", &"y".repeat(1000))]));
    let endlessly = tokio::spawn(async move {
        writing.write_all(&bytes).await.unwrap();
        for _ in 0..100_000 {
            if writing.write_all(&more).await.is_err() {
                return true;
            }
        }
        false
    });
    until_it_ends(&mut reading).await;
    drop(reading);
    assert!(endlessly.await.unwrap(), "nobody stopped it");
    assert!(world.server.seen().is_empty());
    let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(world.alice(list).await.status, 200);
}
