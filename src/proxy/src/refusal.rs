//! Why a request gets no further, and what that looks like from outside: the same for all that is denied, whether it
//! exists or not, and never with a word of the rule, the key or the server behind it. Only who misses nothing but scopes
//! is told which (row 48).
//!
//! Does not know in which order things are checked ([`crate::front`]).

use cardea_policy::{Denial, DenialReason, Evidence, Principal};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::authn::Stop;
use crate::config::Snapshot;
use crate::host::Stranger;
use crate::jsonrpc::Id;
use crate::limits::Limit;
use crate::limits::callers::Exceeded;
use crate::mcp;
use crate::reply::{self, Body, code};
use crate::response::Unfit;
use crate::upstream::NoAnswer;

/// Why a request gets no further.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The proxy has no room for it.
    Busy(Limit),
    /// The caller has had its share.
    Exceeded(Exceeded),
    NoCertificate,
    /// Read in two ways by two readers, or broken off.
    Ambiguous,
    Stranger(Stranger),
    NoSuchPath,
    Method(HeaderValue),
    Stop(Stop),
    MediaType,
    TooLarge,
    TooManyHeaders,
    Slow,
    Message(mcp::Refused),
    /// The session is not there, or not the caller's.
    NoSession,
    Denied(Denial),
    /// To a caller without credential, to whom it might be permitted as somebody.
    DeniedToNobody(Denial),
    /// Permitted, but the tool is not as it was approved.
    Unapproved {
        /// The caller has no credential.
        to_nobody: bool,
    },
    Unrecorded,
    Unsigned,
    NoAnswer(NoAnswer),
    Unfit(Unfit),
}

impl From<Stranger> for Refusal {
    fn from(stranger: Stranger) -> Self {
        Self::Stranger(stranger)
    }
}

impl From<Stop> for Refusal {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

impl From<NoAnswer> for Refusal {
    fn from(no_answer: NoAnswer) -> Self {
        Self::NoAnswer(no_answer)
    }
}

impl From<Unfit> for Refusal {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl Refusal {
    /// What a denial means to this caller.
    pub(crate) fn denied(denial: Denial, caller: &Principal) -> Self {
        match (&caller.evidence, &denial.reason) {
            (Evidence::Anonymous, DenialReason::Rule(_) | DenialReason::NothingAllows) => Self::DeniedToNobody(denial),
            _ => Self::Denied(denial),
        }
    }

    /// What it means to this caller that a tool is not as it was approved.
    pub(crate) fn unapproved(caller: &Principal) -> Self {
        Self::Unapproved { to_nobody: caller.evidence == Evidence::Anonymous }
    }

