//! What is counted. Every label comes from a closed set, so nothing a caller sends can grow the exposition or leak by it.
//!
//! Does not know who reads it ([`crate::admin`]).

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What was decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum DecisionLabel {
    Allow,
    Deny,
    Unauthenticated,
    Malformed,
    Unavailable,
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

/// All counters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    config_reloads: Family<OutcomeLabels, Counter>,
    tls_reloads: Family<OutcomeLabels, Counter>,
    key_fetches: Family<OutcomeLabels, Counter>,
    upstream: Family<OutcomeLabels, Counter>,
    audit_lost: Counter,
    events_dropped: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("cardea_proxy");
        let (requests, audit_lost, events_dropped) = (Family::default(), Counter::default(), Counter::default());
        let [config_reloads, tls_reloads, key_fetches, upstream] = std::array::from_fn(|_| Family::default());
        registry.register("requests", "Requests by decision and class of method", requests.clone());
        registry.register("config_reloads", "Changed configuration files", config_reloads.clone());
        registry.register("tls_reloads", "Changed certificates or trust bundles", tls_reloads.clone());
        registry.register("jwks_fetches", "Fetches of issuers' keys", key_fetches.clone());
        registry.register("upstream_requests", "Permitted requests by whether the server answered", upstream.clone());
        registry.register("audit_lines_lost", "Audit lines that could not be written", audit_lost.clone());
        registry.register("events_dropped", "Events of a stream that were unfit to be shown", events_dropped.clone());
        Self { registry, requests, config_reloads, tls_reloads, key_fetches, upstream, audit_lost, events_dropped }
    }

    pub(crate) fn request(&self, decision: DecisionLabel, method: MethodLabel) {
        self.requests.get_or_create(&RequestLabels { decision, method }).inc();
    }

    pub(crate) fn config_reload(&self, outcome: Outcome) {
        self.config_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn tls_reload(&self, outcome: Outcome) {
        self.tls_reloads.get_or_create(&OutcomeLabels { outcome }).inc();
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

    /// Everything in the OpenMetrics text format.
    pub(crate) fn exposition(&self) -> Result<String, std::fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }
}
