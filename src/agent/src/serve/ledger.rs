//! What all processes of a bridge count together: their numbers, and what was dropped, logged now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::said::Allowance;
use super::scrub::Scrub;

/// Bytes of a line that are shown of what is no message.
const SHOWN: usize = 200;

/// Lines and messages that went to nobody.
#[derive(Default)]
pub(crate) struct Dropped {
    /// Lines that are no message.
    pub(crate) junk: AtomicU64,
    /// Lines that were too long.
    pub(crate) too_long: AtomicU64,
    /// Messages about calls that nobody has made, from either side.
    pub(crate) unknown: AtomicU64,
    /// Messages of which nobody can say whose they are.
    pub(crate) unclaimed: AtomicU64,
    /// Streams that were ended because nobody read them.
    pub(crate) unread: AtomicU64,
}

/// The ledger of a bridge.
pub(crate) struct Ledger {
    processes: AtomicU64,
    questions: AtomicU64,
    pub(crate) dropped: Dropped,
    told: Mutex<[u64; 5]>,
    junk: Mutex<Allowance>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let junk = Mutex::new(Allowance::new(Instant::now()));
        let first = || AtomicU64::new(1);
        Self { processes: first(), questions: first(), dropped: Dropped::default(), told: Mutex::default(), junk }
    }

    /// The number of the next process.
    pub(crate) fn process(&self) -> u64 {
        self.processes.fetch_add(1, Ordering::Relaxed)
    }

    /// The id of the next request to a caller's side: none comes twice, whichever process asks.
    pub(crate) fn question(&self) -> u64 {
        self.questions.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a line that is no message, and shows some of it if not too many were shown.
    pub(crate) fn junk(&self, process: u64, line: &[u8], scrub: &Scrub) {
        count(&self.dropped.junk);
        if self.junk.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).is_some() {
            // Cut after it was scrubbed: half a secret would not be known.
            let line = scrub.text(line.get(..SHOWN * 20).unwrap_or(line));
            let line: String = line.chars().take(SHOWN).collect();
            tracing::warn!(process, line, "the server writes to its standard output what is no message; it is dropped");
        }
    }

    /// Logs what was dropped, if more was since the last time.
    pub(crate) fn tell(&self) {
        let Dropped { junk, too_long, unknown, unclaimed, unread } = &self.dropped;
        let now = [junk, too_long, unknown, unclaimed, unread].map(|count| count.load(Ordering::Relaxed));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != now {
            *told = now;
            let [junk, too_long, unknown, unclaimed, unread] = now;
            tracing::info!(junk, too_long, unknown, unclaimed, unread, "messages dropped since the start");
        }
    }
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
