//! The way to the server in the same pod. It takes a [`Permit`] by value and nothing else opens it, so a
//! request that was not decided on cannot be forwarded; what is sent is byte for byte what was decided on.
//!
//! Does not know the caller: its identity comes as one header, already signed.

mod ways;

use std::time::Duration;

use bytes::Bytes;
use cardea_contract::{Listens, Upstream as Address, pod};
use cardea_policy::Permit;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;

pub(crate) use self::ways::{Ways, is_open};

/// What is sent, without the permit.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Where to, if not to the server's MCP endpoint.
    pub(crate) target: Option<PathAndQuery>,
    /// Already reduced to what may pass.
    pub(crate) headers: HeaderMap,
    pub(crate) identity: HeaderValue,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nothing listens, or it hung up.
    Unreachable,
    /// It did not begin to answer in time.
    Late,
}

/// The way to the server.
pub(crate) struct Upstream(Ways);

impl Upstream {
    pub(crate) fn new() -> Self {
        Self(Ways::new())
    }

    /// Sends a permitted request. Dropping the future or the answer's body drops the connection, which is how the server
    /// learns that the caller is gone (row 13).
    pub(crate) async fn send(
        &self,
        permit: Permit,
        address: &Address,
        outgoing: Outgoing,
        limit: Duration,
    ) -> Result<Response<Incoming>, NoAnswer> {
        // Spent: a second request needs a second decision.
        drop(permit);
        let request = request(address, outgoing).ok_or(NoAnswer::Unreachable)?;
        match tokio::time::timeout(limit, self.0.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(error = crate::config::reason(&error), "the server did not answer");
                Err(NoAnswer::Unreachable)
            }
            Err(_) => Err(NoAnswer::Late),
        }
    }
}

/// A request for the server, addressed to where it listens whatever host the caller named (row 74).
pub(crate) fn request(address: &Address, outgoing: Outgoing) -> Option<Request<Full<Bytes>>> {
    let (scheme, authority) = ways::authority(&address.listens);
    let host = match address.listens {
        Listens::Port(_) => HeaderValue::try_from(&authority).ok()?,
        Listens::Socket(_) => HeaderValue::from_static("localhost"),
    };
    let target = match outgoing.target {
        Some(target) => target,
        None => address.path.parse().ok()?,
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()?;
    let has_body = !outgoing.body.is_empty();
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = outgoing.headers;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    if has_body {
        // Ours: a `charset` of the caller's (Express heeds `utf-7`) would make another message of the bytes decided on.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // A compressed list could not be filtered.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(pod::IDENTITY_HEADER, outgoing.identity);
    Some(request)
}
