//! Connections: accepted, secured, bounded in number, time and age, and let go gracefully.
//!
//! Does not know what a request asks; each goes to [`crate::front`].

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls_pki_types::{CertificateDer, UnixTime};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authn::certificate::Presented;
use crate::delivery::{Activity, Delivery, Window};
use crate::limits::callers::network;
use crate::limits::ledger::Ledger;
use crate::limits::{Limit, Patience, Slot, Slots};
use crate::tls::{Anchor, TlsUnit};
use crate::{Proxy, front, limits};

/// Serves until `shutdown`, then until the last connection has ended or `drain` is over.
pub(crate) async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    connections: usize,
    shutdown: CancellationToken,
    drain: Duration,
) {
    let room = Room::new(connections);
    let tracker = TaskTracker::new();
    let end = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &room, &proxy) => accepted,
        };
        let Some((stream, peer, place)) = accepted else {
            continue;
        };
        let (proxy, shutdown, end) = (proxy.clone(), shutdown.clone(), end.clone());
        tracker.spawn(async move {
            let _place = place;
            end.run_until_cancelled_owned(connection(stream, peer, proxy, shutdown)).await;
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

/// Places for connections: so many in all, and of one network no more than are left for others.
struct Room {
    most: usize,
    all: Arc<Semaphore>,
    networks: Ledger<Slots>,
}

impl Room {
    fn new(most: usize) -> Self {
        Self { most, all: Arc::new(Semaphore::new(most)), networks: Ledger::new(most, Duration::ZERO) }
    }
}

type Place = (OwnedSemaphorePermit, Slot);

async fn accept(listener: &TcpListener, room: &Room, proxy: &Proxy) -> Option<(TcpStream, SocketAddr, Place)> {
    let place = room.all.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let taken = room.most - room.all.available_permits();
            let its = room.networks.of(network(peer.ip()), Slots::default);
            let Some(slot) = its.take_fair_share(taken, room.most) else {
                proxy.metrics.limit_met(Limit::ConnectionsPerPeer);
                tracing::debug!(%peer, "too many connections from there");
                return None;
            };
            Some((stream, peer, (place, slot)))
        }
        Err(error) => {
            // Out of file descriptors, most likely: pause, or this becomes a busy loop.
            tracing::warn!(%error, "cannot accept");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// What the kernel does for us: it notices a caller that is gone, or that takes nothing, and keeps little for it. What it
/// cannot do is done without.
fn tune(stream: &TcpStream, patience: &Patience) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(patience.stall).with_interval(patience.stall / 4);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    {
        let _ = socket.set_tcp_user_timeout(Some(patience.stall));
        let _ = socket.set_tcp_notsent_lowat(limits::MAX_UNSENT_KERNEL);
    }
}

/// Waiting takes little room: what is done once, and what is done for a while, is boxed on its own.
async fn connection(stream: TcpStream, peer: SocketAddr, proxy: Arc<Proxy>, shutdown: CancellationToken) {
    if let Some((stream, connection)) = Box::pin(secured(stream, peer, &proxy)).await {
        Box::pin(http(stream, connection, proxy, shutdown)).await;
    }
}

/// The handshake.
async fn secured(
    stream: TcpStream,
    peer: SocketAddr,
    proxy: &Proxy,
) -> Option<(TlsStream<TcpStream>, Arc<Connection>)> {
    tune(&stream, &proxy.patience);
    let unit = proxy.tls.current();
    let handshake = TlsAcceptor::from(unit.server.clone()).accept(stream);
    let mut stream = match tokio::time::timeout(proxy.patience.handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "handshake refused");
            return None;
        }
        Err(_) => {
            proxy.metrics.limit_met(Limit::Handshake);
            tracing::debug!(%peer, "handshake took too long");
            return None;
        }
    };
    stream.get_mut().1.set_buffer_limit(Some(limits::MAX_UNSENT_TLS));
    let connection = Arc::new(Connection::new(peer, &stream, &unit));
    Some((stream, connection))
}

async fn http(
    stream: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    proxy: Arc<Proxy>,
    shutdown: CancellationToken,
) {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let builder = builder(h2, &proxy.patience);
    let window = h2.then(Window::default);
    let (seen, serving) = (connection.clone(), proxy.clone());
    let service = service_fn(move |request| {
        let (proxy, connection, window) = (serving.clone(), seen.clone(), window.clone());
        async move {
            let (active, count) = connection.activity.begin();
            let limit = if count > limits::FEW_UNREAD { limits::MAX_UNREAD } else { usize::MAX };
            let unread = proxy.unread.take(1, limit).ok_or_else(|| {
                proxy.metrics.limit_met(Limit::Unread);
                TooManyUnread
            })?;
            let (response, held) = Box::pin(front::serve(&proxy, &connection, request)).await;
            let metrics = proxy.metrics.clone();
            Ok::<_, TooManyUnread>(Delivery::of(response, held, active, unread, window.as_ref(), metrics))
        }
    });
    let mut serving = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    let patience = &proxy.patience;
    let mut look = tokio::time::interval(patience.look);
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
                let activity = &connection.activity;
                if activity.idle_since().is_some_and(|since| since.elapsed() > patience.idle) {
                    return proxy.metrics.limit_met(Limit::IdleConnection);
                }
                if activity.unread_since().is_some_and(|since| since.elapsed() > patience.stall) {
                    tracing::info!(peer = %connection.peer, "answers are not read; the connection is cut");
                    return proxy.metrics.limit_met(Limit::Stalled);
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
fn builder(h2: bool, patience: &Patience) -> Builder<TokioExecutor> {
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_headers(limits::MAX_HEADERS)
        .max_buf_size(limits::MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::MAX_STREAMS)
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        // What it takes to notice a caller that asks and takes back at once (CVE-2023-44487), or breaks the rules again
        // and again.
        .max_pending_accept_reset_streams(limits::MAX_RESETS)
        .max_local_error_reset_streams(limits::MAX_RESETS)
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
    proven: AtomicBool,
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
        Self { peer, chain, presented, standing, activity: Activity::default(), proven: AtomicBool::new(false) }
    }

    /// Whether the last request on it has proven somebody.
    pub(crate) fn has_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    pub(crate) fn proves(&self, somebody: bool) {
        self.proven.store(somebody, Ordering::Relaxed);
    }

    /// Whether a certificate was presented, whatever it is worth now.
    pub(crate) fn bears_certificate(&self) -> bool {
        self.presented.is_some()
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
