//! The transport of revision 2024-11-05 (HTTP+SSE): a GET opens a stream, whose first event names where messages are to be
//! posted; answers come on the stream. The caller is told to post to where the stream is, with the server's own endpoint
//! sealed in the query; an event that names anything but a path of the server's ends the stream and goes no further
//! (row 20, E18).
//!
//! Does not know what the messages say ([`crate::response`] filters the stream).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardea_contract::{Listens, Upstream};
use cardea_policy::Principal;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::limits::MAX_FILTERED_BYTES;
use crate::refusal::Refusal;
use crate::reply::{self, Body};
use crate::response::{self, Expected, Filter, Unfit};
use crate::session::Seal;
use crate::sse::{Event, Splitter};

/// Methods of the endpoint: it has no sessions to end.
pub(crate) const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
/// What the endpoint answers to without a session: how a client of newer revisions learns that it must speak this one.
pub(crate) const METHODS_ALONE: HeaderValue = HeaderValue::from_static("GET");
/// The query's only parameter.
const PARAMETER: &str = "session=";
/// Name of the event that names the endpoint.
pub(crate) const ENDPOINT: &[u8] = b"endpoint";
/// Longest endpoint of a server's.
const MAX_ENDPOINT: usize = 1024;
/// How much may come before the endpoint is named.
const MAX_OPENING: usize = 16 << 10;

/// Endpoints of the streams that are open here. Server and proxy share a pod, so there are no others.
#[derive(Default)]
pub(crate) struct Endpoints(Arc<Mutex<HashSet<String>>>);

impl Endpoints {
    /// An endpoint that no other stream has.
    fn take(&self, endpoint: &str) -> Option<Taken> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(endpoint.to_owned()).then(|| Taken { all: self.0.clone(), endpoint: endpoint.to_owned() })
    }

    /// The server's endpoint that a query names, if its stream is open and the caller's.
    pub(crate) fn of_query(&self, query: &str, seal: &Seal, principal: &Principal) -> Result<PathAndQuery, Refusal> {
        let sealed = query.strip_prefix(PARAMETER).ok_or(Refusal::NoSession)?;
        let endpoint = seal.open_endpoint(principal, sealed).ok_or(Refusal::NoSession)?;
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&endpoint);
        endpoint.parse().ok().filter(|_| open).ok_or(Refusal::NoSession)
    }
}

/// An endpoint, as long as its stream is open.
struct Taken {
    all: Arc<Mutex<HashSet<String>>>,
    endpoint: String,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.endpoint);
    }
}

/// What surrounds a stream that opens.
pub(crate) struct Opening<'a> {
    pub(crate) endpoints: &'a Endpoints,
    pub(crate) seal: &'a Seal,
    pub(crate) server: &'a Upstream,
    /// Path of the proxy's own endpoint.
    pub(crate) path: &'a str,
}

impl Opening<'_> {
    /// Turns the server's answer to a GET into the caller's. The head goes out once the endpoint is known to be fit.
    pub(crate) async fn finish(
        &self,
        mut answer: Response<Incoming>,
        filter: Filter,
        limit: Duration,
    ) -> Result<Response<Body>, Unfit> {
        if !answer.status().is_success() {
            return response::finish(answer, Expected::Opaque, filter, limit).await;
        }
        if !response::is_event_stream(answer.headers()) {
            return Err(Unfit("the server's stream is none"));
        }
        let named = tokio::time::timeout(limit, first_event(answer.body_mut())).await;
        let (first, further, rest) = named.map_err(|_| Unfit("the server named no endpoint in time"))??;
        let endpoint = named_by(&first, self.server).ok_or(Unfit("the server's endpoint is not one of its own"))?;
        let taken = self.endpoints.take(&endpoint).ok_or(Unfit("the server's endpoint is another stream's"))?;
        let sealed = self.seal.close_endpoint(&filter.principal, &endpoint);
        let told = format!("event: endpoint\ndata: {}?{PARAMETER}{sealed}\n\n", self.path);
        let response = response::taken_up(answer, told.into(), further, rest, filter)?;
        Ok(response.map(|body| {
            let held = move |frame| {
                let _ = &taken;
                frame
            };
            body.map_frame(held).boxed_unsync()
        }))
    }
}

