//! The proxy's configuration file.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// Everything the proxy is told. It is swapped whole: a file that does not read or compile leaves the former in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyConfig {
    /// `metadata.generation` of the `McpServer` that this was built from.
    pub generation: i64,
    /// Namespace of the `McpServer`.
    pub namespace: String,
    /// Name of the `McpServer`.
    pub name: String,
    /// Canonical URL of the MCP endpoint, `https://…`: the resource of RFC 8707 and of the RFC 9728 metadata, and the
    /// audience of a token for this server.
    pub resource: String,
    /// Authorities (`host` or `host:port`, lower case) that a request may name in `Host` or `:authority`.
    pub hosts: Vec<String>,
    /// SPIFFE trust domain of the built-in authority, without scheme.
    pub trust_domain: String,
    /// SPIFFE id that may read the report.
    pub operator: String,
    /// Where the MCP server listens, in the same pod.
    pub upstream: Upstream,
    /// Plain headers in which the server is told who calls, beside the signed identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_headers: Option<IdentityHeaders>,
    /// Whether a connection needs a client certificate.
    pub client_auth: ClientAuth,
    /// What counts as evidence of identity.
    pub authentication: Authentication,
    /// Who may call what. Deny wins over Allow, nothing matching is a deny.
    pub rules: Vec<Rule>,
    /// The `McpAccessPolicy`s whose rules are among them, each with its generation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<String, i64>,
    /// What tools must be like to be used; none: whatever the server says they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinning: Option<Pinning>,
    /// Bounds of requests.
    pub limits: Limits,
    /// What is audited.
    pub audit: AuditLevel,
    /// What is cut out of whatever is written down, beyond what always is.
    #[serde(default, skip_serializing_if = "Redact::is_empty")]
    pub redact: Redact,
}

/// Where the MCP server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// Where it listens.
    pub listens: Listens,
    /// Path of the MCP endpoint, with a leading slash.
    pub path: String,
    /// How it speaks MCP.
    #[serde(default, skip_serializing_if = "Transport::is_streamable_http")]
    pub transport: Transport,
}

/// Where the MCP server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Listens {
    /// TCP port on loopback.
    Port(u16),
    /// Unix socket of the bridge to a stdio server, which is also told whose requests belong together.
    Socket(String),
}

/// How the server speaks MCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// One endpoint (2025-03-26 and later).
    #[default]
    StreamableHttp,
    /// A stream that names the endpoint for messages (2024-11-05).
    Sse,
}

impl Transport {
    // serde passes a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_streamable_http(&self) -> bool {
        *self == Self::StreamableHttp
    }
}

/// Names of plain headers that say who calls; each begins with `X-`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityHeaders {
    /// For the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// For the groups, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<String>,
    /// For the name of the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
}

/// Whether a connection needs a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAuth {
    /// The handshake fails without one.
    Required,
    /// Asked for, checked if sent.
    Optional,
    /// Needed by nobody and worth nothing, but to the operator, which reads the report with its own.
    None,
}

/// What counts as evidence of identity. With neither issuer nor certificates every request is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// Issuers of bearer tokens, kept apart: a token is only checked against the keys of the issuer it names.
    pub issuers: Vec<Issuer>,
    /// Whether a verified client certificate is an identity by itself when no token is sent.
    pub client_certificates: bool,
    /// Whether the tokens in [`pod::STATIC_TOKENS`](crate::pod::STATIC_TOKENS) are taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub static_tokens: bool,
    /// Whether a caller without any credential is let in, as nobody in particular.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_anonymous: bool,
}

/// One issuer of JWT bearer tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// Name by which rules and audit lines call it.
    pub name: String,
    /// What `iss` must be, to the byte.
    pub url: String,
    /// Whose tokens these are, which decides how claims become a principal.
    pub kind: TokenKind,
    /// Audiences of which `aud` must hold at least one.
    pub audiences: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// Further authorities (PEM) to trust when fetching metadata and keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Whether it is asked about its tokens, opaque ones included. At most one issuer of a server is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
}

/// How an issuer is asked about its tokens (RFC 7662). The client secret lies in
/// [`pod::INTROSPECTION_SECRET`](crate::pod::INTROSPECTION_SECRET).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introspection {
    /// https URL of its introspection endpoint; none: its metadata says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Name by which the proxy is known to it as a client.
    pub client_id: String,
    /// Seconds for which an answer may be believed; none: it is asked on every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_seconds: Option<u32>,
}

/// Whose tokens an issuer signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum TokenKind {
    /// An OpenID Connect or OAuth 2.1 authorization server.
    #[serde(rename_all = "camelCase")]
    Oidc {
        /// Claim that becomes the subject: a top-level name, or a JSON Pointer (RFC 6901), which begins with `/`.
        subject_claim: String,
        /// Claim (a string or a list of strings) that becomes the groups, named likewise.
        groups_claim: String,
        /// Claims that become attributes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<AttributeClaim>,
    },
    /// The cluster's ServiceAccount issuer: `sub` is `system:serviceaccount:NAMESPACE:NAME`.
    KubernetesServiceAccount,
}

/// A claim that becomes an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttributeClaim {
    /// Name by which rules and the signed identity call it.
    pub name: String,
    /// Claim with its values: a top-level name, or a JSON Pointer, which begins with `/`.
    pub claim: String,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum KeySource {
    /// The issuer's metadata (OpenID Connect Discovery, RFC 8414) names the JWKS.
    Discovery,
    /// The JWKS stands at this URL (https).
    #[serde(rename_all = "camelCase")]
    Url {
        /// https URL of the JWKS.
        jwks_url: String,
    },
    /// The JWKS itself (RFC 7517), renewed by whoever writes this file.
    Inline {
        /// The JWKS.
        jwks: Value,
    },
}

