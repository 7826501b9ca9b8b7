//! Connections to where a server listens: a port on loopback, or the socket of the bridge to a stdio server.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cardea_contract::Listens;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tower_service::Service;

/// Until a connection in the same pod must stand.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an unused connection is kept. Below what servers commonly keep, so that they rarely close first.
const IDLE: Duration = Duration::from_secs(4);
/// Scheme of a URI whose authority is the path of a socket.
const SOCKET: &str = "unix";

/// Connections to the server.
#[derive(Clone)]
pub(crate) struct Ways {
    loopback: Client<HttpConnector, Full<Bytes>>,
    bridge: Client<ToSocket, Full<Bytes>>,
}

impl Ways {
    pub(crate) fn new() -> Self {
        let mut loopback = HttpConnector::new();
        loopback.set_nodelay(true);
        loopback.set_connect_timeout(Some(CONNECT));
        Self { loopback: client(loopback), bridge: client(ToSocket) }
    }

    /// Sends a request to where its URI leads ([`authority`]).
    pub(crate) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        if request.uri().scheme_str() == Some(SOCKET) {
            self.bridge.request(request).await
        } else {
            self.loopback.request(request).await
        }
    }
}

/// Scheme and authority of a URI that leads to where a server listens.
pub(crate) fn authority(listens: &Listens) -> (&'static str, String) {
    match listens {
        Listens::Port(port) => ("http", format!("127.0.0.1:{port}")),
        Listens::Socket(path) => (SOCKET, path.bytes().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// Whether somebody listens there now.
pub(crate) async fn is_open(listens: &Listens) -> bool {
    let attempt = async {
        match listens {
            Listens::Port(port) => tokio::net::TcpStream::connect(("127.0.0.1", *port)).await.map(drop),
            Listens::Socket(path) => UnixStream::connect(path).await.map(drop),
        }
    };
    matches!(tokio::time::timeout(CONNECT, attempt).await, Ok(Ok(())))
}

fn client<C: Connect + Clone>(connector: C) -> Client<C, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .set_host(false)
        .build(connector)
}

/// Connects to the socket that a URI names.
#[derive(Clone)]
struct ToSocket;

impl Service<Uri> for ToSocket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let path = path(&uri).ok_or(io::ErrorKind::InvalidInput)?;
            let connecting = UnixStream::connect(Path::new(&path));
            Ok(TokioIo::new(tokio::time::timeout(CONNECT, connecting).await??))
        })
    }
}

fn path(uri: &Uri) -> Option<OsString> {
    let digits = uri.host()?.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .map(OsString::from_vec)
        .filter(|path| path.as_bytes().starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_again_in_its_uri() {
        let (scheme, authority) = authority(&Listens::Socket("/run/a b/\u{e9}.sock".into()));
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query("/mcp").build().unwrap();
        assert_eq!(path(&uri).unwrap(), "/run/a b/\u{e9}.sock");
        for other in ["unix://6/", "unix://zz/", "unix://72756e/"] {
            assert_eq!(path(&other.parse().unwrap()), None, "{other}");
        }
    }
}
