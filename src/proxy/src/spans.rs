//! A span a request, sent to an OpenTelemetry collector (OTLP over HTTP, protobuf): what the audit line tells, without who
//! called. Spans that there is no room for, or that the collector does not take, are lost: unlike an audit line, a span is
//! nothing that a request waits for.
//!
//! Only in a build with the feature `otel`. Does not know what a request is ([`Line`] tells).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use tokio::sync::mpsc;

use crate::audit::{End, Line, shortened};
use crate::trace::Trace;

/// Spans that wait at most.
const WAITING: usize = 2048;
/// Spans sent at once.
const BATCH: usize = 512;
/// Between one sending and the next.
const PAUSE: Duration = Duration::from_millis(500);
/// Until the collector must have answered.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why spans cannot be sent as asked for.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// Not a URL.
    #[error("the OTLP endpoint is no http or https URL")]
    Endpoint,
    /// The client cannot be made.
    #[error("no HTTP client")]
    Client,
}

/// The way to the collector.
pub(crate) struct Spans(mpsc::Sender<Span>);

impl Spans {
    /// Begins to send to the collector whose base URL this is.
    pub(crate) fn start(endpoint: &str) -> Result<Self, SpansError> {
        let url: Url =
            format!("{}/v1/traces", endpoint.trim_end_matches('/')).parse().map_err(|_| SpansError::Endpoint)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(SpansError::Endpoint);
        }
        let tls = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| SpansError::Client)?
            .with_root_certificates(rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| SpansError::Client)?;
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(send(receiver, client, url));
        Ok(Self(sender))
    }

    /// Tells of a request that began so long ago. `name` is one of few: a method that the protocol knows.
    pub(crate) fn tell(&self, line: &Line<'_>, name: Option<&str>, trace: &Trace, lasted: Duration) {
        if trace.is_sampled() {
            let _ = self.0.try_send(span(line, name, trace, lasted));
        }
    }
}

async fn send(mut waiting: mpsc::Receiver<Span>, client: Client, url: Url) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let body = request(std::mem::take(&mut batch)).encode_to_vec();
        let answer = client.post(url.clone()).header(CONTENT_TYPE, "application/x-protobuf").body(body).send().await;
        match answer.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => {}
            Ok(status) => tracing::warn!(status = status.as_u16(), "the collector does not take the spans"),
            // Its text would repeat the URL, which may hold a password.
            Err(_) => tracing::warn!("the collector of spans does not answer"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    let resource = Resource { attributes: vec![text("service.name", "cardea-proxy")], ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }],
    }
}

/// Attributes by the semantic conventions of OpenTelemetry for MCP where there are some.
fn span(line: &Line<'_>, name: Option<&str>, trace: &Trace, lasted: Duration) -> Span {
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (namespace, server) = line.server;
    let mut attributes = vec![
        text("cardea.request", line.request),
        text("cardea.decision", line.decision.name()),
        text("cardea.server.namespace", namespace),
        text("cardea.server.name", server),
    ];
    for (key, value) in [
        ("mcp.method.name", line.method.as_deref()),
        ("gen_ai.tool.name", line.tool.as_deref()),
        ("gen_ai.prompt.name", line.prompt.as_deref()),
        ("mcp.resource.uri", line.resource.as_deref()),
        ("cardea.rule", line.rule),
        ("error.type", line.reason.or(line.tool_error.then_some("tool_error"))),
    ] {
        attributes.extend(value.map(|value| text(key, shortened(value))));
    }
    attributes.extend(line.status.map(|status| number("http.response.status_code", status.into())));
    attributes.extend(line.error.map(|code| number("rpc.jsonrpc.error_code", code.into())));
    let failed = line.status.is_none_or(|status| status >= 500)
        || line.error.is_some()
        || line.tool_error
        || line.end == Some(End::Broken);
    Span {
        trace_id: trace.id.into(),
        span_id: trace.span.into(),
        parent_span_id: trace.parent.map(Into::into).unwrap_or_default(),
        name: name.unwrap_or("request").into(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(end.saturating_sub(lasted)),
        end_time_unix_nano: nanos(end),
        attributes,
        status: failed.then(|| Status { code: StatusCode::Error.into(), ..Default::default() }),
        ..Default::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