/// One access rule, about something in at least one of its four lists of globs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Name in audit lines.
    pub name: String,
    /// What it does when it matches.
    pub effect: Effect,
    /// Whom it is about: any of these.
    pub principals: Vec<PrincipalMatch>,
    /// Globs of tool names (`*` any run, `?` one character): any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Globs of prompt names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Globs of resource URIs, and of templates as they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Globs of methods that are about no tool, prompt or resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// What must hold of the arguments of a call, or of a prompt's: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<ArgumentCondition>,
    /// What must hold beside them, in CEL over `request`, `principal` and `args`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// OAuth scopes that an Allow needs of a token: all of these. Never on a Deny.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// For some of these, broader scopes that include them: a token with one of these needs not the scope itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub broader_scopes: BTreeMap<String, Vec<String>>,
    /// From when on the rule is no more, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<i64>,
}

/// What tools must be like to be used. One that is not listed is as one that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pinning {
    /// Whether other tools are hidden and refused; if not, they are only reported.
    pub enforce: bool,
    /// Digests (`sha256:` and lower-case hex) of the tools as they were approved, by name.
    pub digests: BTreeMap<String, String>,
}

/// What must hold of the values that a path leads to: what every operator asks for that is set, at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgumentCondition {
    /// JSON Pointer (RFC 6901) into the arguments. A segment `*` leads to the elements of an array; `~2` is a member of the
    /// name `*`.
    pub path: String,
    /// Of how many elements it must hold, where the path leads to several.
    #[serde(default, skip_serializing_if = "Elements::is_every")]
    pub elements: Elements,
    /// The value, of the same type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// One of these values.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
    /// What a text begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What a text ends with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Glob of a whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// Regular expression of a whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Smallest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// Largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// Network that a text is an address of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Folder that a text is a path of, or of something in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_under: Option<String>,
    /// Whether nothing is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,
    /// What kind of value it is.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ValueKind>,
    /// How many characters a text, elements an array, members an object may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
}

/// Of how many elements a condition must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Elements {
    /// Of each; and there must be one.
    #[default]
    Every,
    /// Of one at least.
    Any,
}

impl Elements {
    fn is_every(&self) -> bool {
        *self == Self::Every
    }
}

/// A kind of JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// A text.
    String,
    /// A number.
    Number,
    /// A number without fraction.
    Integer,
    /// True or false.
    Boolean,
    /// An array.
    Array,
    /// An object.
    Object,
    /// `null`.
    Null,
}

/// Bounds of a size, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Size {
    /// No less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// No more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Permits, unless a Deny matches too.
    Allow,
    /// Refuses, whatever else matches.
    Deny,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum PrincipalMatch {
    /// Everyone with a verified identity. A Deny for them is one for callers without credentials too: whoever may not do
    /// something as somebody would do it as nobody.
    AnyAuthenticated,
    /// Callers without any credential, and nobody else.
    Anonymous,
    /// The subject of a token of that issuer, or of any issuer.
    Subject {
        /// Exact subject.
        name: String,
        /// Name of the issuer it must come from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// A group in a token of that issuer, or of any issuer.
    Group {
        /// Exact group.
        name: String,
        /// Name of the issuer it must come from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// An attribute in a token of that issuer, or of any issuer.
    Attribute {
        /// Name of the attribute.
        name: String,
        /// Values of which the token must carry one, exactly.
        values: Vec<String>,
        /// Name of the issuer it must come from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
    },
    /// A Kubernetes ServiceAccount, proven by its token.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The URI of a verified client certificate.
    SpiffeId(String),
}

/// Bounds of one request, of a caller, and of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Seconds until the server must have begun its answer. A stream that has begun may last longer.
    pub request_seconds: u32,
    /// Requests being served at once, streams included.
    pub concurrent: u32,
    /// Of these for one principal; none means no more than are left for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_per_principal: Option<NonZeroU32>,
    /// Streams that a principal may have asked for and have open; none means that they count as requests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams_per_principal: Option<NonZeroU32>,
    /// Seconds that an answer may be silent after it has begun; none means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_seconds: Option<NonZeroU32>,
    /// Requests in a time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rate: Rates,
}

/// How many requests in a time; none is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rates {
    /// Of all callers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_server: Option<Rate>,
    /// Of one principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_principal: Option<Rate>,
    /// Calls of one tool by one principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_tool: Option<Rate>,
    /// Requests that prove nobody, from one address or with one client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_per_peer: Option<Rate>,
}

/// So many in so long, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub requests: NonZeroU32,
    /// In how many seconds.
    pub per_seconds: NonZeroU32,
    /// How many at once after a pause.
    pub burst: NonZeroU32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditLevel {
    /// Nothing.
    None,
    /// One line a decision and one an outcome, without argument values.
    Decisions,
    /// The same, with the arguments of calls as far as [`Redact`] lets them show.
    Full,
}

/// What is cut out of whatever is written down, beyond what always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redact {
    /// Words in the name of a member whose value is cut out, in whatever case and with whatever separators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// JSON pointers into the arguments (RFC 6901), `*` for any one member or element: what stands there is cut out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Regular expressions: what they match is cut out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<String>,
}

impl Redact {
    /// Whether it adds nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.paths.is_empty() && self.patterns.is_empty()
    }
}
