//! Bodies on their way: as they come, watched, or filtered event by event.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;

use super::{Filter, SECOND_ENDPOINT, TOO_MUCH, Unfit};
use crate::gather::Gathered;
use crate::known::Known;
use crate::limits::{MAX_ALL_FILTERED_BYTES, Slot};
use crate::reply::BodyError;
use crate::sse::{Event, Splitter};
use crate::stray::{Said, Watch};
use crate::two_endpoints::ENDPOINT;

/// How much of a list is given at once.
const PIECE: usize = 16 << 10;

/// A list that was read whole. It goes in pieces: given at once it would be somebody else's to keep for a caller that does
/// not read, with its slot free for the next.
pub(super) struct Whole {
    rest: Bytes,
    _kept: Slot,
}

impl Whole {
    pub(super) fn new(rest: Bytes, kept: Slot) -> Self {
        Self { rest, _kept: kept }
    }
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let rest = &mut self.get_mut().rest;
        let piece = rest.split_to(rest.len().min(PIECE));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// What is done to a body on its way.
pub(super) enum Pass {
    Untouched,
    /// Broken off where a list begins.
    Watched(Watch, Arc<Known>),
    Filtered(Filtered),
}

/// Filtered event by event; of calls, broken off where a list begins.
pub(super) struct Filtered {
    splitter: Splitter,
    filter: Filter,
    watch: Option<Watch>,
    kept: Slot,
}

impl Pass {
    pub(super) fn filtered(splitter: Splitter, filter: Filter, watch: Option<Watch>) -> Result<Self, Unfit> {
        let kept = filter.room()?;
        Ok(Self::Filtered(Filtered { splitter, filter, watch, kept }))
    }

    /// What the answer will have told of itself.
    pub(super) fn said(&self) -> Option<Arc<Said>> {
        match self {
            Self::Untouched => None,
            Self::Watched(watch, _) => Some(watch.said()),
            Self::Filtered(filtered) => filtered.watch.as_ref().map(Watch::said),
        }
    }

    /// What goes on of this; nothing yet, it may be.
    fn push(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        match self {
            Self::Filtered(filtered) => filtered.push(&data),
            Self::Watched(watch, known) => {
                if watch.finds(&data) {
                    return Err(stray_list());
                }
                if watch.tools_changed() {
                    known.changed();
                }
                Ok(data)
            }
            Self::Untouched => Ok(data),
        }
    }

    /// What was held back to the end.
    fn rest(&mut self) -> Option<Bytes> {
        match self {
            Self::Filtered(filtered) => filtered.rest(),
            Self::Watched(..) | Self::Untouched => None,
        }
    }
}

impl Filtered {
    fn push(&mut self, data: &[u8]) -> Result<Bytes, BodyError> {
        let Self { splitter, filter, watch, kept } = self;
        let (mut out, mut endpoint) = (Vec::new(), false);
        splitter.push(data, |event| {
            endpoint |= event.is_called(ENDPOINT);
            out.extend(filter.event(event).map(|Event(bytes)| bytes).unwrap_or_default());
        })?;
        if endpoint {
            return Err(SECOND_ENDPOINT.into());
        }
        if !kept.resize(splitter.held(), MAX_ALL_FILTERED_BYTES) {
            return Err(TOO_MUCH.0.into());
        }
        if watch.as_mut().is_some_and(|watch| watch.finds(&out)) {
            return Err(stray_list());
        }
        Ok(out.into())
    }

    /// A last event without its end. Some readers take it for one.
    fn rest(&mut self) -> Option<Bytes> {
        let rest = self.splitter.rest().filter(|event| !event.is_called(ENDPOINT));
        rest.and_then(|event| self.filter.event(event)).map(|Event(bytes)| bytes.into())
    }
}

fn stray_list() -> BodyError {
    tracing::warn!("a list came where none was asked for; the answer is broken off");
    "a list where none belongs".into()
}

/// A body on its way. Dropping it drops the request to the server.
pub(super) struct Streamed {
    /// What goes out before anything else.
    ahead: Bytes,
    server: Either<Gathered<Incoming>, Incoming>,
    pass: Pass,
    ended: bool,
}

impl Streamed {
    /// One message.
    pub(super) fn message(server: Incoming, pass: Pass) -> Self {
        Self { ahead: Bytes::new(), server: Either::Right(server), pass, ended: false }
    }

    /// Events, after what is to go out `ahead` of them.
    pub(super) fn events(ahead: Bytes, server: Incoming, pass: Pass) -> Self {
        Self { ahead, server: Either::Left(Gathered::new(server)), pass, ended: false }
    }

    fn is_filtered(&self) -> bool {
        matches!(self.pass, Pass::Filtered(_))
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.ahead)))));
        }
        while !this.ended {
            let Some(frame) = ready!(Pin::new(&mut this.server).poll_frame(context)) else {
                this.ended = true;
                return Poll::Ready(this.pass.rest().map(|rest| Ok(Frame::data(rest))));
            };
            // Trailers could carry what the header lists keep back.
            let passed = match frame.map(Frame::into_data) {
                Ok(Ok(data)) => this.pass.push(data),
                Ok(Err(_)) => continue,
                Err(error) => Err(error),
            };
            this.ended = passed.is_err();
            match passed {
                Ok(data) if data.is_empty() => {}
                passed => return Poll::Ready(Some(passed.map(Frame::data))),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (!self.is_filtered() && self.server.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_filtered() { SizeHint::default() } else { self.server.size_hint() }
    }
}
