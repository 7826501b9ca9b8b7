//! The account of one request: what has become known of it on its way, told twice. Before anything is done about what was
//! decided stands the decision; when the last byte of the answer is gone, what became of it. A refusal is its own outcome,
//! so it is told once.
//!
//! Does not decide, and does not know how a line is written ([`crate::audit`]).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cardea_contract::AuditLevel;
use cardea_policy::{Denial, DenialReason, Principal};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::Proxy;
use crate::arguments::{self, Arguments};
use crate::audit::{End, Event, Line, Verdict};
use crate::authn::Stop;
use crate::config::Snapshot;
use crate::jsonrpc::{self, Id};
use crate::lease;
use crate::limits::Limit;
use crate::limits::callers::Exceeded;
use crate::mcp::Asked;
use crate::metrics::{DecisionLabel, MethodLabel, Outcome, Unapproved};
use crate::refusal::Refusal;
use crate::reply::{Body, BodyError};
use crate::response::Unfit;
use crate::stray::Said;
use crate::trace::{REQUEST_ID, RequestId, Trace};

/// What is known of a request.
pub(crate) struct Account {
    proxy: Arc<Proxy>,
    snapshot: Arc<Snapshot>,
    peer: IpAddr,
    started: Instant,
    request: RequestId,
    pub(crate) trace: Trace,
    pub(crate) principal: Option<Arc<Principal>>,
    pub(crate) id: Option<Id>,
    method: Option<String>,
    target: Option<Target>,
    label: MethodLabel,
    arguments: Option<Arguments>,
    /// Bytes of the body, once it was read.
    asked: u64,
    stage: Stage,
    ending: Ending,
}

/// What a request is aimed at, by the kind of thing it is.
enum Target {
    Tool(String),
    Prompt(String),
    Resource(String),
}

/// How far it is.
enum Stage {
    Undecided,
    /// By this rule, if one was needed.
    Permitted(Option<String>),
    /// Permitted, and ended here nevertheless.
    Failed(Option<String>, &'static str),
    Refused(Refused),
}

struct Refused {
    verdict: Verdict,
    rule: Option<String>,
    reason: Option<&'static str>,
}

/// What the end of a request adds, as far as it has come.
#[derive(Default)]
struct Ending {
    status: Option<StatusCode>,
    /// Until the head of the answer was there.
    head: Option<Duration>,
    /// Bytes of the answer's body that went to the caller.
    bytes: u64,
    end: Option<End>,
    said: Option<Arc<Said>>,
    /// Of a stream that may have to end before its time.
    verdict: Option<lease::Verdict>,
}

impl Account {
    pub(crate) fn open(proxy: &Arc<Proxy>, snapshot: &Arc<Snapshot>, peer: IpAddr, headers: &HeaderMap) -> Self {
        Self {
            proxy: proxy.clone(),
            snapshot: snapshot.clone(),
            peer,
            started: Instant::now(),
            request: RequestId::new(),
            trace: Trace::of(headers, proxy.spans.is_some()),
            principal: None,
            id: None,
            method: None,
            target: None,
            label: MethodLabel::Unread,
            arguments: None,
            asked: 0,
            stage: Stage::Undecided,
            ending: Ending::default(),
        }
    }

    /// The body was read, and is this message.
    pub(crate) fn note(&mut self, body: &[u8], message: &jsonrpc::Message) {
        let method = match &message.kind {
            jsonrpc::Kind::Request { id, method } => {
                self.id = Some(id.clone());
                Some(method)
            }
            jsonrpc::Kind::Notification { method } => Some(method),
            jsonrpc::Kind::Answer => None,
        };
        self.asked = body.len() as u64;
        let named = |text: &jsonrpc::Member| text.text().map(str::to_owned);
        self.target = match method.map(String::as_str) {
            Some("tools/call") => named(&message.params.name).map(Target::Tool),
            Some("prompts/get") => named(&message.params.name).map(Target::Prompt),
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
                named(&message.params.uri).map(Target::Resource)
            }
            _ => None,
        };
        self.method = method.cloned();
        if self.snapshot.config.audit == AuditLevel::Full {
            self.arguments = arguments::of_message(body, &self.snapshot.redaction);
        }
    }

    /// What is asked for was understood.
    pub(crate) fn asked(&mut self, asked: &Asked<'_>) {
        self.method.get_or_insert_with(|| asked.method.to_owned());
        self.label = asked.label();
    }

