//! One request, from its head to the answer's: the order of the checks is the design, and it stands in [`permitted`].
//!
//! Does not know how any single check is made, nor what a refusal looks like from outside ([`crate::refusal`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cardea_contract::{ClientAuth, Listens, Transport, pod};
use cardea_policy::{Action, Evidence, Principal};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::account::{Account, Followed};
use crate::authn::certificate::Presented;
use crate::authn::{self, Stop};
use crate::config::Snapshot;
use crate::delivery::Held;
use crate::given::Given;
use crate::headers::Era;
use crate::host;
use crate::jsonrpc;
use crate::lease::Lease;
use crate::limits::callers::{PeerKey, network};
use crate::limits::{Limit, Slot};
use crate::listener::Connection;
use crate::mcp;
use crate::refusal::Refusal;
use crate::reply::{self, Body};
use crate::response::{self, Expected, Filter};
use crate::tls::{Anchor, TlsUnit};
use crate::two_endpoints::{self, Opening};
use crate::upstream::Outgoing;
use crate::{Proxy, headers, limits, mirrors, pinning, report};

/// Methods of the endpoint.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// Methods of the endpoint in the modern era.
const METHODS_MODERN: HeaderValue = HeaderValue::from_static("POST");
/// Methods of what can only be read.
const METHODS_READ: HeaderValue = HeaderValue::from_static("GET");

/// What surrounds a request: what is in force, and the connection it came on.
struct Scene<'a> {
    proxy: &'a Arc<Proxy>,
    snapshot: &'a Arc<Snapshot>,
    unit: &'a Arc<TlsUnit>,
    connection: &'a Arc<Connection>,
    certificate: Option<(&'a Presented, Anchor)>,
}

