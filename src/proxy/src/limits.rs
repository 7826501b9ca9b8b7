//! How much is served at once. A slot is held from the request's first check to the last byte of its answer.
//!
//! The number comes from the configuration in force, so it is compared on taking, not fixed in a semaphore.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
/// Head of one request.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;
/// Streams on one HTTP/2 connection.
pub(crate) const MAX_STREAMS: u32 = 256;
/// What is kept for a caller that reads slowly, on one HTTP/2 stream.
pub(crate) const MAX_UNSENT_BYTES: usize = 64 << 10;
/// A list, or one event of a stream, that has to be read whole to be filtered.
pub(crate) const MAX_FILTERED_BYTES: usize = 8 << 20;

/// Counts requests being served.
#[derive(Default)]
pub(crate) struct Slots(Arc<AtomicU32>);

/// One request being served.
pub(crate) struct Slot(Arc<AtomicU32>);

impl Slots {
    /// A slot, if fewer than `limit` are taken.
    pub(crate) fn take(&self, limit: u32) -> Option<Slot> {
        let below = |taken: u32| (taken < limit).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).ok()?;
        Some(Slot(self.0.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
