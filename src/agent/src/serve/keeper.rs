//! Keeps a process for those who share it: starts it when somebody asks, anew when it has ended or its secrets are newer,
//! and brings each answer to who asked (rows 64 to 66, 69).
//!
//! Knows callers by number only, and nothing of HTTP.

mod hearing;
mod placing;
mod starting;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::ledger::{Ledger, count};
use super::memory::Memory;
use super::message::{self, Kind, Message};
use super::process::{Means, Process};
use super::room::{Delivery, Inlet, Outlet, queue};
use super::router::{Call, Nature, Owner, Router, cancellation};

/// The owner of a process that one alone has.
pub(crate) const SOLE: Owner = 1;
/// Most calls of one owner that are open.
const MAX_CALLS: usize = 256;
/// Looks (one a second) after which a cancelled call is answered for the process.
const CANCELLED_LOOKS: u32 = 5;
/// Messages, and bytes of them, that are kept for a stream that is not there.
const MAX_KEPT: usize = 64;
const MAX_KEPT_BYTES: usize = 256 << 10;
/// What a caller is told whose call was cancelled and not answered.
const CANCELLED: i32 = -32800;

/// Who shares a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// One session.
    Session,
    /// One principal, in the era without sessions.
    Partition,
    /// All sessions; the bridge itself is the client.
    Sessions,
    /// All principals, in the era without sessions.
    Partitions,
}

impl Sharing {
    pub(crate) fn is_modern(self) -> bool {
        matches!(self, Self::Partition | Self::Partitions)
    }

    /// Whether callers share it who must not hear of each other.
    pub(crate) fn is_of_many(self) -> bool {
        matches!(self, Self::Sessions | Self::Partitions)
    }
}

/// Why a request is not put to a process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The session is over.
    #[error("the session has ended")]
    Over,
    /// Too many calls of this owner are open.
    #[error("too many requests are in flight; wait for answers")]
    Busy,
    /// It keeps ending.
    #[error("the server keeps ending; it is started again in {} s", .0.as_secs() + 1)]
    Resting(Duration),
    /// It cannot be started, or does not take up the session.
    #[error("{0}")]
    NotStarted(String),
}

/// Keeps a process for those who share it.
pub(crate) struct Keeper {
    pub(crate) sharing: Sharing,
    means: Means,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    starting: tokio::sync::Mutex<()>,
    over: CancellationToken,
    /// One of the processes that there may be.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

#[derive(Default)]
struct State {
    /// Takes new requests.
    current: Option<Arc<Process>>,
    /// Each process that has not ended, with what is open with it.
    lines: BTreeMap<u64, Line>,
    listeners: HashMap<Owner, Listener>,
    memory: Memory,
    backoff: Backoff,
    /// When somebody last asked.
    asked: Option<Instant>,
}

struct Line {
    process: Arc<Process>,
    router: Router<Inlet<Delivery>>,
}

/// A session's stream for what belongs to no request.
#[derive(Default)]
struct Listener {
    stream: Option<Inlet<Delivery>>,
    kept: VecDeque<Bytes>,
}

/// A call that somebody waits for.
pub(crate) struct Waiting {
    pub(crate) deliveries: Outlet<Delivery>,
    pub(crate) attached: Attached,
}

/// As long as this is there, somebody waits for the answer.
pub(crate) struct Attached {
    keeper: Arc<Keeper>,
    process: u64,
    call: u64,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.keeper.left(self.process, self.call);
    }
}

