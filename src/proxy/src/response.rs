//! What comes back. Answers to calls stream through as they come, or break off where a list begins in them; lists are
//! filtered by the very decision that a call would meet, whatever form they come in, and what cannot be read is not shown
//! (rows 37, 72, 73).
//!
//! Does not know how the server was reached.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cardea_policy::{Catalog, Principal};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::config::ConfigStore;
use crate::gather::Gathered;
use crate::headers::{self, Era};
use crate::jsonrpc::Name;
use crate::limits::MAX_FILTERED_BYTES;
use crate::metrics::Metrics;
use crate::reply::{Body, BodyError};
use crate::sse::{Event, Splitter};
use crate::stray::Watch;
use crate::two_endpoints::ENDPOINT;

/// All lists there are. A result is filtered by what it holds, not by what was asked: a server may answer one question
/// with another's answer, or replay it on a stream.
pub(crate) const CATALOGS: [Catalog; 4] =
    [Catalog::Tools, Catalog::Prompts, Catalog::Resources, Catalog::ResourceTemplates];

/// Most members of a message or a result. Each is compared with those before it.
const MAX_MEMBERS: usize = 256;
/// How much of a list is given at once.
const PIECE: usize = 16 << 10;

/// What an answer may hold that has to be filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A list, or what is nobody else's: JSON or a stream.
    List,
    /// A stream on which anything may be replayed.
    Stream,
    /// Nothing of the kind.
    Opaque,
}

/// An answer that is not fit to be passed on: the caller gets 502.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub(crate) &'static str);

/// By whose rules lists are filtered. The rules are looked up for each message, so that a long stream follows a change.
#[derive(Clone)]
pub(crate) struct Filter {
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) era: Era,
    /// Whether any result is nobody else's, not only a list (row 37).
    pub(crate) private: bool,
}