/// Turns the server's answer to a message into the caller's: what it has to say it says on the stream.
pub(crate) async fn posted(
    answer: Response<Incoming>,
    filter: Filter,
    limit: Duration,
) -> Result<Response<Body>, Unfit> {
    if answer.status().is_success() {
        return Ok(reply::empty(StatusCode::ACCEPTED));
    }
    response::finish(answer, Expected::Opaque, filter, limit).await
}

/// The first event that is more than a comment, those that came with it, and what goes on after them.
pub(crate) async fn first_event(body: &mut Incoming) -> Result<(Event, Vec<Event>, Splitter), Unfit> {
    let mut splitter = Splitter::new(MAX_FILTERED_BYTES);
    let (mut first, mut further, mut read) = (None, Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| Unfit("the server's stream broke off"))?.into_data().unwrap_or_default();
        read += data.len();
        if read > MAX_OPENING {
            break;
        }
        let take = |event: Event| match &first {
            Some(_) => further.push(event),
            None if event.data().is_some() => first = Some(event),
            None => {}
        };
        splitter.push(&data, take).map_err(|_| Unfit("the server's first event is too long"))?;
        if let Some(first) = first.take() {
            return Ok((first, further, splitter));
        }
    }
    Err(Unfit("the server named no endpoint"))
}

/// The path and query of the server's that an event names as its endpoint.
pub(crate) fn named_by(event: &Event, server: &Upstream) -> Option<String> {
    let data = event.data().filter(|_| event.is_called(ENDPOINT))?;
    let text = std::str::from_utf8(&data).ok().filter(|text| text.len() <= MAX_ENDPOINT)?;
    let own = match server.listens {
        Listens::Port(port) => ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{port}")),
        Listens::Socket(_) => return None,
    };
    let path = own.iter().find_map(|origin| text.strip_prefix(origin.as_str())).unwrap_or(text);
    let plain = path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\#".contains(&byte));
    (plain && path.parse::<PathAndQuery>().is_ok()).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use cardea_contract::Transport;

    use super::*;

    #[test]
    fn an_endpoint_is_a_path_of_the_servers_own() {
        let server = Upstream { listens: Listens::Port(8080), path: "/sse".into(), transport: Transport::Sse };
        for (data, expected) in [
            ("/message?sessionId=1", Some("/message?sessionId=1")),
            ("http://127.0.0.1:8080/message", Some("/message")),
            ("http://localhost:8080/message?a=b", Some("/message?a=b")),
            ("http://127.0.0.1:8081/message", None),
            ("http://127.0.0.1:80800/message", None),
            ("http://127.0.0.1:8080.evil.test/message", None),
            ("http://127.0.0.1:8080@evil.test/message", None),
            ("https://evil.test/message", None),
            ("//evil.test/message", None),
            ("/\\evil.test", None),
            ("message", None),
            ("", None),
            ("/a b", None),
            ("/a#b", None),
            ("/\u{e9}", None),
            ("/a\ndata: x", None),
        ] {
            let event = Event(format!("event: endpoint\ndata: {data}\n\n").into_bytes());
            assert_eq!(named_by(&event, &server).as_deref(), expected, "{data}");
        }
        let long = Event(format!("event: endpoint\ndata: /{}\n\n", "a".repeat(MAX_ENDPOINT)).into_bytes());
        assert_eq!(named_by(&long, &server), None);
        assert_eq!(named_by(&Event(b"event: message\ndata: /a\n\n".to_vec()), &server), None);
    }

    #[test]
    fn an_endpoint_is_one_streams() {
        let endpoints = Endpoints::default();
        let taken = endpoints.take("/a").unwrap();
        assert!(endpoints.take("/a").is_none() && endpoints.take("/b").is_some());
        drop(taken);
        assert!(endpoints.take("/a").is_some());
    }
}
