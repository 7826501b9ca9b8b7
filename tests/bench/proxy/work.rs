//! What the load generator is told to do and what it answers, as they go between the two processes.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Events of the stream that is measured, the answer included.
pub(crate) const EVENTS: usize = 1000;
/// Size of the large result.
pub(crate) const BIG: usize = 100 << 10;
/// What `echo` is given: 64 bytes.
pub(crate) const TEXT: &str = "sixty-four bytes of argument, as an agent may send to a tool: ok";
/// Revision that is spoken: the newest that every target knows.
pub(crate) const REVISION: &str = "2025-11-25";

/// How a target is reached.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    pub(crate) path: String,
    /// Where the target has TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) token: Option<String>,
    /// What the target puts before the names of tools.
    pub(crate) prefix: String,
}

/// PEM files.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Tls {
    pub(crate) authority: PathBuf,
    /// The caller's certificate and key.
    pub(crate) caller: Option<(PathBuf, PathBuf)>,
}

/// What is asked for, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// `tools/call` that gives its argument back.
    Call,
    /// `tools/call` with a result of [`BIG`] bytes.
    Big,
    /// `tools/list` that shows this many.
    List { shown: usize },
    /// `tools/call` answered with a stream of [`EVENTS`] events.
    Events,
    /// A new connection with its first request.
    Connect,
    /// Streams that stay open until the generator is told to end.
    Hold,
}

/// One cell, as the generator is told.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) way: Way,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    pub(crate) warm_up_ms: u64,
    pub(crate) run_ms: u64,
}

/// What the generator saw. A single failure ends a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) requests: usize,
    pub(crate) failures: usize,
    /// The first failure.
    pub(crate) failure: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// From the request to the first event, of [`Work::Events`].
    pub(crate) first_event_p50_us: Option<f64>,
}
