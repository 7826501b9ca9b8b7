//! Between the suite, which speaks plain HTTP to localhost and can send neither token nor certificate, and the proxy, which
//! speaks TLS: a translator that brings the evidence, keeps `Host` and `Origin` but for the scheme, and passes every byte on
//! as it comes. Faults can be built in, to prove that the comparison sees them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue, ORIGIN, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::programs::{PROXY, Run};
use crate::suite::Era;

type Body = BoxBody<Bytes, hyper::Error>;

/// How the caller proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    Certificate,
    Token,
    Anonymous,
}

impl Evidence {
    pub(crate) const ALL: [Self; 3] = [Self::Certificate, Self::Token, Self::Anonymous];
}

impl fmt::Display for Evidence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::Anonymous => "anonymous",
        })
    }
}

/// What is spoken with the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        })
    }
}

/// What a careless middleman does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    LosesLastEventId,
    LosesSession,
    LosesMirroredName,
    BuffersLegacy,
    BuffersModern,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] =
        [Self::LosesLastEventId, Self::LosesSession, Self::BuffersLegacy, Self::LosesMirroredName, Self::BuffersModern];

    /// The era that would suffer.
    pub(crate) fn era(self) -> Era {
        match self {
            Self::LosesLastEventId | Self::LosesSession | Self::BuffersLegacy => Era::Legacy,
            Self::LosesMirroredName | Self::BuffersModern => Era::Modern,
        }
    }

    /// Where it shows.
    pub(crate) fn scenarios(self) -> &'static [&'static str] {
        match self {
            Self::LosesLastEventId => &["server-sse-polling"],
            Self::LosesSession => &["server-session-lifecycle"],
            Self::BuffersLegacy => &["tools-call-elicitation"],
            Self::LosesMirroredName => &["tools-call-simple-text"],
            Self::BuffersModern => &["server-stateless"],
        }
    }

    fn lost_header(self) -> Option<&'static str> {
        match self {
            Self::LosesLastEventId => Some("last-event-id"),
            Self::LosesSession => Some("mcp-session-id"),
            Self::LosesMirroredName => Some("mcp-name"),
            Self::BuffersLegacy | Self::BuffersModern => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lost_header() {
            Some(header) => write!(out, "a middleman that loses {header}"),
            None => out.write_str("a middleman that buffers"),
        }
    }
}

/// The translator.
pub(crate) struct Shim {
    port: u16,
    serving: AbortOnDropHandle<()>,
}

struct Way {
    proxy: SocketAddr,
    tls: TlsConnector,
    protocol: Protocol,
    token: Option<HeaderValue>,
    fault: Option<Fault>,
    /// The one HTTP/2 connection, while it lasts.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl Shim {
    pub(crate) async fn start(
        run: &Run,
        evidence: Evidence,
        protocol: Protocol,
        fault: Option<Fault>,
    ) -> anyhow::Result<Self> {
        // The port of the proxy, at another address of loopback.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, run.port)).await.context("the shim cannot listen")?;
        let tls = TlsConnector::from(Arc::new(client_config(run, evidence, protocol)?));
        let proxy = (PROXY, run.port).into();
        let token = (evidence == Evidence::Token).then(|| HeaderValue::try_from(format!("Bearer {}", run.token)));
        let token = token.transpose()?;
        let way = Arc::new(Way { proxy, tls, protocol, token, fault, shared: tokio::sync::Mutex::default() });
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let way = way.clone();
                let service = service_fn(move |request| {
                    let way = way.clone();
                    async move { way.pass(request).await }
                });
                // A caller that leaves ends its connection, and with it what it asked for.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { port: run.port, serving: AbortOnDropHandle::new(serving) })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Ends it: the port is free afterwards.
    pub(crate) async fn end(self) {
        self.serving.abort();
        // That it was aborted is no news.
        let _ = self.serving.await;
    }
}

impl Way {
    async fn pass(&self, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
        let (mut head, body) = request.into_parts();
        head.headers.remove(CONNECTION);
        if let Some(header) = self.fault.and_then(Fault::lost_header) {
            head.headers.remove(header);
        }
        if let Some(token) = &self.token {
            head.headers.insert(AUTHORIZATION, token.clone());
        }
        let secure = |origin: &HeaderValue| {
            let rest = origin.to_str().ok()?.strip_prefix("http://")?;
            HeaderValue::try_from(format!("https://{rest}")).ok()
        };
        if let Some(origin) = head.headers.get(ORIGIN).and_then(secure) {
            head.headers.insert(ORIGIN, origin);
        }
        let body = Full::new(body.collect().await?.to_bytes());
        let answer = match self.protocol {
            Protocol::Http1 => {
                let (mut sender, connection) = http1::handshake(self.connect().await?).await?;
                tokio::spawn(connection);
                sender.send_request(Request::from_parts(head, body)).await?
            }
            Protocol::Http2 => {
                let host = head.headers.remove(HOST).context("no host")?;
                let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
                head.uri = Uri::builder().scheme("https").authority(host.as_bytes()).path_and_query(path).build()?;
                head.version = http::Version::HTTP_2;
                self.http2().await?.send_request(Request::from_parts(head, body)).await?
            }
        };
        let (mut head, body) = answer.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        head.version = http::Version::HTTP_11;
        let body = match self.fault {
            Some(Fault::BuffersLegacy | Fault::BuffersModern) => {
                Full::new(body.collect().await?.to_bytes()).map_err(|never| match never {}).boxed()
            }
            _ => body.boxed(),
        };
        Ok(Response::from_parts(head, body))
    }

    async fn http2(&self) -> anyhow::Result<http2::SendRequest<Full<Bytes>>> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let (sender, connection) = http2::handshake(TokioExecutor::new(), self.connect().await?).await?;
        tokio::spawn(connection);
        *shared = Some(sender.clone());
        Ok(sender)
    }

    async fn connect(&self) -> anyhow::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(self.tls.connect("localhost".try_into()?, stream).await?))
    }
}

fn client_config(run: &Run, evidence: Evidence, protocol: Protocol) -> anyhow::Result<ClientConfig> {
    let certificates = |path: &Path| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(&run.authority)? {
        roots.add(root)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match evidence {
        Evidence::Certificate => {
            config.with_client_auth_cert(certificates(&run.certificate)?, PrivateKeyDer::from_pem_file(&run.key)?)?
        }
        Evidence::Token | Evidence::Anonymous => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok(config)
}