/// Turns the server's answer into the caller's; a list that has to be read whole must be there within `limit`.
pub(crate) async fn finish(
    answer: Response<Incoming>,
    expected: Expected,
    filter: Filter,
    limit: Duration,
) -> Result<Response<Body>, Unfit> {
    let (head, body) = answer.into_parts();
    if head.status.is_redirection() || head.status.is_informational() {
        return Err(Unfit("the server redirects"));
    }
    let form = form(&head.headers);
    let mut headers = headers::for_caller(&head.headers);
    if form == Form::EventStream {
        headers.insert(headers::ACCEL_BUFFERING, HeaderValue::from_static("no"));
    }
    if expected == Expected::List {
        // A filtered list is nobody else's, for caches of HTTP too.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let mut said = None;
    let body = match (expected, form) {
        (Expected::List, Form::Json) if head.status.is_success() => {
            let whole = tokio::time::timeout(limit, whole_list(body, &filter)).await;
            let rest = whole.map_err(|_| Unfit("the server's list took too long"))??;
            let mut watch = Watch::message();
            watch.finds(&rest);
            said = Some(watch.said());
            Whole { rest }.boxed_unsync()
        }
        (expected, form) => {
            let pass = match (expected, form) {
                _ if !head.status.is_success() => Pass::Untouched,
                (Expected::Opaque, Form::EventStream) if filter.era == Era::Legacy => Pass::Watched(Watch::events()),
                (Expected::Opaque, Form::Json) => Pass::Watched(Watch::message()),
                (_, Form::EventStream) => {
                    let watch = (expected == Expected::Opaque || filter.private).then(Watch::events);
                    Pass::Filtered(Splitter::new(MAX_FILTERED_BYTES), filter, watch)
                }
                _ if expected == Expected::Opaque || body.size_hint().exact() == Some(0) => Pass::Untouched,
                _ => return Err(Unfit("the server's answer is of no known form")),
            };
            if let Pass::Watched(watch) | Pass::Filtered(_, _, Some(watch)) = &pass {
                said = Some(watch.said());
            }
            let server = match form {
                Form::EventStream => Either::Left(Gathered::new(body)),
                Form::Json | Form::Other => Either::Right(body),
            };
            Streamed { ahead: Bytes::new(), server, pass, ended: false }.boxed_unsync()
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = headers;
    if let Some(said) = said {
        response.extensions_mut().insert(said);
    }
    Ok(response)
}

/// Goes on with a stream of which something was read already: `told` goes out in its place, then `further` events and
/// what `rest` makes of those to come.
pub(crate) fn taken_up(
    answer: Response<Incoming>,
    told: Vec<u8>,
    further: Vec<Event>,
    rest: Splitter,
    filter: Filter,
) -> Result<Response<Body>, Unfit> {
    if further.iter().any(|event| event.is_called(ENDPOINT)) {
        return Err(Unfit(SECOND_ENDPOINT));
    }
    let mut ahead = told;
    for event in further {
        ahead.extend(filter.event(event).map(|event| event.0).unwrap_or_default());
    }
    let (head, server) = answer.into_parts();
    let server = Either::Left(Gathered::new(server));
    let pass = Pass::Filtered(rest, filter, None);
    let mut response = Response::new(Streamed { ahead: ahead.into(), server, pass, ended: false }.boxed_unsync());
    *response.headers_mut() = headers::for_caller(&head.headers);
    response.headers_mut().insert(headers::ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Where messages go is told once (row 20); a client might follow any other.
const SECOND_ENDPOINT: &str = "the server named another endpoint";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    EventStream,
    Other,
}

/// Whether an answer may last: one event after another.
pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    form(headers) == Form::EventStream
}

/// The form of a body, however its media type is spelt (RFC 9110 section 8.3.1). Encoded bodies were not asked for.
fn form(headers: &HeaderMap) -> Form {
    let plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None, true) = (types.next(), types.next(), plain) else {
        return Form::Other;
    };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Form::Json
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        Form::EventStream
    } else {
        Form::Other
    }
}

async fn whole_list(body: Incoming, filter: &Filter) -> Result<Bytes, Unfit> {
    let whole = Limited::new(body, MAX_FILTERED_BYTES).collect().await;
    let bytes = whole.map_err(|_| Unfit("the server's list broke off or is too long"))?.to_bytes();
    Ok(filter.message(&bytes)?.map_or(bytes, Bytes::from))
}

impl Filter {
    /// A message without what the caller may not see; none if nothing has to change.
    fn message(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Unfit> {
        let unreadable = Unfit("the server's list cannot be read");
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable)?;
        let message: Members<'_> = serde_json::from_str(text).map_err(|_| unreadable)?;
        // The modern era has no requests from servers (row 33); a client might answer one.
        if self.era == Era::Modern && message.get("method").is_some() && message.get("id").is_some() {
            return Err(Unfit("the server asks, which this revision does not know"));
        }
        let Some(result) = message.get("result").filter(|result| result.get().starts_with('{')) else {
            return Ok(None);
        };
        let result: Members<'_> = serde_json::from_str(result.get()).map_err(|_| unreadable)?;
        if !self.private && !CATALOGS.iter().any(|catalog| result.get(catalog.member()).is_some()) {
            return Ok(None);
        }
        let filtered = result.write(|name, value| self.member(name, value), self.scope(&result))?;
        message
            .write(|name, _| Ok((name == "result").then(|| filtered.clone())), None)
            .map(Some)
            .map(|text| text.map(String::into_bytes))
    }

    /// A result that is nobody else's (row 37): a shared cache must not keep it.
    fn scope(&self, result: &Members<'_>) -> Option<(&'static str, &'static str)> {
        let missing = self.era == Era::Modern && result.get("cacheScope").is_none();
        missing.then_some(("cacheScope", "\"private\""))
    }

    fn member(&self, name: &str, value: &RawValue) -> Result<Option<String>, Unfit> {
        if name == "cacheScope" {
            return Ok(Some("\"private\"".into()));
        }
        let Some(catalog) = CATALOGS.into_iter().find(|catalog| catalog.member() == name) else {
            return Ok(None);
        };
        let elements: Vec<&RawValue> =
            serde_json::from_str(value.get()).map_err(|_| Unfit("the server's list is no list"))?;
        let shown: Vec<&str> =
            elements.into_iter().map(RawValue::get).filter(|element| self.shows(catalog, element)).collect();
        Ok(Some(format!("[{}]", shown.join(","))))
    }

    /// An element without a readable key, or with two, could be asked for by nothing that was decided on.
    fn shows(&self, catalog: Catalog, element: &str) -> bool {
        let Ok(members) = serde_json::from_str::<Members<'_>>(element) else { return false };
        let key = members.get(catalog.key()).and_then(|key| serde_json::from_str::<Cow<'_, str>>(key.get()).ok());
        key.is_some_and(|key| self.config.current().policy.shows(&self.principal, catalog, &key))
    }

    /// An event as the caller may see it; none if it is not fit to be seen.
    pub(crate) fn event(&self, event: Event) -> Option<Event> {
        let Some(data) = event.data().filter(|data| !data.trim_ascii().is_empty()) else {
            return Some(event);
        };
        match self.message(&data) {
            Ok(None) => Some(event),
            Ok(Some(filtered)) => Some(event.with_data(&filtered)),
            // A laxer reader than ours could make a list of it.
            Err(Unfit(why)) => {
                self.metrics.event_dropped();
                tracing::warn!(why, "an event is not passed on");
                None
            }
        }
    }
}

/// The members of an object in their order, each value as it stands there.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// Writes the object anew: `change` gives another value for a member, `further` is put at its end.
    fn write(
        &self,
        change: impl Fn(&str, &RawValue) -> Result<Option<String>, Unfit>,
        further: Option<(&str, &str)>,
    ) -> Result<String, Unfit> {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            let changed = change(name, value)?;
            append(&mut text, name, changed.as_deref().unwrap_or(value.get()));
        }
        if let Some((name, value)) = further {
            append(&mut text, name, value);
        }
        text.push('}');
        Ok(text)
    }
}