    /// Tells the decision, before anything is done about it: what cannot be recorded does not happen.
    pub(crate) fn permitted(&mut self, rule: Option<&str>) -> Result<(), Refusal> {
        self.proxy.metrics.request(DecisionLabel::Allow, self.label);
        self.stage = Stage::Permitted(rule.map(str::to_owned));
        if self.write(Event::Decision) {
            self.proxy.metrics.open_requests(1);
            Ok(())
        } else {
            self.stage = Stage::Undecided;
            Err(Refusal::Unrecorded)
        }
    }

    /// It gets no further.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        if let Some(limit) = refusal.limit() {
            self.proxy.metrics.limit_met(limit);
        }
        if let Refusal::Unapproved { .. } = refusal {
            self.proxy.metrics.unapproved(Unapproved::Called);
        }
        let (label, verdict) = match refusal {
            Refusal::Stop(Stop::Unavailable(_)) => (DecisionLabel::Unavailable, Some(Verdict::Unauthenticated)),
            Refusal::Stop(_) | Refusal::NoCertificate => {
                (DecisionLabel::Unauthenticated, Some(Verdict::Unauthenticated))
            }
            Refusal::Denied(_)
            | Refusal::DeniedToNobody(_)
            | Refusal::Unapproved { .. }
            | Refusal::Stranger(_)
            | Refusal::NoSession => (DecisionLabel::Deny, Some(Verdict::Deny)),
            Refusal::Ambiguous
            | Refusal::MediaType
            | Refusal::TooLarge
            | Refusal::TooManyHeaders
            | Refusal::Slow
            | Refusal::Message(_) => (DecisionLabel::Malformed, Some(Verdict::Deny)),
            Refusal::Exceeded(Exceeded { limit, audited, .. }) => {
                let nobody = *limit == Limit::FailuresPerPeer;
                let verdict = if nobody { Verdict::Unauthenticated } else { Verdict::Deny };
                (DecisionLabel::Limited, audited.then_some(verdict))
            }
            Refusal::NoSuchPath | Refusal::Method(_) => (DecisionLabel::Malformed, None),
            Refusal::Busy(_) => (DecisionLabel::Unavailable, None),
            // Permitted before, and counted as such.
            Refusal::Unsigned | Refusal::Unrecorded | Refusal::NoAnswer(_) | Refusal::Unfit(_) => {
                if let Refusal::Unfit(Unfit(reason)) = refusal {
                    let mut id = [0; 36];
                    tracing::warn!(reason, request = self.request.write(&mut id), "the server's answer is withheld");
                }
                if let Stage::Permitted(rule) = &mut self.stage {
                    self.stage = Stage::Failed(rule.take(), refusal.reason());
                }
                return;
            }
        };
        self.proxy.metrics.request(label, self.label);
        if let Some(verdict) = verdict {
            let (rule, reason) = match refusal {
                Refusal::Denied(Denial { reason: DenialReason::Rule(rule) })
                | Refusal::DeniedToNobody(Denial { reason: DenialReason::Rule(rule) }) => {
                    (Some(rule.as_ref().to_owned()), None)
                }
                Refusal::Denied(Denial { reason: DenialReason::MissingScopes { rule, .. } }) => {
                    (Some(rule.as_ref().to_owned()), Some(refusal.reason()))
                }
                refusal => (None, Some(refusal.reason())),
            };
            self.stage = Stage::Refused(Refused { verdict, rule, reason });
        }
    }

    /// Gives the answer its id, and follows it to its end.
    pub(crate) fn close(mut self, mut response: Response<Body>) -> Response<Followed> {
        let mut id = [0; 36];
        if let Ok(value) = HeaderValue::from_str(self.request.write(&mut id)) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        self.ending.status = Some(response.status());
        self.ending.head = Some(self.started.elapsed());
        self.ending.said = response.extensions_mut().remove();
        self.ending.verdict = response.extensions_mut().remove();
        let following = match self.stage {
            Stage::Undecided => None,
            Stage::Refused(_) => {
                self.write(Event::Decision);
                None
            }
            Stage::Permitted(_) | Stage::Failed(..) => {
                self.proxy.metrics.answered(self.label, self.started.elapsed());
                Some(Box::new(self))
            }
        };
        response.map(|body| Followed { body, following })
    }

    fn write(&self, event: Event) -> bool {
        let Snapshot { config, redaction, .. } = &*self.snapshot;
        let audited = config.audit != AuditLevel::None;
        if !audited && self.proxy.spans.is_none() {
            return true;
        }
        let (decision, rule, reason) = match &self.stage {
            Stage::Undecided => return true,
            Stage::Permitted(rule) => (Verdict::Allow, rule, None),
            Stage::Failed(rule, reason) => (Verdict::Allow, rule, Some(*reason)),
            Stage::Refused(refused) => (refused.verdict, &refused.rule, refused.reason),
        };
        let target = |wanted: fn(&Target) -> Option<&str>| {
            self.target.as_ref().and_then(wanted).map(|name| redaction.text(name))
        };
        let (mut id, mut trace) = ([0; 36], [0; 32]);
        let (ending, is_outcome) = (&self.ending, event == Event::Outcome);
        let line = Line {
            event,
            request: self.request.write(&mut id),
            trace: self.trace.id(&mut trace),
            decision,
            rule: rule.as_deref(),
            reason,
            subject: self.principal.as_deref().map(|principal| redaction.text(&principal.subject)),
            issuer: self.principal.as_deref().map(Principal::issuer),
            method: self.method.as_deref().map(|method| redaction.text(method)),
            tool: target(|target| if let Target::Tool(name) = target { Some(name) } else { None }),
            prompt: target(|target| if let Target::Prompt(name) = target { Some(name) } else { None }),
            resource: target(|target| if let Target::Resource(uri) = target { Some(uri) } else { None }),
            arguments: self.arguments.as_ref().filter(|_| !is_outcome),
            request_bytes: self.asked,
            latency_ms: millis(ending.head.unwrap_or_else(|| self.started.elapsed())),
            status: ending.status.map(|status| status.as_u16()),
            duration_ms: is_outcome.then(|| millis(self.started.elapsed())),
            response_bytes: is_outcome.then_some(ending.bytes),
            end: ending.end,
            error: ending.said.as_ref().and_then(|said| said.error()),
            tool_error: ending.said.as_ref().is_some_and(|said| said.is_tool_error()),
            peer: self.peer,
            server: (&config.namespace, &config.name),
            generation: config.generation,
        };
        // The last line of a request is its span too.
        if let Some(spans) = self.proxy.spans.as_ref().filter(|_| is_outcome || decision != Verdict::Allow) {
            let known = ![MethodLabel::Unread, MethodLabel::Other].contains(&self.label);
            let name = self.method.as_deref().filter(|_| known);
            spans.tell(&line, name, &self.trace, self.started.elapsed());
        }
        if !audited {
            return true;
        }
        let outcome = self.proxy.audit.write(&line);
        if let Err(error) = &outcome {
            self.proxy.metrics.audit_line_lost();
            tracing::error!(%error, "an audit line could not be written");
        }
        outcome.is_ok()
    }
}