/// Answers a request. With the answer comes what is to be held until its last byte is gone.
pub(crate) async fn serve(
    proxy: &Arc<Proxy>,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> (Response<Followed>, Option<Held>) {
    let snapshot = proxy.config.current();
    let unit = proxy.tls.current();
    let certificate = connection.certificate(&unit);
    let (head, body) = request.into_parts();
    let scene = Scene { proxy, snapshot: &snapshot, unit: &unit, connection, certificate };
    if head.uri.path() == pod::REPORT_PATH && head.method == Method::GET && scene.is_operator() {
        return (report::answer(proxy, &snapshot, &unit).await.map(Followed::unaccounted), None);
    }
    let mut account = Account::open(proxy, &snapshot, connection.peer.ip().to_canonical(), &head.headers);
    let (response, held) = match permitted(&scene, &head, body, &mut account).await {
        Ok((response, held)) => (response, Some(held)),
        Err(refusal) => {
            account.refused(&refusal);
            (refusal.response(&snapshot, account.id.as_ref()), None)
        }
    };
    (account.close(response), held)
}

/// The whole way. What this returns as an error has not reached the server, but for the last two kinds.
async fn permitted(
    scene: &Scene<'_>,
    head: &Parts,
    incoming: Incoming,
    account: &mut Account,
) -> Result<(Response<Body>, Held), Refusal> {
    let Scene { proxy, snapshot, .. } = *scene;
    let config = &snapshot.config;

    // Limits.
    let concurrent = usize::try_from(config.limits.concurrent).unwrap_or(usize::MAX);
    let place = proxy.slots.take(1, concurrent).ok_or(Refusal::Busy(Limit::Concurrent))?;
    if head.headers.len() > limits::MAX_HEADERS {
        return Err(Refusal::TooManyHeaders);
    }

    // A connection may be older than the demand for certificates, or than the end of the authority behind its own.
    if config.client_auth == ClientAuth::Required && scene.certificate.is_none() {
        return Err(Refusal::NoCertificate);
    }

    // Host and Origin.
    if headers::duplicate(&head.headers).is_some() {
        return Err(Refusal::Ambiguous);
    }
    host::check(head, &config.hosts)?;

    // Well-known answers.
    if let Some(document) = snapshot.endpoint.metadata_at(head.uri.path()) {
        return if head.method == Method::GET {
            Ok((reply::json(StatusCode::OK, document), Held { silence: None, admitted: None, place }))
        } else {
            Err(Refusal::Method(METHODS_READ))
        };
    }
    if head.uri.path() != snapshot.endpoint.path {
        return Err(Refusal::NoSuchPath);
    }
    let two_endpoints = config.upstream.transport == Transport::Sse;
    match (&head.method, two_endpoints) {
        (&Method::GET, _) | (&Method::POST | &Method::DELETE, false) => {}
        (&Method::POST, true) if head.uri.query().is_some() => {}
        (&Method::POST, true) => return Err(Refusal::Method(two_endpoints::METHODS_ALONE)),
        (_, true) => return Err(Refusal::Method(two_endpoints::METHODS)),
        (_, false) => return Err(Refusal::Method(METHODS)),
    }

    // Who calls: asked on every request, inside a session too (rows 17, 46).
    let certificate = scene.certificate.filter(|_| config.client_auth != ClientAuth::None);
    let principal = Arc::new(scene.authenticate(head, certificate).await?);
    account.principal = Some(principal.clone());
    let callers = &snapshot.callers;
    let mut admitted = callers.admit(&principal, scene.peer(certificate), &proxy.slots)?;

    // What for. `body` is read once; these bytes are judged and these bytes are sent.
    let (body, _kept);
    let mut message = None;
    let asked = if head.method == Method::POST {
        (body, _kept) = scene.read(&head.headers, incoming).await?;
        let read = jsonrpc::read(&body).map_err(|malformed| Refusal::Message(malformed.into()))?;
        account.note(&body, &read);
        mcp::of_message(&head.headers, message.insert(read)).map_err(Refusal::Message)?
    } else {
        body = Bytes::new();
        let method = if head.method == Method::GET { "(stream)" } else { "(end of session)" };
        let asked = mcp::of_session(&head.headers, method).map_err(Refusal::Message)?;
        asked.ok_or(Refusal::Method(METHODS_MODERN))?
    };
    account.asked(&asked);

    // A session is whose it was when it began (row 18).
    let seal = &scene.unit.seal;
    let (mut session, mut target) = (None, None);
    if !two_endpoints {
        session = seal.session_of(&head.headers, &asked, &principal)?;
    } else if asked.era == Era::Modern {
        return Err(Refusal::Message(mcp::Refused::legacy_only()));
    } else if head.method == Method::POST {
        let query = head.uri.query().unwrap_or_default();
        target = Some(proxy.endpoints.of_query(query, seal, &principal)?);
    }

    // May they.
    let decide = |snapshot: &Snapshot| {
        let decision = snapshot.policy.decide(&principal, asked.action, &Given::new(Some(&body)));
        decision.map_err(|denial| Refusal::denied(denial, &principal))
    };
    let mut permit = decide(snapshot)?;
    if let Action::CallTool(tool) = asked.action {
        callers.call(&admitted, tool)?;
        if !pinning::permits_call(proxy, snapshot, tool).await {
            return Err(Refusal::unapproved(&principal));
        }
        if asked.era == Era::Modern {
            mirrors::check(proxy, snapshot, tool, &head.headers, &body).await.map_err(Refusal::Message)?;
        }
    }
    // The body may have been long in coming, and the server in answering: a rule that has ended meanwhile permits nothing.
    let in_force = proxy.config.current();
    if !Arc::ptr_eq(&in_force, snapshot) {
        permit = decide(&in_force)?;
        if let Action::CallTool(tool) = asked.action
            && !pinning::permits_call(proxy, &in_force, tool).await
        {
            return Err(Refusal::unapproved(&principal));
        }
    }
    if head.method == Method::GET || matches!(asked.action, Action::Listen { .. }) {
        callers.stream(&mut admitted)?;
    }
    account.permitted(permit.rule())?;

    // Upstream: without the client's token, with our own word for who it is.
    let identity = proxy.signer.sign(&principal, &config.resource).await.map_err(|_| Refusal::Unsigned)?;
    let mut headers = headers::for_upstream(&head.headers, asked.era);
    if two_endpoints {
        // Streams of this transport are not taken up again.
        headers.remove(headers::LAST_EVENT_ID);
    }
    headers.extend(session.map(|id| (headers::SESSION_ID, id)));
    if let Listens::Socket(_) = config.upstream.listens {
        headers.extend(seal.partition(&principal).map(|word| (headers::PARTITION, word)));
    }
    account.trace.write(&mut headers);
    snapshot.identity_headers.write(&principal, &mut headers);
    let outgoing = Outgoing { method: head.method.clone(), target, headers, identity, body: body.clone() };
    let limit = Duration::from_secs(config.limits.request_seconds.into());
    let answer = proxy.upstream.send(permit, &config.upstream, outgoing, limit).await?;

    // What comes back.
    let era = asked.era;
    // Of requests, only `server/discover` is of a modern session.
    let private =
        era == Era::Modern && asked.id.is_some() && matches!(asked.action, Action::Session | Action::ReadResource(_));
    let streams = response::is_event_stream(answer.headers());
    let filter = Filter {
        config: proxy.config.clone(),
        metrics: proxy.metrics.clone(),
        principal: principal.clone(),
        era,
        private,
        known: proxy.known.clone(),
        read: proxy.lists.clone(),
    };
    let response = match (two_endpoints, &head.method) {
        (true, &Method::GET) => {
            let (endpoints, server, path) = (&proxy.endpoints, &config.upstream, snapshot.endpoint.path.as_str());
            Opening { endpoints, seal, server, path }.finish(answer, filter, limit).await?
        }
        (true, _) => two_endpoints::posted(answer, filter, limit).await?,
        (false, method) => {
            let expected = match asked.action {
                Action::List(_) | Action::Listen { .. } => Expected::List,
                _ if private => Expected::List,
                Action::Session if method == Method::GET => Expected::Stream,
                _ => Expected::Opaque,
            };
            let session = seal.session_from(answer.headers(), &asked, &principal)?;
            let mut response = response::finish(answer, expected, filter, limit).await?;
            response.headers_mut().extend(session.map(|id| (headers::SESSION_ID, id)));
            response
        }
    };
    let silence = config.limits.stream_idle_seconds.map(|seconds| Duration::from_secs(seconds.get().into()));
    let held = Held { silence, admitted: Some(admitted), place };
    if !streams {
        return Ok((response, held));
    }
    // A stream outlives this decision, so it takes along what the decision was made on.
    let in_force = (scene.snapshot, scene.unit);
    Ok((Lease::new(proxy, scene.connection, head, principal, (era, message, &body), in_force).bind(response), held))
}

impl Scene<'_> {
    /// Whether this is the operator, by the id that the configuration names. Only the trust domain's own authority signs
    /// for it ([`Presented::spiffe_id`]).
    fn is_operator(&self) -> bool {
        let config = &self.snapshot.config;
        let id = self.certificate.and_then(|(presented, anchor)| presented.spiffe_id(anchor, &config.trust_domain));
        id == Some(config.operator.as_str())
    }

    /// What tells a caller apart who proves nobody.
    fn peer(&self, certificate: Option<(&Presented, Anchor)>) -> PeerKey {
        match certificate {
            Some((presented, _)) => PeerKey::Certificate(presented.thumbprint),
            None => PeerKey::Network(network(self.connection.peer.ip())),
        }
    }

    /// Who calls. Whoever proves nobody too often is not heard for a while, unless on a connection that has proven
    /// somebody: others may come from the same address.
    async fn authenticate(
        &self,
        head: &Parts,
        certificate: Option<(&Presented, Anchor)>,
    ) -> Result<Principal, Refusal> {
        let Scene { snapshot, connection, .. } = *self;
        let peer = self.peer(certificate);
        if !connection.has_proven() {
            snapshot.callers.shut_out(peer)?;
        }
        let lapsed = self.certificate.is_none() && connection.bears_certificate();
        let outcome = authn::authenticate(head, certificate, lapsed, snapshot).await;
        match &outcome {
            Err(Stop::Unavailable(_)) => {}
            // Neither proven nor tried.
            Ok(Principal { evidence: Evidence::Anonymous, .. }) => {}
            Ok(_) => connection.proves(true),
            Err(_) => {
                connection.proves(false);
                snapshot.callers.failed(peer)?;
            }
        }
        Ok(outcome?)
    }

    /// The whole body, or nothing of it: no decision is made on a part. With it comes its share of what may be kept of
    /// bodies.
    async fn read(&self, headers: &HeaderMap, body: Incoming) -> Result<(Bytes, Option<Slot>), Refusal> {
        let limit = self.snapshot.config.limits.max_body_bytes;
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") || headers.contains_key(http::header::CONTENT_ENCODING) {
            return Err(Refusal::MediaType);
        }
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > limit) {
            return Err(Refusal::TooLarge);
        }
        let size = announced.unwrap_or(limit);
        let kept = if size > limits::SMALL_BODY {
            let kept = self.proxy.bodies.take(size, limit.max(limits::MAX_BODIES_BYTES));
            Some(kept.ok_or(Refusal::Busy(Limit::Body))?)
        } else {
            None
        };
        match tokio::time::timeout(self.proxy.patience.body, Limited::new(body, limit).collect()).await {
            Ok(Ok(whole)) => Ok((whole.to_bytes(), kept)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
            Ok(Err(_)) => Err(Refusal::Ambiguous),
            Err(_) => Err(Refusal::Slow),
        }
    }
}
