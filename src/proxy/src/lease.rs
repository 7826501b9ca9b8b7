//! How long a stream lasts: as long as what opened it. It ends when the evidence does, and when the same question would be
//! answered otherwise now: asked again whenever the configuration or the certificates in force change, and every little
//! while, since a token may be revoked (rows 36 and 78, E35). It also ends in order when the proxy stops.
//!
//! Does not know what is on the stream but where an event ends.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cardea_contract::ClientAuth;
use cardea_policy::{Action, Principal};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::sleep;

use crate::audit::End;
use crate::config::Snapshot;
use crate::given::Given;
use crate::headers::Era;
use crate::identity::unix_now;
use crate::jsonrpc::Message;
use crate::listener::Connection;
use crate::reply::{Body, BodyError};
use crate::tls::TlsUnit;
use crate::{Proxy, authn, limits, mcp};

/// What opened a stream, to be asked for again.
pub(crate) struct Lease {
    proxy: Arc<Proxy>,
    connection: Arc<Connection>,
    /// The evidence, and nothing else of the request's head.
    head: Parts,
    principal: Arc<Principal>,
    era: Era,
    /// What was asked for; none for a GET.
    message: Option<Message>,
    /// Its body, if it is short: rules may ask for its arguments again.
    body: Option<Box<[u8]>>,
    snapshot: Arc<Snapshot>,
    unit: Arc<TlsUnit>,
}

impl Lease {
    /// `snapshot` and `unit` are those that the decision was made by.
    pub(crate) fn new(
        proxy: &Arc<Proxy>,
        connection: &Arc<Connection>,
        head: &Parts,
        principal: Arc<Principal>,
        asked: (Era, Option<Message>, &[u8]),
        in_force: (&Arc<Snapshot>, &Arc<TlsUnit>),
    ) -> Self {
        let mut kept = Request::new(()).into_parts().0;
        // A copy: a header's value shares the buffer of the whole head.
        if let Some(Ok(mut value)) = head.headers.get(AUTHORIZATION).map(|one| HeaderValue::from_bytes(one.as_bytes()))
        {
            value.set_sensitive(true);
            kept.headers.insert(AUTHORIZATION, value);
        }
        kept.method = head.method.clone();
        let (era, message, body) = asked;
        let body = (body.len() <= limits::MAX_KEPT_BODY).then(|| body.into());
        let (snapshot, unit) = (in_force.0.clone(), in_force.1.clone());
        Self {
            proxy: proxy.clone(),
            connection: connection.clone(),
            head: kept,
            principal,
            era,
            message,
            body,
            snapshot,
            unit,
        }
    }

    /// Binds a stream to it.
    pub(crate) fn bind(self, response: Response<Body>) -> Response<Body> {
        let verdict = Verdict::default();
        let told = verdict.clone();
        let ending = Box::pin(self.ends());
        let mut response = response.map(|body| {
            Leased { body, ending, end: None, event: Tail::default(), finished: false, verdict: told }.boxed_unsync()
        });
        response.extensions_mut().insert(verdict);
        response
    }

