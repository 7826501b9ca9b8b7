//! Callers that call on while what proves them changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinHandle;

use super::{World, eventually, tool_call};

const CALLERS: usize = 4;

#[derive(Default)]
struct Counts {
    current: AtomicUsize,
    stop: AtomicBool,
    done: AtomicUsize,
    failed: AtomicUsize,
}

/// Calls of `echo`, one after the other by each caller.
pub(crate) struct Load {
    counts: Arc<Counts>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins with the first of these tokens.
    pub(crate) fn start(world: &Arc<World>, tokens: &[String]) -> Self {
        let counts = Arc::<Counts>::default();
        let caller = |_| {
            let (world, tokens, counts) = (world.clone(), tokens.to_vec(), counts.clone());
            tokio::spawn(async move {
                while !counts.stop.load(Ordering::Relaxed) {
                    let before = counts.current.load(Ordering::SeqCst);
                    let answer = world.with_token(&tokens[before], tool_call("echo", json!({}))).await;
                    // A caller that took its token before the switch may meet the end of the overlap.
                    let fine = answer.status == 200 || counts.current.load(Ordering::SeqCst) != before;
                    if fine { &counts.done } else { &counts.failed }.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { counts, callers }
    }

    /// Waits for a few calls more.
    pub(crate) async fn serves(&self) {
        let done = || self.counts.done.load(Ordering::Relaxed);
        let reached = done() + 20;
        eventually("calls are served", async || done() > reached).await;
    }

    /// The callers bear this token from now on.
    pub(crate) fn turns_to(&self, token: usize) {
        self.counts.current.store(token, Ordering::SeqCst);
    }

    /// Ends it; nobody was refused.
    pub(crate) async fn ends_without_a_gap(self) {
        self.counts.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        assert_eq!(self.counts.failed.load(Ordering::Relaxed), 0, "of {:?}", self.counts.done);
    }
}
