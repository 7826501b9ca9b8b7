//! Spans, as an OpenTelemetry collector gets them: a double that takes OTLP over HTTP.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{Reply, World, eventually, tool_call, with_header};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SHAPED: &str = "ghp_canary3c77canary3c77";

/// What the collector was sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Answers with this status; gives its base URL too.
    async fn start(status: StatusCode) -> (Self, String) {
        let this = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let spans = this.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let spans = spans.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let spans = spans.clone();
                    async move {
                        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let export = ExportTraceServiceRequest::decode(body).unwrap();
                        let scopes = export.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                        spans.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
                        let answer = Response::builder().status(status).body(Full::<Bytes>::default()).unwrap();
                        Ok::<_, Infallible>(answer)
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        (this, url)
    }

    async fn spans(&self, count: usize) -> Vec<Span> {
        eventually("spans", async || self.0.lock().unwrap().len() >= count).await;
        self.0.lock().unwrap().clone()
    }
}

fn attribute(span: &Span, name: &str) -> Value {
    let value = span.attributes.iter().find(|attribute| attribute.key == name);
    match value.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Attribute::StringValue(text)) => json!(text),
        Some(Attribute::IntValue(number)) => json!(number),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn each_request_is_a_span_below_the_callers_and_above_the_servers() {
    let (collector, url) = Collector::start(StatusCode::OK).await;
    let world = World::traced(|_| {}, url).await;
    world.alice(with_header(tool_call("echo", json!({})), "traceparent", PARENT)).await;
    let span = collector.spans(1).await.remove(0);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    let expected = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
    assert_eq!(world.server.only().header("traceparent"), expected);
    assert!(span.end_time_unix_nano > span.start_time_unix_nano && span.status.is_none());
    assert_eq!((span.name.as_str(), span.kind), ("tools/call", 2));
    for (name, value) in [
        ("mcp.method.name", json!("tools/call")),
        ("gen_ai.tool.name", json!("echo")),
        ("cardea.decision", json!("Allow")),
        ("cardea.rule", json!("dev")),
        ("cardea.request", world.last_line()["request"].clone()),
        ("http.response.status_code", json!(200)),
    ] {
        assert_eq!(attribute(&span, name), value, "{name}");
    }

    // Without a trace of the caller's one is begun, and the server is told to keep it.
    world.server.once(Reply::json(&json!({"jsonrpc": "2.0", "id": 7, "result": {"isError": true}})));
    world.alice(tool_call("echo", json!({}))).await;
    let span = collector.spans(2).await.remove(1);
    assert!(span.parent_span_id.is_empty() && world.server.seen()[1].header("traceparent").ends_with("-01"));
    assert_eq!((attribute(&span, "error.type"), span.status.unwrap().code), (json!("tool_error"), 2));

    // A caller that keeps no trace has none kept.
    let unsampled = PARENT.replace("-01", "-00");
    world.alice(with_header(tool_call("echo", json!({})), "traceparent", &unsampled)).await;
    world.anonymous().send(tool_call("echo", json!({}))).await;
    let span = collector.spans(3).await.remove(2);
    assert_eq!((span.name.as_str(), attribute(&span, "cardea.decision")), ("request", json!("Unauthenticated")));
}

#[tokio::test]
async fn a_span_holds_no_secret_and_comes_without_audit_lines_too() {
    let (collector, url) = Collector::start(StatusCode::OK).await;
    let world = World::traced(|config| config["audit"] = json!("None"), url).await;
    let secret = json!({"password": SHAPED, "x": SHAPED});
    for tool in ["echo", SHAPED] {
        world.alice(with_header(tool_call(tool, secret.clone()), "cookie", SHAPED)).await;
    }
    let spans = format!("{:?}", collector.spans(2).await);
    assert!(!spans.contains("canary") && !spans.contains("alice") && spans.contains("[redacted]"), "{spans}");
    assert!(world.audit.text().is_empty());
}

#[tokio::test]
async fn a_collector_that_fails_holds_nobody_up() {
    let (collector, url) = Collector::start(StatusCode::SERVICE_UNAVAILABLE).await;
    for url in [url, "http://127.0.0.1:1".to_owned()] {
        let world = World::traced(|_| {}, url).await;
        for _ in 0..20 {
            assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
        }
    }
    collector.spans(1).await;
}
