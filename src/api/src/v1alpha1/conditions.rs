//! Building conditions, and merging them with those already there.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// A condition without the moment it turned, which only the former list can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One of [`reasons::condition`](super::reasons::condition).
    pub kind: &'static str,
    /// True, False, or not known yet.
    pub status: Option<bool>,
    /// One of [`reasons`](super::reasons).
    pub reason: &'static str,
    /// A sentence for people. Never holds a secret.
    pub message: String,
}

impl Finding {
    /// A finding with all its parts.
    pub fn new(kind: &'static str, status: Option<bool>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }

    fn status_word(&self) -> &'static str {
        match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

/// The operator's conditions as they shall stand: `lastTransitionTime` moves only where the status does. Conditions of
/// others are left out; the list is keyed by type, so applying ours leaves theirs alone.
pub fn settle(former: &[Condition], found: &[Finding], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let settled = |finding: &Finding| {
        let status = finding.status_word();
        let turned = former
            .iter()
            .find(|condition| condition.type_ == finding.kind && condition.status == status)
            .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
        Condition {
            type_: finding.kind.to_owned(),
            status: status.to_owned(),
            reason: finding.reason.to_owned(),
            message: finding.message.clone(),
            observed_generation: generation,
            last_transition_time: turned,
        }
    };
    found.iter().map(settled).collect()
}
