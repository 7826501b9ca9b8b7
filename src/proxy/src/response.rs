//! What comes back. Answers to calls stream through as they come, or break off where a list begins in them; lists are
//! filtered by the very decision that a call would meet, whatever form they come in, and what cannot be read is not shown
//! (rows 37, 72, 73).
//!
//! Does not know how the server was reached.

mod filter;
mod passing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cardea_policy::Catalog;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

pub(crate) use self::filter::Filter;
use self::passing::{Pass, Streamed, Whole};
use crate::headers::{self, Era};
use crate::limits::{MAX_ALL_FILTERED_BYTES, MAX_FILTERED_BYTES, Slot};
use crate::reply::Body;
use crate::sse::{Event, Splitter};
use crate::stray::Watch;
use crate::two_endpoints::ENDPOINT;

/// All lists there are. A result is filtered by what it holds, not by what was asked: a server may answer one question
/// with another's answer, or replay it on a stream.
pub(crate) const CATALOGS: [Catalog; 4] =
    [Catalog::Tools, Catalog::Prompts, Catalog::Resources, Catalog::ResourceTemplates];

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
    let said;
    let body = match (expected, form) {
        (Expected::List, Form::Json) if head.status.is_success() => {
            let whole = tokio::time::timeout(limit, whole_list(body, &filter)).await;
            let (rest, kept) = whole.map_err(|_| Unfit("the server's list took too long"))??;
            let mut watch = Watch::message();
            watch.finds(&rest);
            said = Some(watch.said());
            Whole::new(rest, kept).boxed_unsync()
        }
        (expected, form) => {
            let pass = match (expected, form) {
                // A refusal holds no list; a client that reads its body would see one unfiltered.
                (_, Form::Json) if !head.status.is_success() => Pass::Watched(Watch::message(), filter.known),
                (_, Form::EventStream) if !head.status.is_success() => Pass::Watched(Watch::events(), filter.known),
                _ if !head.status.is_success() => Pass::Untouched,
                (Expected::Opaque, Form::EventStream) if filter.era == Era::Legacy => {
                    Pass::Watched(Watch::events(), filter.known)
                }
                (Expected::Opaque, Form::Json) => Pass::Watched(Watch::message(), filter.known),
                (_, Form::EventStream) => {
                    let watch = (expected == Expected::Opaque || filter.private).then(Watch::events);
                    Pass::filtered(Splitter::new(MAX_FILTERED_BYTES), filter, watch)?
                }
                _ if expected == Expected::Opaque || body.size_hint().exact() == Some(0) => Pass::Untouched,
                _ => return Err(Unfit("the server's answer is of no known form")),
            };
            said = pass.said();
            let streamed = match form {
                Form::EventStream => Streamed::events(Bytes::new(), body, pass),
                Form::Json | Form::Other => Streamed::message(body, pass),
            };
            streamed.boxed_unsync()
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
    let pass = Pass::filtered(rest, filter, None)?;
    let mut response = Response::new(Streamed::events(ahead.into(), server, pass).boxed_unsync());
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

/// A list without what the caller may not see, and its share of what may be kept of lists.
async fn whole_list(mut body: Incoming, filter: &Filter) -> Result<(Bytes, Slot), Unfit> {
    let mut kept = filter.room()?;
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unfit("the server's list broke off"))?;
        whole.extend_from_slice(&frame.into_data().unwrap_or_default());
        if whole.len() > MAX_FILTERED_BYTES {
            return Err(Unfit("the server's list is too long"));
        }
        if !kept.resize(whole.len(), MAX_ALL_FILTERED_BYTES) {
            return Err(TOO_MUCH);
        }
    }
    let whole = whole.freeze();
    Ok((filter.message(&whole)?.map_or(whole, Bytes::from), kept))
}

/// Others have what there is room for.
const TOO_MUCH: Unfit = Unfit("too much of lists is read at once");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_however_they_are_spelt() {
        let form_of =
            |value: &'static str| form(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]));
        assert_eq!(form_of("application/json"), Form::Json);
        assert_eq!(form_of("Application/JSON ; charset=utf-8"), Form::Json);
        assert_eq!(form_of("text/Event-Stream;x"), Form::EventStream);
        assert_eq!(form_of("text/plain"), Form::Other);
        let mut encoded = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        encoded.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(form(&encoded), Form::Other);
    }
}