    /// For the audit line.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Exceeded(Exceeded { limit, .. }) => match limit {
                Limit::RatePerServer | Limit::RatePerPrincipal | Limit::RatePerTool => "too-many-requests",
                Limit::FailuresPerPeer => "too-many-failures",
                _ => "too-many-at-once",
            },
            Self::NoCertificate => "no-certificate",
            Self::Ambiguous | Self::Stranger(Stranger::Malformed) => "ambiguous",
            Self::Stranger(Stranger::Host) => "host",
            Self::Stranger(Stranger::Origin) => "origin",
            Self::NoSuchPath => "path",
            Self::Method(_) => "http-method",
            Self::Stop(Stop::NoEvidence(reason) | Stop::InvalidToken(reason) | Stop::Unavailable(reason)) => reason,
            Self::Stop(Stop::TokenInQuery) => "token-in-query",
            Self::MediaType => "media-type",
            Self::TooLarge | Self::TooManyHeaders => "too-large",
            Self::Slow => "too-slow",
            Self::Message(_) => "message",
            Self::NoSession => "session-not-found",
            Self::Denied(Denial { reason: DenialReason::UnknownMethod }) => "unknown-method",
            Self::Denied(Denial { reason: DenialReason::MissingScopes { .. } }) => "insufficient-scope",
            Self::Denied(_) | Self::DeniedToNobody(_) => "nothing-allows",
            Self::Unapproved { .. } => "pinning",
            Self::Unrecorded => "unrecorded",
            Self::Unsigned => "unsigned",
            Self::NoAnswer(_) => "no-answer",
            Self::Unfit(_) => "unfit-answer",
        }
    }

    /// The limit that was met, if it is one.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Self::Busy(limit) | Self::Exceeded(Exceeded { limit, .. }) => Some(*limit),
            Self::TooLarge => Some(Limit::Body),
            Self::TooManyHeaders => Some(Limit::Head),
            Self::Slow => Some(Limit::SlowBody),
            _ => None,
        }
    }

    /// What the caller sees: the same for all that is denied, whether it exists or not.
    pub(crate) fn response(self, snapshot: &Snapshot, id: Option<&Id>) -> Response<Body> {
        let refused = |status, message| reply::error(status, id, code::REFUSED, message);
        let unavailable = |status, message| reply::error(status, id, code::UNAVAILABLE, message);
        match self {
            Self::Busy(_) => retry_later(unavailable(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once"), 1),
            Self::Exceeded(Exceeded { limit, wait, .. }) => {
                let message = match limit {
                    Limit::StreamsPerPrincipal => "too many streams at once: close one, or try again later",
                    Limit::ConcurrentPerPrincipal => "too many requests at once: let one end, or try again later",
                    Limit::FailuresPerPeer => "too many requests that prove nobody: try again later",
                    _ => "too many requests: try again later",
                };
                let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let seconds = u16::try_from(whole.max(1)).unwrap_or(u16::MAX);
                retry_later(unavailable(StatusCode::TOO_MANY_REQUESTS, message), seconds)
            }
            Self::NoCertificate => refused(StatusCode::FORBIDDEN, "a valid client certificate is required"),
            Self::Ambiguous | Self::Stranger(Stranger::Malformed) => reply::error(
                StatusCode::BAD_REQUEST,
                id,
                code::INVALID_REQUEST,
                "the request is ambiguous or incomplete",
            ),
            Self::Stranger(Stranger::Host) => refused(StatusCode::FORBIDDEN, "this host is not served here"),
            Self::Stranger(Stranger::Origin) => refused(StatusCode::FORBIDDEN, "this origin may not call"),
            Self::NoSuchPath => reply::empty(StatusCode::NOT_FOUND),
            Self::Method(allowed) => {
                let mut response = reply::empty(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(ALLOW, allowed);
                response
            }
            Self::Stop(stop) => stopped(stop, snapshot, id),
            Self::MediaType => refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be plain application/json"),
            Self::TooLarge => refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::TooManyHeaders => {
                refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many headers")
            }
            Self::Slow => refused(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
            Self::Message(mcp::Refused { status, code, message, data }) => match data {
                Some(data) => reply::error_with(id, code, message, &data),
                None => reply::error(status, id, code, message),
            },
            Self::NoSession => refused(StatusCode::NOT_FOUND, "no such session: begin a new one"),
            Self::Denied(Denial { reason: DenialReason::MissingScopes { scopes, .. } }) => {
                let mut response = refused(StatusCode::FORBIDDEN, "the token lacks scopes that this needs");
                response.headers_mut().extend(snapshot.endpoint.step_up(&scopes).map(|step| (WWW_AUTHENTICATE, step)));
                response
            }
            // Clients log in when they are told that they must.
            Self::DeniedToNobody(_) | Self::Unapproved { to_nobody: true } => {
                stopped(Stop::NoEvidence("anonymous"), snapshot, id)
            }
            Self::Denied(_) | Self::Unapproved { to_nobody: false } => refused(StatusCode::FORBIDDEN, "not permitted"),
            Self::Unrecorded => unavailable(StatusCode::SERVICE_UNAVAILABLE, "the request cannot be recorded"),
            Self::Unsigned => unavailable(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be forwarded"),
            Self::NoAnswer(NoAnswer::Unreachable) => {
                unavailable(StatusCode::BAD_GATEWAY, "the server cannot be reached")
            }
            Self::NoAnswer(NoAnswer::Late) => {
                unavailable(StatusCode::GATEWAY_TIMEOUT, "the server did not answer in time")
            }
            Self::Unfit(_) => unavailable(StatusCode::BAD_GATEWAY, "the server's answer cannot be passed on"),
        }
    }
}

fn stopped(stop: Stop, snapshot: &Snapshot, id: Option<&Id>) -> Response<Body> {
    let challenged = |token_was_sent| {
        let mut response = reply::error(StatusCode::UNAUTHORIZED, id, code::REFUSED, "who calls must be proven");
        response.headers_mut().insert(WWW_AUTHENTICATE, snapshot.endpoint.challenge(token_was_sent));
        response
    };
    match stop {
        Stop::NoEvidence(_) => challenged(false),
        Stop::InvalidToken(_) => challenged(true),
        Stop::TokenInQuery => {
            let message = "a token belongs in the Authorization header";
            reply::error(StatusCode::BAD_REQUEST, id, code::INVALID_REQUEST, message)
        }
        Stop::Unavailable(_) => {
            let message = "the token's issuer cannot be asked at present";
            retry_later(reply::error(StatusCode::SERVICE_UNAVAILABLE, id, code::UNAVAILABLE, message), 10)
        }
    }
}

fn retry_later(mut response: Response<Body>, seconds: u16) -> Response<Body> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