    /// Returns when the stream has to end, and why.
    async fn ends(self) -> End {
        let mut changes = self.proxy.changes.subscribe();
        // What changed between the decision and now was not heard of.
        let mut doubtful = !Arc::ptr_eq(&self.snapshot, &self.proxy.config.current())
            || !Arc::ptr_eq(&self.unit, &self.proxy.tls.current());
        let (proxy, opened) = (self.proxy.clone(), self.question());
        // What was asked for in time is answered, if it does not take long: its effect would be there, and its answer lost.
        let (stop, grace) =
            if opened.is_open_ended() { (&proxy.stopping, 0) } else { (&proxy.closing, limits::RECHECK.as_secs()) };
        let ends = self.principal.expires_at.saturating_add(grace);
        loop {
            let left = ends.saturating_sub(unix_now());
            if left == 0 {
                return End::Expired;
            }
            // Boxed: it takes room for as long as it takes, not for as long as the stream does.
            if doubtful && !Box::pin(self.stands()).await {
                return End::Revoked;
            }
            doubtful = true;
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                changed = changes.changed() => if changed.is_err() { return End::Stopped },
                () = sleep(limits::RECHECK.min(Duration::from_secs(left))) => {}
            }
        }
    }

    /// Whether the same caller would be permitted the same now.
    async fn stands(&self) -> bool {
        let (snapshot, unit) = (self.proxy.config.current(), self.proxy.tls.current());
        let wanted = snapshot.config.client_auth;
        let certificate = self.connection.certificate(&unit);
        if wanted == ClientAuth::Required && certificate.is_none() {
            return false;
        }
        let lapsed = certificate.is_none() && self.connection.bears_certificate();
        let certificate = certificate.filter(|_| wanted != ClientAuth::None);
        let same = |now: &Principal| *now == *self.principal;
        authn::authenticate(&self.head, certificate, lapsed, &snapshot).await.is_ok_and(|principal| same(&principal))
            && snapshot.policy.decide(&self.principal, self.question().0, &Given::new(self.body.as_deref())).is_ok()
    }

    fn question(&self) -> Question<'_> {
        Question(
            match &self.message {
                None => Action::Session,
                Some(message) => mcp::action(message, self.era).unwrap_or(Action::Unknown("")),
            },
            self.head.method == Method::GET,
        )
    }
}

/// What is asked for, and whether by a GET.
struct Question<'a>(Action<'a>, bool);

impl Question<'_> {
    /// Whether the stream has no end of its own, so that nothing is lost by ending it.
    fn is_open_ended(&self) -> bool {
        self.1 || matches!(self.0, Action::Listen { .. })
    }
}

/// Why a stream was ended here, for whoever keeps account of it.
pub(crate) type Verdict = Arc<OnceLock<End>>;

/// A stream that ends with its lease.
struct Leased {
    body: Body,
    ending: Pin<Box<dyn Future<Output = End> + Send>>,
    end: Option<End>,
    event: Tail,
    finished: bool,
    verdict: Verdict,
}

/// Longest end of an event.
const TAIL: usize = 4;

/// The last bytes that went out, as long as there were any.
#[derive(Default)]
struct Tail(Option<[u8; TAIL]>);

impl Tail {
    fn push(&mut self, byte: u8) {
        let [_, rest @ ..] = self.0.unwrap_or_default();
        let [one, two, three] = rest;
        self.0 = Some([one, two, three, byte]);
    }

    /// Whether what went out ends with an event, in any mixture of line ends.
    fn is_whole(&self) -> bool {
        let ends: [&[u8]; 5] = [b"\n\n", b"\r\r", b"\n\r", b"\n\r\n", b"\r\n\r\n"];
        self.0.is_none_or(|tail| ends.iter().any(|end| tail.ends_with(end)))
    }
}

impl HttpBody for Leased {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.end.is_none()
            && let Poll::Ready(end) = this.ending.as_mut().poll(context)
        {
            this.end = Some(end);
        }
        match this.end {
            // There is time to finish what has begun.
            Some(End::Stopped) if !this.event.is_whole() => {}
            Some(end) => {
                let _ = this.verdict.set(end);
                this.finished = true;
            }
            None => {}
        }
        if this.finished {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        let Some(Ok(mut frame)) = frame else { return Poll::Ready(frame) };
        if let Some(data) = frame.data_mut() {
            // Only what comes after the end was decided on is looked at in full.
            let skipped = if this.end.is_some() { 0 } else { data.len().saturating_sub(TAIL) };
            let rest = data.get(skipped..).unwrap_or_default();
            let ends = |byte: &u8| {
                this.event.push(*byte);
                this.end.is_some() && this.event.is_whole()
            };
            if let Some(last) = rest.iter().position(ends) {
                data.truncate(last + 1);
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.finished || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_event_ends() {
        for (text, expected) in [
            ("", true),
            ("data: a\n\n", true),
            ("data: a\r\n\r\n", true),
            ("data: a\r\r", true),
            (": c\n\n", true),
            ("data: a", false),
            ("data: a\n", false),
            ("data: a\r\n", false),
            ("data: a\n\nd", false),
        ] {
            let mut tail = Tail::default();
            text.bytes().for_each(|byte| tail.push(byte));
            assert_eq!(tail.is_whole(), expected, "{text:?}");
        }
    }
}