/// What was permitted has an outcome however it ends: a caller may leave before there is an answer.
impl Drop for Account {
    fn drop(&mut self) {
        let outcome = match self.stage {
            Stage::Undecided | Stage::Refused(_) => return,
            Stage::Permitted(_) if self.ending.status.is_some() => Outcome::Ok,
            Stage::Permitted(_) | Stage::Failed(..) => Outcome::Failed,
        };
        let end = *self.ending.end.get_or_insert(End::Left);
        let metrics = &self.proxy.metrics;
        metrics.open_requests(-1);
        metrics.upstream(outcome);
        metrics.ended(end, self.asked, self.ending.bytes);
        self.write(Event::Outcome);
    }
}

fn millis(duration: Duration) -> f64 {
    // Three digits: what is below a microsecond is the clock's.
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1000.0
}

/// An answer on its way, with the account of what it answers.
pub(crate) struct Followed {
    body: Body,
    following: Option<Box<Account>>,
}

impl Followed {
    /// An answer that nobody keeps account of.
    pub(crate) fn unaccounted(body: Body) -> Self {
        Self { body, following: None }
    }
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Account { ending, .. }) = self.following.as_deref_mut() {
            match &frame {
                None => {
                    let verdict = ending.verdict.as_ref().and_then(|verdict| verdict.get());
                    ending.end = Some(verdict.copied().unwrap_or(End::Complete));
                }
                Some(Err(_)) => ending.end = Some(End::Broken),
                Some(Ok(frame)) => ending.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // A body of known length is dropped with its last byte, before it says that it has ended.
        if let Some(account) = &mut self.following
            && account.ending.end.is_none()
            && self.body.is_end_stream()
        {
            account.ending.end = Some(End::Complete);
        }
    }
}
