//! What nobody may have more of: the numbers that are the same for every server, and the ways to count by.
//!
//! What a manifest sets comes with the configuration; who has how much of it is known by [`callers`].

pub(crate) mod callers;
pub(crate) mod ledger;
pub(crate) mod rate;
mod slots;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelValue;

pub(crate) use self::slots::{Slot, Slots};

/// A limit that was met, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Limit {
    Concurrent,
    ConcurrentPerPrincipal,
    StreamsPerPrincipal,
    RatePerServer,
    RatePerPrincipal,
    RatePerTool,
    FailuresPerPeer,
    /// Bytes of a body, or of all bodies that are kept.
    Body,
    /// Lines of a head.
    Head,
    SlowBody,
    /// Answers that were not taken to their last byte.
    Unread,
    ConnectionsPerPeer,
    Handshake,
    /// A connection over which nothing went.
    IdleConnection,
    /// An answer that its caller did not go on reading.
    Stalled,
    /// An answer that its server did not go on with.
    SilentAnswer,
}

impl Limit {
    pub(crate) const ALL: [Self; 16] = [
        Self::Concurrent,
        Self::ConcurrentPerPrincipal,
        Self::StreamsPerPrincipal,
        Self::RatePerServer,
        Self::RatePerPrincipal,
        Self::RatePerTool,
        Self::FailuresPerPeer,
        Self::Body,
        Self::Head,
        Self::SlowBody,
        Self::Unread,
        Self::ConnectionsPerPeer,
        Self::Handshake,
        Self::IdleConnection,
        Self::Stalled,
        Self::SilentAnswer,
    ];
}

/// How long others may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Until a TLS handshake must be over.
    pub handshake: Duration,
    /// Until the head of a request must be there; also how long an idle HTTP/1 connection is kept.
    pub head: Duration,
    /// Until the body of a request must be there.
    pub body: Duration,
    /// How long a connection without any request is kept.
    pub idle: Duration,
    /// How long a caller may leave unread what is there for it.
    pub stall: Duration,
    /// How often a connection is looked at for the two before.
    pub look: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(10),
            head: seconds(60),
            body: seconds(30),
            idle: seconds(75),
            stall: seconds(60),
            look: seconds(15),
        }
    }
}

/// After this long a connection takes no new requests, so that the client meets the leaf then served and its own
/// certificate is checked anew.
pub(crate) const CONNECTION_AGE: Duration = Duration::from_secs(3600);
/// How often an open stream is asked again for what opened it, so that a revoked token does not keep it.
pub(crate) const RECHECK: Duration = Duration::from_secs(30);
/// Of the time that streams have to end when the proxy stops, how much is kept for ending them in order.
pub(crate) const CLOSING: Duration = Duration::from_secs(1);
/// Head of one request. Half of it may be a token.
pub(crate) const MAX_HEAD_BYTES: usize = 32 << 10;
/// Header lines of one request.
pub(crate) const MAX_HEADERS: usize = 100;
/// Streams on one HTTP/2 connection: RFC 9113 section 6.5.2 wants no fewer, memory no more.
pub(crate) const MAX_STREAMS: u32 = 100;
/// Streams that an HTTP/2 caller may take back unanswered, or lose by its own fault, before the connection is cut.
pub(crate) const MAX_RESETS: usize = 20;
/// What is kept for a caller that reads slowly, on one HTTP/2 connection.
pub(crate) const MAX_UNSENT_BYTES: usize = 64 << 10;
/// Of it at once. A stream whose caller has closed its window may hold one piece.
pub(crate) const MAX_PIECE: usize = 8 << 10;
/// What a piece costs besides its bytes.
pub(crate) const PIECE_COST: usize = 256;
/// What of TLS is kept for a caller that reads slowly: two records.
pub(crate) const MAX_UNSENT_TLS: usize = 32 << 10;
/// What the kernel keeps of it, besides what is on its way.
pub(crate) const MAX_UNSENT_KERNEL: u32 = 128 << 10;
/// What a caller may send on one HTTP/2 stream before it is read, and on a connection.
pub(crate) const STREAM_WINDOW: u32 = 64 << 10;
pub(crate) const CONNECTION_WINDOW: u32 = 128 << 10;
/// A list, or one event of a stream, that has to be read whole to be filtered.
pub(crate) const MAX_FILTERED_BYTES: usize = 8 << 20;
/// All lists and events together that are read whole at once.
pub(crate) const MAX_ALL_FILTERED_BYTES: usize = 32 << 20;

/// Bodies larger than [`SMALL_BODY`] that are kept at once take no more than this together, or one largest body.
pub(crate) const MAX_BODIES_BYTES: usize = 32 << 20;
/// Bodies up to this are bounded by the number of requests alone.
pub(crate) const SMALL_BODY: usize = 64 << 10;
/// Longest body that is kept for as long as the answer to it lasts. Of a longer one the arguments are not known any more, so
/// a change that brings conditions on them ends the answer.
pub(crate) const MAX_KEPT_BODY: usize = 8 << 10;
/// Answers at once that were not taken to their last byte, refusals included, which hold no slot: HTTP/2 lets a caller ask
/// without ever reading.
pub(crate) const MAX_UNREAD: usize = 4096;
/// Of these a connection may have some even when there are too many, so that nobody is shut out by another.
pub(crate) const FEW_UNREAD: usize = 4;
