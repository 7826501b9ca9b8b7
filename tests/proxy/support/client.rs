//! A caller: its certificate, its connection, its requests.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Authority, Leaf};

/// Whoever calls the proxy.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Code of the JSON-RPC error.
    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) async fn of(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, roots: &[&Authority], certificate: Option<&Leaf>, protocol: &str) -> Self {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.der.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store);
        let mut tls = match certificate {
            Some(leaf) => builder.with_client_auth_cert(vec![leaf.der.clone()], leaf.private_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Self { address, tls: Arc::new(tls) }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.secure(TcpStream::connect(self.address).await?).await
    }

    /// Like [`Self::connect`], by a socket of the caller's making.
    pub(crate) async fn connect_by(self, socket: TcpSocket) -> std::io::Result<TlsStream<TcpStream>> {
        self.secure(socket.connect(self.address).await?).await
    }

    async fn secure(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.tls.clone()).connect("mcp.test".try_into().unwrap(), stream).await
    }

    pub(crate) async fn http1(&self) -> http1::SendRequest<Full<Bytes>> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.connect().await.unwrap())).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.connect().await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Like [`Self::http2`], of a caller who takes heads only.
    pub(crate) async fn http2_without_window(&self) -> http2::SendRequest<Full<Bytes>> {
        let stream = TokioIo::new(self.connect().await.unwrap());
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.initial_stream_window_size(0).handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Sends on a connection of its own; the answer may still be streaming.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.http1().await.send_request(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        Answer::of(self.open(request).await).await
    }

    /// Sends these bytes and reads what comes until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = self.connect().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A POST with this body to the endpoint.
pub(crate) fn message(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/mcp")
        .header("host", "mcp.test")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Full::new(body.into()))
        .unwrap()
}

/// A call of a tool, in the legacy era.
pub(crate) fn tool_call(tool: &str, arguments: impl Into<Value>) -> Request<Full<Bytes>> {
    let params = json!({"name": tool, "arguments": arguments.into()});
    message(json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string())
}

/// The same with another header, beside others of that name.
pub(crate) fn with_header(mut request: Request<Full<Bytes>>, name: &'static str, value: &str) -> Request<Full<Bytes>> {
    request.headers_mut().append(name, value.parse().unwrap());
    request
}
