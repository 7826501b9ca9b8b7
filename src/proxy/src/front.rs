//! One request, from its head to the answer's: the order of the checks is the design, and it stands in [`permitted`].
//!
//! Does not know how any single check is made, nor what a refusal looks like from outside ([`crate::refusal`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cardea_contract::{ClientAuth, pod};
use cardea_policy::{Action, Denial, DenialReason, Principal};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::audit::{Line, Verdict};
use crate::authn::certificate::Presented;
use crate::authn::{self, Stop};
use crate::config::Snapshot;
use crate::host;
use crate::jsonrpc::{self, Id};
use crate::limits::{Slot, Slots};
use crate::listener::Connection;
use crate::mcp::{self, Asked};
use crate::metrics::{DecisionLabel, MethodLabel, Outcome};
use crate::refusal::Refusal;
use crate::reply::{self, Body};
use crate::response::{self, Expected, Filter, Unfit};
use crate::tls::Anchor;
use crate::upstream::Outgoing;
use crate::{Proxy, headers, limits, report};

/// Methods of the endpoint.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// Methods of the endpoint in the modern era.
const METHODS_MODERN: HeaderValue = HeaderValue::from_static("POST");
/// Methods of what can only be read.
const METHODS_READ: HeaderValue = HeaderValue::from_static("GET");

/// What surrounds a request: what is in force, and the connection it came on.
struct Scene<'a> {
    proxy: &'a Proxy,
    snapshot: &'a Snapshot,
    connection: &'a Connection,
    certificate: Option<(&'a Presented, Anchor)>,
}

/// Answers a request.
pub(crate) async fn serve(proxy: &Proxy, connection: &Connection, request: Request<Incoming>) -> Response<Body> {
    let snapshot = proxy.config.current();
    let unit = proxy.tls.current();
    let certificate = connection.certificate(&unit);
    let (head, body) = request.into_parts();
    let scene = Scene { proxy, snapshot: &snapshot, connection, certificate };
    if head.uri.path() == pod::REPORT_PATH && head.method == Method::GET && scene.is_operator() {
        return report::answer(proxy, &snapshot, &unit).await;
    }
    let mut known = Known::default();
    match permitted(&scene, &head, body, &mut known).await {
        Ok(response) => response,
        Err(refusal) => {
            scene.record_refusal(&known, &refusal);
            refusal.response(&snapshot, known.id.as_ref())
        }
    }
}

/// What has become known of a request, for its audit line and its answer.
#[derive(Default)]
struct Known {
    principal: Option<Arc<Principal>>,
    id: Option<Id>,
    method: Option<String>,
    tool: Option<String>,
    label: Option<MethodLabel>,
}

/// The whole way. What this returns as an error has not reached the server, but for the last two kinds.
async fn permitted(
    scene: &Scene<'_>,
    head: &Parts,
    incoming: Incoming,
    known: &mut Known,
) -> Result<Response<Body>, Refusal> {
    let Scene { proxy, snapshot, .. } = *scene;
    let config = &snapshot.config;

    // Limits.
    let concurrent = usize::try_from(config.limits.concurrent).unwrap_or(usize::MAX);
    let slot = proxy.slots.take(1, concurrent).ok_or(Refusal::Busy)?;

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
            Ok(reply::json(StatusCode::OK, document))
        } else {
            Err(Refusal::Method(METHODS_READ))
        };
    }
    if head.uri.path() != snapshot.endpoint.path {
        return Err(Refusal::NoSuchPath);
    }
    if ![Method::GET, Method::POST, Method::DELETE].contains(&head.method) {
        return Err(Refusal::Method(METHODS));
    }

    // Who calls: asked on every request, inside a session too (rows 17, 46).
    let certificate = scene.certificate.filter(|_| config.client_auth != ClientAuth::None);
    let principal = Arc::new(authn::authenticate(head, certificate, snapshot).await?);
    known.principal = Some(principal.clone());

    // What for. `body` is read once; these bytes are judged and these bytes are sent.
    let (body, message, _kept);
    let asked = if head.method == Method::POST {
        (body, _kept) = read(&head.headers, incoming, config.limits.max_body_bytes, &proxy.bodies).await?;
        message = jsonrpc::read(&body).map_err(|malformed| Refusal::Message(malformed.into()))?;
        known.note(&message);
        mcp::of_message(&head.headers, &message).map_err(Refusal::Message)?
    } else {
        body = Bytes::new();
        let method = if head.method == Method::GET { "(stream)" } else { "(end of session)" };
        let asked = mcp::of_session(&head.headers, method).map_err(Refusal::Message)?;
        asked.ok_or(Refusal::Method(METHODS_MODERN))?
    };
    known.asked(&asked);

    // May they.
    let permit = snapshot.policy.decide(&principal, asked.action).map_err(Refusal::Denied)?;
    scene.record_permit(known, permit.rule())?;

    // Upstream: without the client's token, with our own word for who it is.
    let identity = proxy.signer.sign(&principal, &config.resource).map_err(|_| Refusal::Unsigned)?;
    let outgoing = Outgoing {
        method: head.method.clone(),
        headers: headers::for_upstream(&head.headers, asked.era),
        identity,
        body,
    };
    let limit = Duration::from_secs(config.limits.request_seconds.into());
    let answer = proxy.upstream.send(permit, &config.upstream, outgoing, limit).await?;

    // What comes back.
    let expected = match asked.action {
        Action::List(_) | Action::Listen { .. } => Expected::List,
        Action::Session if head.method == Method::GET => Expected::Stream,
        _ => Expected::Opaque,
    };
    let filter = Filter { config: proxy.config.clone(), metrics: proxy.metrics.clone(), principal, era: asked.era };
    let response = response::finish(answer, expected, filter, slot, limit).await?;
    proxy.metrics.upstream(Outcome::Ok);
    Ok(response)
}

