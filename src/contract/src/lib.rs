//! What operator, proxy and agent agree on: their configurations, what they report back, and where things stand in the
//! pod. The operator writes JSON, the others read it; all compile against this one crate.
//!
//! Knows nothing of Kubernetes, HTTP or how a rule is decided.

mod proxy;
mod report;
/// What the fetcher of secrets is told and tells.
pub mod secrets;
mod serve;

/// Where the parts of a pod find each other. Changing one of these changes the pod template of every server.
pub mod pod;

pub use proxy::{
    ArgumentCondition, AttributeClaim, AuditLevel, Authentication, ClientAuth, Effect, Elements, IdentityHeaders,
    Introspection, Issuer, KeySource, Limits, Listens, Pinning, PrincipalMatch, ProxyConfig, Rate, Rates, Redact, Rule,
    Size, TokenKind, Transport, Upstream, ValueKind,
};
pub use report::{
    AuthorizationServer, Handshake, HandshakeFailure, Leaf, LoginSupport, ProxyReport, RuleWarning, ServerInfo,
    ServerMetadata, Tool, ToolFlag,
};
pub use secrets::{SecretsConfig, SecretsReport};
pub use serve::{GivenSecret, Isolation, OnRotation, ServeConfig, Stdio};
