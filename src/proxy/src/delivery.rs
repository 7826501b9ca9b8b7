//! An answer on its way to the caller: what is held until its last byte is gone, how long it may stand still on either side,
//! and how much of it may lie in buffers beyond our own. HTTP/2 lets a caller ask without ever reading; what it does not
//! read must stay with the server, not here.
//!
//! Does not know what an answer says. [`crate::listener`] asks what goes on over a connection and ends it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::PollSemaphore;

use crate::account::Followed;
use crate::limits::callers::Admitted;
use crate::limits::{Limit, MAX_PIECE, MAX_UNSENT_BYTES, PIECE_COST, Slot};
use crate::metrics::Metrics;
use crate::reply::BodyError;
use crate::response::is_event_stream;

/// What an answer holds until its last byte is gone.
pub(crate) struct Held {
    /// How long the server may be silent.
    pub(crate) silence: Option<Duration>,
    pub(crate) admitted: Option<Admitted>,
    pub(crate) place: Slot,
}

/// What may lie in buffers of HTTP/2 for one connection, in bytes. There a caller decides how much it takes at once; in
/// HTTP/1 the only buffer has a fixed size.
#[derive(Clone)]
pub(crate) struct Window(Arc<Semaphore>);

impl Default for Window {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_UNSENT_BYTES)))
    }
}

/// A body that counts as activity, and holds what it has to, to its end.
pub(crate) struct Delivery {
    body: Followed,
    /// What came from the server and is not yet given away.
    rest: Bytes,
    window: Option<PollSemaphore>,
    active: Active,
    silence: Option<Silence>,
    ended: bool,
    metrics: Arc<Metrics>,
    _held: Option<(Option<Admitted>, Slot)>,
    _unread: Slot,
}

/// How long the server may say nothing.
struct Silence {
    limit: Duration,
    /// Whether the answer may end anywhere, as a stream of events may.
    anywhere: bool,
    timer: Option<Pin<Box<Sleep>>>,
    lasts: bool,
}

impl Delivery {
    pub(crate) fn of(
        response: Response<Followed>,
        held: Option<Held>,
        active: Active,
        unread: Slot,
        window: Option<&Window>,
        metrics: Arc<Metrics>,
    ) -> Response<Self> {
        let anywhere = is_event_stream(response.headers());
        let silence = held.as_ref().and_then(|held| held.silence);
        response.map(|body| Self {
            body,
            rest: Bytes::new(),
            window: window.map(|window| PollSemaphore::new(window.0.clone())),
            active,
            silence: silence.map(|limit| Silence { limit, anywhere, timer: None, lasts: false }),
            ended: false,
            metrics,
            _held: held.map(|held| (held.admitted, held.place)),
            _unread: unread,
        })
    }

    /// The next piece of what is there, as soon as there is room for it.
    fn piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(window) = &mut self.window else {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        };
        let length = self.rest.len().min(MAX_PIECE);
        let cost = u32::try_from(length + PIECE_COST).unwrap_or(u32::MAX);
        let Some(room) = ready!(window.poll_acquire_many(context, cost)) else { return Poll::Ready(None) };
        Poll::Ready(Some(Bytes::from_owner(Unsent { piece: self.rest.split_to(length), _room: room })))
    }
}

/// Bytes in a buffer of HTTP/2, which gives them up when they are sent.
struct Unsent {
    piece: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Silence {
    /// Whether it has lasted too long.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !std::mem::replace(&mut self.lasts, true) {
            timer.as_mut().reset(Instant::now() + limit);
        }
        timer.as_mut().poll(context)
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if !this.rest.is_empty() {
                let piece = ready!(this.piece(context));
                this.active.is_unread(true);
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                this.active.is_unread(false);
                let Some(silence) = &mut this.silence else { return Poll::Pending };
                ready!(silence.poll(context));
                this.ended = true;
                this.metrics.limit_met(Limit::SilentAnswer);
                tracing::info!("the server was silent for too long; the answer is ended");
                return Poll::Ready((!silence.anywhere).then(|| Err("the server was silent for too long".into())));
            };
            if let Some(silence) = &mut this.silence {
                silence.lasts = false;
            }
            let Some(frame) = frame.transpose()? else {
                this.ended = true;
                return Poll::Ready(None);
            };
            // There are no trailers ([`crate::response`]).
            this.rest = frame.into_data().unwrap_or_default();
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

/// What goes on over one connection: answers that have not reached their last byte, and since when there are none.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Mutex<State>>);

struct State {
    open: Vec<Open>,
    next: u64,
    idle_since: Instant,
}

struct Open {
    number: u64,
    /// Since when there is something for the caller that it has not read.
    unread_since: Option<Instant>,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { open: Vec::new(), next: 0, idle_since: Instant::now() })))
    }
}

impl Activity {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request more, and how many there are now.
    pub(crate) fn begin(&self) -> (Active, usize) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.open.push(Open { number, unread_since: None });
        (Active { of: self.clone(), number }, state.open.len())
    }

    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open.is_empty().then_some(state.idle_since)
    }

    /// Since when the answer that has waited longest for its caller waits.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.state().open.iter().filter_map(|open| open.unread_since).min()
    }
}

/// One request, to the last byte of its answer.
pub(crate) struct Active {
    of: Activity,
    number: u64,
}

impl Active {
    fn is_unread(&self, unread: bool) {
        let mut state = self.of.state();
        if let Some(open) = state.open.iter_mut().find(|open| open.number == self.number) {
            open.unread_since = unread.then(Instant::now);
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.open.retain(|open| open.number != self.number);
        state.idle_since = Instant::now();
    }
}
