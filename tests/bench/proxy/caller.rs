//! One connection of a caller, and what can be asked on it. Every answer is looked at: a wrong one is a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::material;
use crate::work::{BIG, EVENTS, REVISION, TEXT, Way, Work};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Connects to one target.
pub(crate) struct Dialer {
    way: Way,
    tls: Option<TlsConnector>,
}

impl Dialer {
    pub(crate) fn new(way: &Way) -> anyhow::Result<Self> {
        let tls = way.tls.as_ref().map(|files| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(&files.authority)?)?;
            let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots);
            let mut config = match &files.caller {
                None => builder.with_no_client_auth(),
                Some((certificate, key)) => {
                    let chain = vec![CertificateDer::from_pem_file(certificate)?];
                    builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
                }
            };
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            // A new connection is meant to be new on every target.
            config.resumption = Resumption::disabled();
            anyhow::Ok(TlsConnector::from(Arc::new(config)))
        });
        Ok(Self { way: way.clone(), tls: tls.transpose()? })
    }

    /// A connection, not greeted yet.
    pub(crate) async fn connect(&self) -> anyhow::Result<Caller> {
        let stream = TcpStream::connect(self.way.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let sender = match &self.tls {
            None => spawn(TokioIo::new(stream)).await?,
            Some(connector) => {
                let name = ServerName::try_from(material::HOST)?;
                spawn(TokioIo::new(connector.connect(name, stream).await.context("TLS")?)).await?
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.way.host.parse()?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(VERSION, HeaderValue::from_static(REVISION));
        if let Some(token) = &self.way.token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse()?);
        }
        Ok(Caller { sender, headers, path: self.way.path.clone(), prefix: self.way.prefix.clone(), number: 0 })
    }

    /// A connection with a session, where the target has sessions.
    pub(crate) async fn greet(&self) -> anyhow::Result<Caller> {
        let mut caller = self.connect().await?;
        caller.initialize().await?;
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let answer = caller.post(initialized).await?;
        ensure!(answer.status().is_success(), "initialized: {}", answer.status());
        answer.into_body().collect().await?;
        Ok(caller)
    }
}

async fn spawn<I>(io: I) -> anyhow::Result<http1::SendRequest<Full<Bytes>>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A connection.
pub(crate) struct Caller {
    sender: http1::SendRequest<Full<Bytes>>,
    headers: HeaderMap,
    path: String,
    prefix: String,
    number: u64,
}

impl Caller {
    async fn post(&mut self, body: String) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse()?;
        *request.headers_mut() = self.headers.clone();
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    /// Greets, and remembers the session if there is one.
    pub(crate) async fn initialize(&mut self) -> anyhow::Result<()> {
        let params = format!(
            r#"{{"protocolVersion":"{REVISION}","capabilities":{{}},"clientInfo":{{"name":"bench","version":"1"}}}}"#
        );
        self.number += 1;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"initialize","params":{params}}}"#, self.number);
        let answer = self.post(body).await?;
        let session = answer.headers().get(SESSION).cloned();
        let text = self.whole(answer).await?;
        ensure!(text.contains("serverInfo"), "initialize: {text}");
        if let Some(session) = session {
            self.headers.insert(SESSION, session);
        }
        Ok(())
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str) -> anyhow::Result<Response<Incoming>> {
        self.number += 1;
        let (id, prefix) = (self.number, &self.prefix);
        let params = format!(r#"{{"name":"{prefix}{tool}","arguments":{{"text":"{TEXT}"}}}}"#);
        self.post(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#)).await
    }

    /// The text of an answer of status 200 to the last request.
    async fn whole(&self, answer: Response<Incoming>) -> anyhow::Result<String> {
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8(body.into())?;
        ensure!(status == StatusCode::OK, "{status}: {}", text.get(..300).unwrap_or(&text));
        ensure!(text.contains(&format!("\"id\":{}", self.number)), "the answer to another request: {text}");
        Ok(text)
    }

    /// Asks once and checks the answer; how long the first event took, where there are events.
    pub(crate) async fn ask(&mut self, work: Work) -> anyhow::Result<Option<Duration>> {
        match work {
            Work::Call => {
                let answer = self.call("echo").await?;
                let text = self.whole(answer).await?;
                ensure!(text.contains(TEXT), "not the argument: {text}");
            }
            Work::Big => {
                let answer = self.call("big").await?;
                let size = self.whole(answer).await?.len();
                ensure!(size > BIG, "{size} bytes instead of {BIG}");
            }
            Work::List { shown } => {
                self.number += 1;
                let body = format!(r#"{{"jsonrpc":"2.0","id":{},"method":"tools/list","params":{{}}}}"#, self.number);
                let answer = self.post(body).await?;
                // A target may offer tools of its own beside the server's.
                let tools = self.whole(answer).await?.matches(&format!(r#""name":"{}"#, self.prefix)).count();
                ensure!(tools == shown, "{tools} tools instead of {shown}");
            }
            Work::Events => return self.count().await.map(Some),
            Work::Connect | Work::Hold => bail!("{work:?} is not asked on a connection"),
        }
        Ok(None)
    }

    async fn count(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let mut answer = self.call("count").await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        let (mut first, mut events, mut last) = (None, 0, Vec::new());
        while let Some(frame) = answer.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            first.get_or_insert_with(|| began.elapsed());
            events += data.windows(2).filter(|pair| pair == b"\n\n").count();
            // An event's end may lie on the border of two pieces.
            if last.ends_with(b"\n") && data.starts_with(b"\n") && !last.ends_with(b"\n\n") {
                events += 1;
            }
            last = data.to_vec();
        }
        ensure!(events == EVENTS, "{events} events instead of {EVENTS}");
        first.context("no event")
    }

    /// Opens a stream and waits for its first event.
    pub(crate) async fn hold(mut self) -> anyhow::Result<(Self, Response<Incoming>)> {
        let mut answer = self.call("hold").await?;
        ensure!(answer.status() == StatusCode::OK, "{}", answer.status());
        answer.frame().await.context("the stream ended")??;
        Ok((self, answer))
    }
}
