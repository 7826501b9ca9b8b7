//! Bodies of answers: one message whole, or server-sent events as they come, with a word now and then so that a silent
//! stream is not taken for a dead one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::keeper::Attached;
use super::room::{Delivery, Outlet};

/// Between two words on a silent stream.
const SILENCE: Duration = Duration::from_secs(20);
/// Says nothing (WHATWG HTML, section 9.2).
const COMMENT: &[u8] = b":\n\n";

/// The body of an answer.
pub(crate) enum Reply {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes.
    Events(Box<Events>),
}

/// A stream of events.
pub(crate) struct Events {
    first: Option<Delivery>,
    deliveries: Outlet<Delivery>,
    /// None: it is of no request.
    attached: Option<Attached>,
    silence: Interval,
    over: bool,
}

impl Events {
    /// The stream of a request, which ends with its answer.
    pub(crate) fn of_call(first: Delivery, deliveries: Outlet<Delivery>, attached: Attached) -> Self {
        Self::new(Some(first), deliveries, Some(attached))
    }

    /// A stream of no request.
    pub(crate) fn of_none(deliveries: Outlet<Delivery>) -> Self {
        Self::new(None, deliveries, None)
    }

    fn new(first: Option<Delivery>, deliveries: Outlet<Delivery>, attached: Option<Attached>) -> Self {
        // The first word of a stream of no request comes at once: it shows that the stream is open.
        let begin = Instant::now() + if attached.is_some() { SILENCE } else { Duration::ZERO };
        let mut silence = interval_at(begin, SILENCE);
        silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { first, deliveries, attached, silence, over: false }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.deliveries.poll_next(context),
        };
        match next {
            Poll::Ready(Some(Delivery::Message(text))) => {
                self.silence.reset();
                Poll::Ready(Some(event(&text)))
            }
            Poll::Ready(Some(Delivery::Answer(text, _))) => {
                self.over = true;
                self.attached = None;
                Poll::Ready(Some(event(&text)))
            }
            Poll::Ready(None) => {
                self.over = true;
                Poll::Ready(None)
            }
            Poll::Pending => self.silence.poll_tick(context).map(|_| Some(Bytes::from_static(COMMENT))),
        }
    }
}

/// A message is in one line.
fn event(text: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(text.len() + 8);
    event.put_slice(b"data: ");
    event.put_slice(text);
    event.put_slice(b"\n\n");
    event.freeze()
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events.poll(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Events(events) => events.over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
