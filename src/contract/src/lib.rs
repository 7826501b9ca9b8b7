//! What operator and proxy agree on: the proxy's configuration file, what it reports back, and where things stand in the
//! pod. The operator writes [`ProxyConfig`] as JSON, the proxy reads it; both compile against this one crate.
//!
//! Knows nothing of Kubernetes, HTTP or how a rule is decided.

mod proxy;
mod report;

/// Where the parts of a pod find each other. Changing one of these changes the pod template of every server.
pub mod pod;

pub use proxy::{
    ArgumentCondition, AttributeClaim, AuditLevel, Authentication, ClientAuth, Effect, Elements, IdentityHeaders,
    Introspection, Issuer, KeySource, Limits, Pinning, PrincipalMatch, ProxyConfig, Rate, Rates, Redact, Rule, Size,
    TokenKind, Transport, Upstream, ValueKind,
};
pub use report::{
    AuthorizationServer, Handshake, HandshakeFailure, Leaf, LoginSupport, ProxyReport, RuleWarning, ServerInfo,
    ServerMetadata, Tool, ToolFlag,
};
