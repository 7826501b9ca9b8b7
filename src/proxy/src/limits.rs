//! How much is served at once. A slot is held from the request's first check to the last byte of its answer.
//!
//! The number comes from the configuration in force, so it is compared on taking, not fixed in a semaphore.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections at once. Further ones wait in the kernel's queue.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// Until a TLS handshake must be over.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until the head of a request must be there; also how long an idle HTTP/1 connection is kept.
pub(crate) const HEADER_READ: Duration = Duration::from_secs(60);
/// Until the body of a request must be there.
pub(crate) const BODY_READ: Duration = Duration::from_secs(30);
/// How long a connection without any request is kept.
pub(crate) const IDLE: Duration = Duration::from_secs(75);
/// After this long a connection takes no new requests, so that the client meets the leaf then served and its own
/// certificate is checked anew.
pub(crate) const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// How often an open stream is asked again for what opened it, so that a revoked token does not keep it.
pub(crate) const RECHECK: Duration = Duration::from_secs(30);
/// Of the time that streams have to end when the proxy stops, how much is kept for ending them in order.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);
/// Head of one request. Half of it may be a token.
pub(crate) const MAX_HEAD_BYTES: usize = 32 << 10;
/// Streams on one HTTP/2 connection: RFC 9113 section 6.5.2 wants no fewer, memory no more.
pub(crate) const MAX_STREAMS: u32 = 100;
/// What is kept for a caller that reads slowly, on one HTTP/2 stream.
pub(crate) const MAX_UNSENT_BYTES: usize = 64 << 10;
/// A list, or one event of a stream, that has to be read whole to be filtered.
pub(crate) const MAX_FILTERED_BYTES: usize = 8 << 20;

/// Bodies larger than [`SMALL_BODY`] that are kept at once take no more than this together, or one largest body.
pub(crate) const MAX_BODIES_BYTES: usize = 32 << 20;
/// Bodies up to this are bounded by the number of requests alone.
pub(crate) const SMALL_BODY: usize = 64 << 10;
/// Answers at once that were not taken to their last byte, refusals included, which hold no slot: HTTP/2 lets a caller ask
/// without ever reading.
pub(crate) const MAX_UNREAD: usize = 4096;
/// Of these a connection may have some even when there are too many, so that nobody is shut out by another.
pub(crate) const FEW_UNREAD: usize = 4;

/// Counts what is taken: requests, answers, bytes.
#[derive(Default)]
pub(crate) struct Slots(Arc<AtomicUsize>);

/// What was taken, until it is dropped.
pub(crate) struct Slot {
    of: Arc<AtomicUsize>,
    count: usize,
}

impl Slots {
    /// Takes `count`, if no more than `limit` are taken then.
    pub(crate) fn take(&self, count: usize, limit: usize) -> Option<Slot> {
        let within = |taken: usize| taken.checked_add(count).filter(|taken| *taken <= limit);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).ok()?;
        Some(Slot { of: self.0.clone(), count })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.fetch_sub(self.count, Ordering::AcqRel);
    }
}