fn append(text: &mut String, name: &str, value: &str) {
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&serde_json::Value::from(name).to_string());
    text.push(':');
    text.push_str(value);
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members(Vec::new());
                while let Some(name) = map.next_key_seed(Name)? {
                    // Of two results one would be filtered and the other read.
                    if members.0.len() == MAX_MEMBERS || members.get(&name).is_some() {
                        return Err(serde::de::Error::custom("a name that is there twice, or too many names"));
                    }
                    members.0.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// A list that was read whole. It goes in pieces: given at once it would be somebody else's to keep for a caller that does
/// not read, with its slot free for the next.
struct Whole {
    rest: Bytes,
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

/// A body on its way. Dropping it drops the request to the server.
struct Streamed {
    /// What goes out before anything else.
    ahead: Bytes,
    server: Either<Gathered<Incoming>, Incoming>,
    pass: Pass,
    ended: bool,
}

/// What is done to a body on its way.
enum Pass {
    Untouched,
    /// Broken off where a list begins.
    Watched(Watch),
    /// Filtered event by event; of calls, broken off where a list begins.
    Filtered(Splitter, Filter, Option<Watch>),
}

fn stray_list() -> BodyError {
    tracing::warn!("a list came where none was asked for; the answer is broken off");
    "a list where none belongs".into()
}

impl Streamed {
    fn is_filtered(&self) -> bool {
        matches!(self.pass, Pass::Filtered(..))
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
            let frame = ready!(Pin::new(&mut this.server).poll_frame(context))
                .transpose()
                .inspect_err(|_| this.ended = true)?;
            let mut out = Vec::new();
            let Some(frame) = frame else {
                this.ended = true;
                let Pass::Filtered(splitter, filter, _) = &mut this.pass else { return Poll::Ready(None) };
                let rest = splitter.rest().filter(|event| !event.is_called(ENDPOINT));
                let rest = rest.and_then(|event| filter.event(event));
                return Poll::Ready(rest.map(|event| Ok(Frame::data(event.0.into()))));
            };
            // Trailers could carry what the header lists keep back.
            let Ok(data) = frame.into_data() else { continue };
            let (splitter, filter, watch) = match &mut this.pass {
                Pass::Filtered(splitter, filter, watch) => (splitter, filter, watch),
                Pass::Untouched => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Pass::Watched(watch) => {
                    if !watch.finds(&data) {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    this.ended = true;
                    return Poll::Ready(Some(Err(stray_list())));
                }
            };
            let mut endpoint = false;
            let outcome = splitter.push(&data, |event| {
                endpoint |= event.is_called(ENDPOINT);
                out.extend(filter.event(event).map(|event| event.0).unwrap_or_default());
            });
            let unfit = match outcome {
                Err(error) => Some(error.into()),
                Ok(()) => endpoint.then(|| SECOND_ENDPOINT.into()),
            };
            if let Some(unfit) = unfit {
                this.ended = true;
                return Poll::Ready(Some(Err(unfit)));
            }
            if watch.as_mut().is_some_and(|watch| watch.finds(&out)) {
                this.ended = true;
                return Poll::Ready(Some(Err(stray_list())));
            }
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
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

#[cfg(test)]
mod tests;
