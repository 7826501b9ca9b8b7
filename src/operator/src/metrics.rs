//! Metrics. Labels come from closed sets: kinds, verbs, reasons.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::children::Kind;

/// All metrics of the operator.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    writes: Family<Write, Counter>,
    reconciles: Family<Outcome, Counter>,
    duration: Histogram,
    transitions: Family<Transition, Counter>,
    leader: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: &'static str,
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    condition: &'static str,
    reason: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cardea_operator");
        let writes = Family::default();
        let reconciles = Family::default();
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let transitions = Family::default();
        let leader = Gauge::default();
        registry.register("writes", "Writes to the API server", writes.clone());
        registry.register("reconciles", "Reconciles by the reason of Ready", reconciles.clone());
        registry.register_with_unit("reconcile", "Time of a reconcile", Unit::Seconds, duration.clone());
        registry.register("condition_changes", "Conditions that turned, by their new reason", transitions.clone());
        registry.register("leader", "1 while this replica leads", leader.clone());
        Self { registry: Arc::new(registry), writes, reconciles, duration, transitions, leader }
    }
}

impl Metrics {
    /// Counts a write of a child.
    pub fn wrote(&self, kind: Kind, verb: &'static str) {
        self.writes.get_or_create(&Write { kind: kind.as_str(), verb }).inc();
    }

    /// Counts a write of a status.
    pub fn wrote_status(&self) {
        self.writes.get_or_create(&Write { kind: "McpServer", verb: "status" }).inc();
    }

    /// Counts a write of a policy.
    pub fn wrote_policy(&self, kind: &'static str, verb: &'static str) {
        self.writes.get_or_create(&Write { kind, verb }).inc();
    }

    /// Counts a pod that was told to look at its configuration.
    pub fn nudged(&self) {
        self.writes.get_or_create(&Write { kind: "Pod", verb: "nudge" }).inc();
    }

    /// Counts a reconcile by its outcome: a reason.
    pub fn reconciled(&self, reason: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { reason }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a condition that turned.
    pub fn turned(&self, condition: &'static str, reason: &'static str) {
        self.transitions.get_or_create(&Transition { condition, reason }).inc();
    }

    /// Says whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// OpenMetrics text.
    ///
    /// # Errors
    /// Never in practice: writing to a string.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