impl Keeper {
    pub(crate) fn new(
        sharing: Sharing,
        means: Means,
        ledger: Arc<Ledger>,
        place: OwnedSemaphorePermit,
        memory: Memory,
    ) -> Arc<Self> {
        let state = State { memory, asked: Some(Instant::now()), ..State::default() };
        Arc::new(Self {
            sharing,
            means,
            ledger,
            state: Mutex::new(state),
            starting: tokio::sync::Mutex::default(),
            over: CancellationToken::new(),
            place: Mutex::new(Some(place)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request to the process, starting it if need be.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        owner: Owner,
        nature: Nature,
        request: &Message<'_>,
    ) -> Result<Waiting, Trouble> {
        loop {
            let process = self.ready().await?;
            // Whoever puts questions faster than they are read waits here.
            let Ok(room) = process.input.room(request.text.len()).await else { continue };
            let mut state = self.state();
            if state.current.as_ref().is_none_or(|current| current.number != process.number) {
                continue;
            }
            state.asked = Some(Instant::now());
            let Some(line) = state.lines.get_mut(&process.number) else { continue };
            if line.router.calls().filter(|(_, call)| call.owner == owner).count() >= MAX_CALLS {
                return Err(Trouble::Busy);
            }
            let (inlet, deliveries) = queue(self.means.max_message_bytes.max(MAX_KEPT_BYTES));
            let asked = line.router.ask(owner, nature, request, inlet);
            let (call, line) = asked.ok_or_else(|| Trouble::NotStarted("it is no request".to_owned()))?;
            state.memory.note(owner, request);
            drop(state);
            // If it has ended by now, its end answers the call.
            let _ = process.input.put(line, room);
            let attached = Attached { keeper: self.clone(), process: process.number, call };
            return Ok(Waiting { deliveries, attached });
        }
    }

    /// Passes a notification or an answer on; false if it concerns nobody.
    pub(crate) async fn tell(&self, owner: Owner, message: &Message<'_>) -> bool {
        let told = self.line_for(owner, message);
        let Some((process, line)) = told else {
            count(&self.ledger.dropped.unknown);
            return false;
        };
        if let Ok(room) = process.input.room(line.len()).await {
            let _ = process.input.put(line, room);
        }
        true
    }

    fn line_for(&self, owner: Owner, message: &Message<'_>) -> Option<(Arc<Process>, Vec<u8>)> {
        let mut state = self.state();
        let state = &mut *state;
        state.asked = Some(Instant::now());
        match &message.kind {
            // It may be with a former process.
            Kind::Response { .. } => {
                state.lines.values_mut().find_map(|line| Some((line.process.clone(), line.router.answer(message)?)))
            }
            Kind::Notification { method, .. } if method == "notifications/cancelled" => {
                let mut lines = state.lines.values_mut().rev();
                lines.find_map(|line| Some((line.process.clone(), line.router.cancel(owner, message)?.1)))
            }
            // Of many, none speaks for the bridge.
            Kind::Notification { .. } if self.sharing == Sharing::Sessions => None,
            Kind::Notification { .. } => {
                state.memory.note(owner, message);
                Some((state.current.clone()?, message.rewritten(&[])))
            }
            Kind::Request { .. } => None,
        }
    }

    /// Opens a session's stream for what belongs to no request. A former one ends.
    pub(crate) fn listen(&self, owner: Owner) -> Outlet<Delivery> {
        let (inlet, outlet) = queue(self.means.max_message_bytes.max(MAX_KEPT_BYTES));
        let mut state = self.state();
        let listener = state.listeners.entry(owner).or_default();
        for text in listener.kept.drain(..) {
            let _ = inlet.put_small(Delivery::Message(text));
        }
        if !self.over.is_cancelled() {
            listener.stream = Some(inlet);
        }
        outlet
    }

    /// Forgets a session of many.
    pub(crate) fn leave(&self, owner: Owner) {
        let mut state = self.state();
        state.listeners.remove(&owner);
        let unwanted = state.memory.forget_all(owner);
        drop(state);
        for uri in unwanted {
            self.say(
                "resources/unsubscribe",
                &format!(r#"{{"uri":{}}}"#, serde_json::to_string(&uri).unwrap_or_default()),
            );
        }
    }

    /// Puts a request of the bridge's own to the process that runs, without waiting for the answer.
    fn say(&self, method: &str, params: &str) {
        let text = message::request(method, params);
        let Ok(request) = Message::read(text.as_bytes()) else { return };
        let mut state = self.state();
        let Some(process) = state.current.clone() else { return };
        let asked =
            state.lines.get_mut(&process.number).and_then(|line| line.router.ask(0, Nature::Own, &request, queue(1).0));
        if let Some((_, line)) = asked {
            let _ = process.input.put_small(line);
        }
    }

    /// Whether others than this owner want to hear of a resource.
    pub(crate) fn others_want(&self, owner: Owner, uri: &str) -> bool {
        self.state().memory.others_want(owner, uri)
    }

    /// Notes what the process need not hear.
    pub(crate) fn note(&self, owner: Owner, message: &Message<'_>) {
        self.state().memory.note(owner, message);
    }

    /// What the process said to `initialize`.
    pub(crate) fn greeting(&self) -> Option<Box<str>> {
        self.state().memory.result.clone()
    }

    /// Nobody waits for a call any more. In the modern era that cancels it (row 69); before, it does not (row 12).
    fn left(&self, process: u64, call: u64) {
        let mut state = self.state();
        let Some(line) = state.lines.get_mut(&process) else { return };
        if self.sharing.is_modern() {
            if line.router.take(call).is_some() {
                let _ = line.process.input.put_small(cancellation(call));
            }
        } else {
            line.router.leave(call);
        }
        state.dismiss_former();
    }

    /// How long nobody has asked anything; none while somebody waits. An open stream is no question (row 65).
    pub(crate) fn idle(&self, now: Instant) -> Option<Duration> {
        let state = self.state();
        let busy = state.lines.values().any(|line| line.router.is_busy());
        (!busy).then(|| state.asked.map_or(Duration::MAX, |asked| now.saturating_duration_since(asked)))
    }

    /// Answers cancelled calls that the process leaves open.
    pub(crate) fn look(&self) {
        let mut overdue = Vec::new();
        for line in self.state().lines.values_mut() {
            let late: Vec<u64> = line.router.look(CANCELLED_LOOKS);
            overdue.extend(late.into_iter().filter_map(|number| line.router.take(number)));
        }
        for call in overdue {
            answer_for(&call, CANCELLED, "the request was cancelled");
        }
    }

    /// Signals the process.
    pub(crate) fn signal(&self, signal: Signal) {
        for line in self.state().lines.values() {
            line.process.signal(signal);
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Ends it for good: streams end, the process too.
    pub(crate) fn end(self: &Arc<Self>) {
        self.over.cancel();
        let mut state = self.state();
        state.listeners.clear();
        state.current = None;
        let processes: Vec<_> = state.lines.values().map(|line| line.process.clone()).collect();
        drop(state);
        for process in &processes {
            process.dismiss();
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            // Whoever is starting one sees that it is over.
            drop(keeper.starting.lock().await);
            for process in processes {
                process.gone().await;
            }
            keeper.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
    }

    /// Waits until nothing of it is left.
    pub(crate) async fn gone(&self) {
        drop(self.starting.lock().await);
        let processes: Vec<_> = self.state().lines.values().map(|line| line.process.clone()).collect();
        for process in processes {
            process.gone().await;
        }
    }
}

/// Answers a call in place of the process.
fn answer_for(call: &Call<Inlet<Delivery>>, code: i32, why: &str) {
    let text = message::error(&call.id, code, why);
    let _ = call.to.put_small(Delivery::Answer(text.into(), Some(code)));
}

impl State {
    /// Ends processes that take no new requests and have none open.
    fn dismiss_former(&self) {
        let Some(current) = self.current.as_ref().map(|process| process.number) else { return };
        for (_, line) in self.lines.iter().filter(|(number, line)| **number < current && !line.router.is_busy()) {
            line.process.dismiss();
        }
    }
}