/// The whole body, or nothing of it: no decision is made on a part. With it comes its share of what may be kept of bodies.
async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
    bodies: &Slots,
) -> Result<(Bytes, Option<Slot>), Refusal> {
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
        Some(bodies.take(size, limit.max(limits::MAX_BODIES_BYTES)).ok_or(Refusal::Busy)?)
    } else {
        None
    };
    match tokio::time::timeout(limits::BODY_READ, Limited::new(body, limit).collect()).await {
        Ok(Ok(whole)) => Ok((whole.to_bytes(), kept)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge),
        Ok(Err(_)) => Err(Refusal::Ambiguous),
        Err(_) => Err(Refusal::Slow),
    }
}

impl Known {
    fn note(&mut self, message: &jsonrpc::Message) {
        match &message.kind {
            jsonrpc::Kind::Request { id, method } => {
                self.id = Some(id.clone());
                self.method = Some(method.clone());
            }
            jsonrpc::Kind::Notification { method } => self.method = Some(method.clone()),
            jsonrpc::Kind::Answer => {}
        }
    }

    fn asked(&mut self, asked: &Asked<'_>) {
        self.method = Some(asked.method.to_owned());
        self.tool = asked.tool().map(str::to_owned);
        self.label = Some(asked.label());
    }
}

impl Scene<'_> {
    /// Whether this is the operator, by the id that the configuration names. Only the trust domain's own authority signs
    /// for it ([`Presented::spiffe_id`]).
    fn is_operator(&self) -> bool {
        let config = &self.snapshot.config;
        let id = self.certificate.and_then(|(presented, anchor)| presented.spiffe_id(anchor, &config.trust_domain));
        id == Some(config.operator.as_str())
    }

    /// Before anything is done about it: what cannot be recorded does not happen.
    fn record_permit(&self, known: &Known, rule: Option<&str>) -> Result<(), Refusal> {
        self.proxy.metrics.request(DecisionLabel::Allow, known.label.unwrap_or(MethodLabel::Unread));
        if self.write(known, Verdict::Allow, rule, None) { Ok(()) } else { Err(Refusal::Unrecorded) }
    }

    fn record_refusal(&self, known: &Known, refusal: &Refusal) {
        let (label, line) = match refusal {
            Refusal::Stop(Stop::KeysUnavailable) => (DecisionLabel::Unavailable, Some(Verdict::Unauthenticated)),
            Refusal::Stop(_) | Refusal::NoCertificate => {
                (DecisionLabel::Unauthenticated, Some(Verdict::Unauthenticated))
            }
            Refusal::Denied(_) | Refusal::Stranger(_) => (DecisionLabel::Deny, Some(Verdict::Deny)),
            Refusal::Ambiguous | Refusal::MediaType | Refusal::TooLarge | Refusal::Slow | Refusal::Message(_) => {
                (DecisionLabel::Malformed, Some(Verdict::Deny))
            }
            Refusal::NoSuchPath | Refusal::Method(_) => (DecisionLabel::Malformed, None),
            Refusal::Busy => (DecisionLabel::Unavailable, None),
            // Permitted before, and recorded as such.
            Refusal::Unsigned | Refusal::Unrecorded => return,
            Refusal::NoAnswer(_) => return self.proxy.metrics.upstream(Outcome::Failed),
            Refusal::Unfit(Unfit(reason)) => {
                self.proxy.metrics.upstream(Outcome::Failed);
                return tracing::warn!(reason, method = known.method, "the server's answer is withheld");
            }
        };
        self.proxy.metrics.request(label, known.label.unwrap_or(MethodLabel::Unread));
        if let Some(verdict) = line {
            let (rule, reason) = match refusal {
                Refusal::Denied(Denial { reason: DenialReason::Rule(rule) }) => (Some(rule.as_ref()), None),
                refusal => (None, Some(refusal.reason())),
            };
            self.write(known, verdict, rule, reason);
        }
    }

    fn write(&self, known: &Known, decision: Verdict, rule: Option<&str>, reason: Option<&str>) -> bool {
        let config = &self.snapshot.config;
        let principal = known.principal.as_deref();
        let line = Line {
            decision,
            rule,
            reason,
            subject: principal.map(|principal| principal.subject.as_str()),
            issuer: principal.map(Principal::issuer),
            method: known.method.as_deref(),
            tool: known.tool.as_deref(),
            peer: self.connection.peer.ip().to_canonical(),
            server: (&config.namespace, &config.name),
            generation: config.generation,
        };
        let outcome = self.proxy.audit.write(config.audit, line);
        if let Err(error) = &outcome {
            self.proxy.metrics.audit_line_lost();
            tracing::error!(%error, "an audit line could not be written");
        }
        outcome.is_ok()
    }
}
