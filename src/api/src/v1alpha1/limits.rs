//! Bounds of a request, and what is written down about it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of a single request, of one caller and of all of them, in each pod. A caller (principal) is a subject of an
/// issuer, however many tokens, sessions and connections it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.concurrentPerPrincipal) || self.concurrentPerPrincipal <= (has(self.concurrent) ? self.concurrent : 256)").message("spec.limits.concurrentPerPrincipal must not be above concurrent (default 256): raise concurrent or lower it"))]
#[x_kube(validation = Rule::new("!has(self.streamsPerPrincipal) || self.streamsPerPrincipal <= (has(self.concurrent) ? self.concurrent : 256)").message("spec.limits.streamsPerPrincipal must not be above concurrent (default 256), since streams count as requests: raise concurrent or lower it"))]
pub struct Limits {
    /// Largest request body in bytes; a larger one gets 413. Default: 1048576 (1 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 67_108_864))]
    pub max_body_bytes: Option<i64>,

    /// Seconds until the server must have begun its answer, else 504. A stream that has begun may last longer.
    /// Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_seconds: Option<i32>,

    /// Requests being served at once in one pod, streams included; one more gets 503. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub concurrent: Option<i32>,

    /// Requests of one principal being served at once in one pod, streams included; one more gets 429. Default: as many
    /// as are left for all others, so that one alone has half of `concurrent` and nobody can shut out the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub concurrent_per_principal: Option<i32>,

    /// Streams (a GET, or `subscriptions/listen`) that one principal may have open in one pod; one more gets 429.
    /// Default: a quarter of `concurrent`, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub streams_per_principal: Option<i32>,

    /// Seconds that an answer that has begun may be silent before it is ended. Default: 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub stream_idle_seconds: Option<i32>,

    /// Requests in a time; what is above gets 429 with `Retry-After`. Each pod counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rates>,
}

/// How many requests in a time, in each pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Of all principals together. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_server: Option<Rate>,

    /// Of each principal. Default: half of `perServer` if that is set, so that one principal cannot use it up; else no
    /// bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_principal: Option<Rate>,

    /// Calls of each tool by each principal. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_tool: Option<Rate>,

    /// Requests that prove nobody (no token, or one that does not convince) with one client certificate or, without one,
    /// from one address (IPv6: one /64 network). Beyond it the caller gets 429 before its token is looked at; connections
    /// that have proven somebody go on. Default: 100 in 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures_per_peer: Option<Rate>,
}

/// So many in so long. The allowance grows back evenly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i32,

    /// In how many seconds.
    #[schemars(range(min = 1, max = 3600))]
    pub per_seconds: i32,

    /// How many at once after a pause. Default: `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
}

/// What is written to the audit log, which is the proxy's standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// How much. Default: Decisions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<AuditLevel>,

    /// What is cut out of whatever the proxy writes down, beyond what always is: values of members named like a token,
    /// secret, password, key or cookie, and texts shaped like a JWT, a private key or a vendor's token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redact>,
}

/// What is cut out of audit lines, logs and traces, beyond what always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.keys) || self.keys.all(k, k.matches('[A-Za-z0-9]'))").message("spec.audit.redact.keys: an entry has no letter or digit: name a part of the members to cut out"))]
#[x_kube(validation = Rule::new("!has(self.paths) || self.paths.all(p, p.startsWith('/'))").message("spec.audit.redact.paths: an entry is no JSON pointer: begin it with '/'"))]
pub struct Redact {
    /// Words in the name of an argument's member whose value is cut out; case and separators do not count, so `apikey`
    /// is part of `X-Api-Key`. Default: none further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)))]
    pub keys: Vec<String>,

    /// JSON pointers (RFC 6901) into the arguments of a call, with `*` for any one member or element, as in
    /// `/users/*/address`: what stands there is cut out. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub paths: Vec<String>,

    /// Regular expressions (syntax of the Rust crate `regex`, which takes linear time): what they match in any text is
    /// cut out. Default: none further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    pub patterns: Vec<String>,
}

/// How much is audited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuditLevel {
    /// Nothing.
    None,
    /// One line for each decision and one for what became of it, with neither argument values nor secrets.
    #[default]
    Decisions,
    /// The same, with the arguments of calls, after `redact` and cut at 8 KiB a line.
    Full,
}
