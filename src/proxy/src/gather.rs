//! What came together goes on together. A server sends each event in a chunk of its own, and the client library hands out
//! one chunk after another; passed on one by one, each would be encrypted and sent alone.
//!
//! Does not know what is in them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};

/// As much goes on at once, unless a single chunk is larger.
const ENOUGH: usize = 16 << 10;

/// So often is asked for more before what is held goes on. Whoever reads from the network has a turn between the first and
/// the last time: hyper asks twice in a turn.
const ASKS: u8 = 3;

/// A body whose chunks are joined as long as further ones are there. It loses trailers.
pub(crate) struct Gathered<B: Body> {
    body: B,
    held: BytesMut,
    /// How often in a row the body had nothing more.
    asked: u8,
    ended: Option<Option<B::Error>>,
}

impl<B: Body> Gathered<B> {
    pub(crate) fn new(body: B) -> Self {
        Self { body, held: BytesMut::new(), asked: 0, ended: None }
    }
}

impl<B: Body<Data = Bytes, Error: Unpin> + Unpin> Body for Gathered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        while this.ended.is_none() && this.held.len() < ENOUGH {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.asked = 0;
                    this.held.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Poll::Ready(Some(Err(error))) => this.ended = Some(Some(error)),
                Poll::Ready(None) => this.ended = Some(None),
                Poll::Pending if this.held.is_empty() => return Poll::Pending,
                Poll::Pending => {
                    this.asked += 1;
                    if this.asked == ASKS {
                        break;
                    }
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        this.asked = 0;
        if !this.held.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.held).freeze()))));
        }
        Poll::Ready(this.ended.as_mut().and_then(Option::take).map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && matches!(self.ended, Some(None))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt as _;

    use super::*;

    type Polled = Poll<Option<Result<Frame<Bytes>, &'static str>>>;

    /// A body that answers so when it is polled.
    struct Scripted(VecDeque<Polled>);

    impl Body for Scripted {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
            context.waker().wake_by_ref();
            self.0.pop_front().unwrap_or(Poll::Ready(None))
        }
    }

    fn chunk(text: &'static str) -> Polled {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    async fn passed_on(script: impl IntoIterator<Item = Polled>) -> Vec<Result<Bytes, &'static str>> {
        let mut body = Gathered::new(Scripted(script.into_iter().collect()));
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.push(frame.map(|frame| frame.into_data().unwrap_or_default()));
        }
        assert!(body.frame().await.is_none());
        all
    }

    #[tokio::test]
    async fn chunks_that_come_together_go_on_together() {
        let pause = || [Poll::Pending, Poll::Pending, Poll::Pending];
        let script = [chunk("a"), Poll::Pending, Poll::Pending, chunk("b")].into_iter();
        let script = script.chain(pause()).chain(pause()).chain([chunk("c"), Poll::Pending, chunk("d")]);
        assert_eq!(passed_on(script).await, [Ok("ab".into()), Ok("cd".into())]);
    }

    #[tokio::test]
    async fn what_came_before_an_error_is_not_lost() {
        let script = [chunk("a"), Poll::Ready(Some(Err("broken")))];
        assert_eq!(passed_on(script).await, [Ok("a".into()), Err("broken")]);
    }

    #[tokio::test]
    async fn no_more_is_held_than_is_enough() {
        static HALF: [u8; ENOUGH / 2] = [b'a'; ENOUGH / 2];
        let half = || Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&HALF)))));
        let lengths: Vec<_> =
            passed_on([half(), half(), half()]).await.into_iter().map(|one| one.unwrap().len()).collect();
        assert_eq!(lengths, [ENOUGH, ENOUGH / 2]);
    }
}
