//! A server that says what a test wants it to, well or badly: HTTP/1.1 by hand, so that it can do what no server should.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::authority::Leaf;

/// Bytes of [`Reply::Endless`].
const ENDLESS: u64 = 100 << 20;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `GET /v1/…`.
    pub(crate) line: String,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<String>,
}

/// What is said to it.
pub(crate) enum Reply {
    Json(u16, Value),
    /// Status line and headers, each on a line; and a body.
    Text(&'static str, &'static str),
    /// 100 MiB of JSON, with their length told at the beginning or not.
    Endless {
        announced: bool,
    },
    /// Nothing, while the connection stays.
    Silence,
    /// One byte after the other, with pauses.
    Drip,
    /// The connection ends in the middle.
    BrokenOff,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server, which ends when this does.
pub(crate) struct Scripted {
    /// Base URL.
    pub(crate) address: String,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    sent: AtomicU64,
    hung_up: AtomicBool,
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, Arc::new(script)).await
    }

    pub(crate) async fn start_tls(leaf: &Leaf, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let chain = CertificateDer::pem_slice_iter(leaf.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, leaf.private_key())
            .unwrap();
        Self::serve(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(script)).await
    }

    async fn serve(tls: Option<TlsAcceptor>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, script, seen) = (tls.clone(), script.clone(), shared.clone());
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, &*script, &seen).await,
                        Some(tls) => {
                            // A client that does not like the certificate goes.
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, &*script, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, seen, serving }
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
    }

    /// Whether somebody has hung up in the middle of an answer.
    pub(crate) fn hung_up(&self) -> bool {
        self.seen.hung_up.load(Ordering::Relaxed)
    }

    /// How many bytes of endless answers went out.
    pub(crate) fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script, seen: &Seen) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = request(&mut stream).await {
        seen.asked.lock().unwrap().push(asked.clone());
        if answer(&mut stream, script(&asked), seen).await.is_err() {
            seen.hung_up.store(true, Ordering::Relaxed);
            return;
        }
    }
}

async fn request(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<String> = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| format!("{}: {}", name.to_lowercase(), value.trim()))
        .collect();
    let length = headers.iter().find_map(|header| header.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { line, headers })
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), reply: Reply, seen: &Seen) -> std::io::Result<()> {
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match reply {
        Reply::Json(status, value) => {
            let body = value.to_string();
            let head = format!(
                "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await?;
        }
        Reply::Text(head, body) => {
            let head = head.replace('\n', "\r\n");
            stream
                .write_all(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await?;
        }
        Reply::Endless { announced } => {
            let length = if announced { format!("content-length: {ENDLESS}") } else { "connection: close".to_owned() };
            stream.write_all(format!("{json}{length}\r\n\r\n\"").as_bytes()).await?;
            let piece = vec![b'x'; 64 << 10];
            while seen.sent.load(Ordering::Relaxed) < ENDLESS {
                stream.write_all(&piece).await?;
                seen.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
        }
        Reply::Silence => std::future::pending().await,
        Reply::Drip => {
            stream.write_all(format!("{json}content-length: 1000\r\n\r\n").as_bytes()).await?;
            for _ in 0..1000 {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Reply::BrokenOff => {
            stream.write_all(format!("{json}content-length: 1000\r\n\r\n{{").as_bytes()).await?;
            stream.flush().await?;
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
    }
    stream.flush().await
}
