//! What is counted. Every label comes from a closed set, so nothing a caller sends can grow the exposition or leak by it.
//!
//! Does not know who reads it ([`crate::admin`]).

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::audit::End;
use crate::config::ConfigStore;
use crate::limits::Limit;

/// Seconds: what the proxy adds is below the first, what a person waits for above the last.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0];
/// Bytes of bodies.
const BYTES: [f64; 7] = [256.0, 1024.0, 4096.0, 16384.0, 65536.0, 1_048_576.0, 16_777_216.0];

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum DecisionLabel {
    Allow,
    Deny,
    Unauthenticated,
    Malformed,
    Unavailable,
    /// Asked more than it may.
    Limited,
}

/// What was asked for, by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum MethodLabel {
    Session,
    List,
    CallTool,
    GetPrompt,
    ReadResource,
    Other,
    /// Refused before it was read.
    Unread,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Ok,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    decision: DecisionLabel,
    method: MethodLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: MethodLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    end: End,
}

/// Where a tool was not as it was approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Unapproved {
    /// It was called, and not run.
    Called,
    /// It was listed, and not shown.
    Listed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnapprovedLabels {
    tool: Unapproved,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: Limit,
}

/// All that is counted and measured. `docs/guides/observe.md` lists it for its readers.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    answer_seconds: Family<MethodLabels, Histogram, fn() -> Histogram>,
    open: Gauge,
    answers: Family<EndLabels, Counter>,
    limits: Family<LimitLabels, Counter>,
    request_bytes: Histogram,
    answer_bytes: Histogram,
    config_reloads: Family<OutcomeLabels, Counter>,
    tls_reloads: Family<OutcomeLabels, Counter>,
    static_token_reloads: Family<OutcomeLabels, Counter>,
    key_fetches: Family<OutcomeLabels, Counter>,
    introspections: Family<OutcomeLabels, Counter>,
    upstream: Family<OutcomeLabels, Counter>,
    audit_lost: Counter,
    events_dropped: Counter,
    unapproved: Family<UnapprovedLabels, Counter>,
    generation: Gauge,
    rejected: Gauge,
    without_keys: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("cardea_proxy");
        let (requests, answers, audit_lost, events_dropped) = Default::default();
        // There from the start: what has never failed is 0, not unknown.
        let [config_reloads, tls_reloads, static_token_reloads, key_fetches, introspections, upstream] =
            std::array::from_fn(|_| {
                let family = Family::<OutcomeLabels, Counter>::default();
                for outcome in [Outcome::Ok, Outcome::Failed] {
                    drop(family.get_or_create(&OutcomeLabels { outcome }));
                }
                family
            });
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let this = Self {
            answer_seconds: Family::new_with_constructor(seconds),
            request_bytes: Histogram::new(BYTES),
            answer_bytes: Histogram::new(BYTES),
            open: Gauge::default(),
            generation: Gauge::default(),
            rejected: Gauge::default(),
            without_keys: Gauge::default(),
            limits: Family::default(),
            unapproved: Family::default(),
            registry: Registry::default(),
            requests,
            answers,
            config_reloads,
            tls_reloads,
            static_token_reloads,
            key_fetches,
            introspections,
            upstream,
            audit_lost,
            events_dropped,
        };
        registry.register("requests", "Requests by decision and class of method", this.requests.clone());
        registry.register(
            "answer_seconds",
            "Seconds until the answer to a permitted request began, by class of method",
            this.answer_seconds.clone(),
        );
        registry.register(
            "open_requests",
            "Permitted requests whose answer has not ended, streams included",
            this.open.clone(),
        );
        registry.register("answers", "Answers to permitted requests by how they ended", this.answers.clone());
        registry.register("request_bytes", "Bytes of the bodies of permitted requests", this.request_bytes.clone());
        registry.register("answer_bytes", "Bytes of the bodies of answers to them", this.answer_bytes.clone());
        for limit in Limit::ALL {
            drop(this.limits.get_or_create(&LimitLabels { limit }));
        }
        registry.register("limits_met", "What was refused or ended by a limit", this.limits.clone());
        registry.register("config_reloads", "Changed configuration files", this.config_reloads.clone());
        registry.register("tls_reloads", "Changed certificates or trust bundles", this.tls_reloads.clone());
        registry.register("static_token_reloads", "Changed files of static tokens", this.static_token_reloads.clone());
        registry.register("jwks_fetches", "Fetches of issuers' keys", this.key_fetches.clone());
        registry.register("introspections", "Questions to issuers about tokens", this.introspections.clone());
        registry.register(
            "upstream_requests",
            "Permitted requests by whether the server answered",
            this.upstream.clone(),
        );
        registry.register("audit_lines_lost", "Audit lines that could not be written", this.audit_lost.clone());
        registry.register(
            "events_dropped",
            "Events of a stream that were unfit to be shown",
            this.events_dropped.clone(),
        );
        for tool in [Unapproved::Called, Unapproved::Listed] {
            drop(this.unapproved.get_or_create(&UnapprovedLabels { tool }));
        }
        registry.register(
            "unapproved_tools",
            "Tools that were refused or hidden since they are not as they were approved",
            this.unapproved.clone(),
        );
        registry.register("config_generation", "Generation of the configuration in force", this.generation.clone());
        registry.register(
            "config_rejected",
            "1 while the newest configuration file is not in force",
            this.rejected.clone(),
        );
        registry.register("issuers_without_keys", "Issuers whose keys cannot be had", this.without_keys.clone());
        Self { registry, ..this }
    }

    pub(crate) fn request(&self, decision: DecisionLabel, method: MethodLabel) {
        self.requests.get_or_create(&RequestLabels { decision, method }).inc();
    }

    pub(crate) fn limit_met(&self, limit: Limit) {
        self.limits.get_or_create(&LimitLabels { limit }).inc();
    }

    pub(crate) fn config_reload(&self, outcome: Outcome) {
        self.config_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn tls_reload(&self, outcome: Outcome) {
        self.tls_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn static_token_reload(&self, outcome: Outcome) {
        self.static_token_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn introspection(&self, outcome: Outcome) {
        self.introspections.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn key_fetch(&self, outcome: Outcome) {
        self.key_fetches.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn upstream(&self, outcome: Outcome) {
        self.upstream.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn audit_line_lost(&self) {
        self.audit_lost.inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub(crate) fn unapproved(&self, tool: Unapproved) {
        self.unapproved.get_or_create(&UnapprovedLabels { tool }).inc();
    }

    /// The head of an answer is there.
    pub(crate) fn answered(&self, method: MethodLabel, after: Duration) {
        self.answer_seconds.get_or_create(&MethodLabels { method }).observe(after.as_secs_f64());
    }

    /// So many more are open.
    pub(crate) fn open_requests(&self, more: i64) {
        self.open.inc_by(more);
    }

    /// An answer has ended, after so many bytes either way.
    pub(crate) fn ended(&self, end: End, asked: u64, answered: u64) {
        let float = |bytes: u64| f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.answers.get_or_create(&EndLabels { end }).inc();
        self.request_bytes.observe(float(asked));
        self.answer_bytes.observe(float(answered));
    }

    /// Everything in the OpenMetrics text format.
    pub(crate) fn exposition(&self, config: &ConfigStore) -> Result<String, std::fmt::Error> {
        let current = config.current();
        let without_keys = current.issuers.iter().filter(|issuer| issuer.is_without_keys()).count();
        self.generation.set(current.config.generation);
        self.rejected.set(config.rejected().is_some().into());
        self.without_keys.set(i64::try_from(without_keys).unwrap_or(i64::MAX));
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }
}
