//! Connections: accepted, secured, bounded in number, time and age, and let go gracefully.
//!
//! Does not know what a request asks; each goes to [`crate::front`].

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::Followed;
use crate::authn::certificate::Presented;
use crate::limits::Slot;
use crate::reply::BodyError;
use crate::tls::{Anchor, TlsUnit};
use crate::{Proxy, front, limits};

/// How often a connection is looked at for idleness.
const LOOK: Duration = Duration::from_secs(15);

/// Serves until `shutdown`, then until the last connection has ended or `drain` is over.
pub(crate) async fn serve(listener: TcpListener, proxy: Arc<Proxy>, shutdown: CancellationToken, drain: Duration) {
    let room = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS));
    let tracker = TaskTracker::new();
    let end = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let (proxy, shutdown, end) = (proxy.clone(), shutdown.clone(), end.clone());
        tracker.spawn(async move {
            let _place = place;
            end.run_until_cancelled_owned(Box::pin(connection(stream, peer, proxy, shutdown))).await;
        });
    }
    drop(listener);
    tracker.close();
    tracing::info!(connections = tracker.len(), "stopping");
    let ended = async {
        if tokio::time::timeout(drain.saturating_sub(limits::CLOSING), tracker.wait()).await.is_err() {
            proxy.closing.cancel();
            tracker.wait().await;
        }
    };
    if tokio::time::timeout(drain, ended).await.is_err() {
        tracing::warn!(connections = tracker.len(), "drain time is over; connections are cut");
        end.cancel();
        tracker.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            // Out of file descriptors, most likely: pause, or this becomes a busy loop.
            tracing::warn!(%error, "cannot accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, proxy: Arc<Proxy>, shutdown: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let unit = proxy.tls.current();
    let handshake = TlsAcceptor::from(unit.server.clone()).accept(stream);
    let stream = match tokio::time::timeout(limits::HANDSHAKE, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "handshake refused"),
        Err(_) => return tracing::debug!(%peer, "handshake took too long"),
    };
    let connection = Arc::new(Connection::new(peer, &stream, &unit));
    drop(unit);
    http(stream, connection, proxy, shutdown).await;
}

async fn http(
    stream: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    proxy: Arc<Proxy>,
    shutdown: CancellationToken,
) {
    let builder = builder(stream.get_ref().1.alpn_protocol() == Some(b"h2"));
    let seen = connection.clone();
    let service = service_fn(move |request| {
        let (proxy, connection) = (proxy.clone(), seen.clone());
        async move {
            let (active, count) = connection.activity.begin();
            let limit = if count > limits::FEW_UNREAD { limits::MAX_UNREAD } else { usize::MAX };
            let unread = proxy.unread.take(1, limit).ok_or(TooManyUnread)?;
            let response = front::serve(&proxy, &connection, request).await;
            Ok::<_, TooManyUnread>(response.map(|body| Tracked { body, _active: active, _unread: unread }))
        }
    });
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let mut look = tokio::time::interval(LOOK);
    let oldest = Instant::now() + limits::CONNECTION_AGE;
    let mut leaving = false;
    loop {
        tokio::select! {
            outcome = serving.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(peer = %connection.peer, error = crate::config::reason(error.as_ref()), "connection ended");
                }
                return;
            }
            () = shutdown.cancelled(), if !leaving => {
                leaving = true;
                serving.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if connection.activity.idle_since().is_some_and(|since| since.elapsed() > limits::IDLE) {
                    return;
                }
                if !leaving && Instant::now() > oldest {
                    leaving = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Ends a request without an answer, since answers are what there is too much of.
#[derive(Debug, thiserror::Error)]
#[error("too many answers are not read")]
struct TooManyUnread;

/// The protocol is the one that was agreed on in the handshake: guessing it by the first bytes would have no time limit.
fn builder(h2: bool) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_READ)
        .max_buf_size(limits::MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_STREAMS)
        .max_send_buf_size(limits::MAX_UNSENT_BYTES)
        .max_header_list_size(u32::try_from(limits::MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// What is known of a connection.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    chain: Vec<CertificateDer<'static>>,
    presented: Option<Presented>,
    standing: Mutex<Standing>,
    activity: Activity,
}

/// What was found about the presented chain, and against which anchors.
struct Standing {
    trust: [u8; 32],
    anchor: Option<Anchor>,
}

impl Connection {
    fn new(peer: SocketAddr, stream: &TlsStream<TcpStream>, unit: &TlsUnit) -> Self {
        let chain: Vec<_> = stream
            .get_ref()
            .1
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|one| one.clone().into_owned())
            .collect();
        let presented = chain.first().and_then(Presented::read);
        let anchor = unit.trust.anchor(&chain, UnixTime::now());
        let standing = Mutex::new(Standing { trust: unit.trust.id, anchor });
        Self { peer, chain, presented, standing, activity: Activity::default() }
    }

    /// The certificate this connection may be known by, and the anchor it leads to, by the anchors in force now: an
    /// authority that was retired, or a certificate that has run out, ends what a long connection may do.
    pub(crate) fn certificate(&self, unit: &TlsUnit) -> Option<(&Presented, Anchor)> {
        let presented = self.presented.as_ref()?;
        let now = UnixTime::now();
        if i64::try_from(now.as_secs()).map_or(true, |now| now > presented.not_after) {
            return None;
        }
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if standing.trust != unit.trust.id {
            *standing = Standing { trust: unit.trust.id, anchor: unit.trust.anchor(&self.chain, now) };
        }
        standing.anchor.map(|anchor| (presented, anchor))
    }
}

/// Whether anything is going on: requests not answered to the last byte, and since when there are none.
#[derive(Clone)]
struct Activity(Arc<Mutex<(usize, Instant)>>);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((0, Instant::now()))))
    }
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, (usize, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request more, and how many there are now.
    fn begin(&self) -> (Active, usize) {
        let mut state = self.state();
        state.0 += 1;
        (Active(self.clone()), state.0)
    }

    fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.0 == 0).then_some(state.1)
    }
}

struct Active(Activity);

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = self.0.state();
        *state = (state.0.saturating_sub(1), Instant::now());
    }
}

/// A body that counts as activity to its end.
struct Tracked {
    body: Followed,
    _active: Active,
    _unread: Slot,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
