//! The conditions in sum and in order.

use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::Outcome;
use crate::apply::ApplyError;

/// The summary: Ready when all of the others hold, Stalled when only somebody else can help, Reconciling in between.
pub(super) fn summarize(found: &mut Vec<Finding>, carried: &[Condition], outcome: &Outcome<'_>) {
    let needed = [
        condition::ACCEPTED,
        condition::CERTIFICATE_READY,
        condition::SECRETS_READY,
        condition::NETWORK_ISOLATED,
        condition::POLICY_READY,
        condition::WORKLOAD_AVAILABLE,
        condition::VERIFIED,
    ];
    let unfound = |kind| match carried.iter().find(|condition| condition.type_ == kind) {
        Some(condition) if condition.status == "True" => None,
        Some(condition) => {
            let reason =
                reasons::ALL.into_iter().find(|reason| *reason == condition.reason).unwrap_or(reasons::PENDING);
            Some((reason, condition.message.clone()))
        }
        None => Some((reasons::PENDING, format!("{kind} is not known yet"))),
    };
    // What was found missing now says more than what is not known.
    let lacking = needed
        .iter()
        .find_map(|kind| found.iter().find(|finding| finding.kind == *kind && finding.status != Some(true)))
        .map(|finding| (finding.reason, finding.message.clone()))
        .or_else(|| {
            needed.into_iter().filter(|kind| found.iter().all(|finding| finding.kind != *kind)).find_map(unfound)
        });
    let stalled = match outcome {
        Outcome::Rejected(rejection) => rejection.stalled,
        Outcome::Failed(error) => matches!(error, ApplyError::Foreign { .. }),
        Outcome::Suspended | Outcome::Unissued(_) | Outcome::Applied { .. } => false,
    };
    let ready = lacking.is_none();
    let (reason, message) = lacking.unwrap_or((reasons::READY, "the server can be used".to_owned()));
    let (reason, message) = match outcome {
        Outcome::Suspended => (reasons::SUSPENDED, "spec.suspend is set: everything is left as it is".to_owned()),
        _ => (reason, message),
    };
    found.push(Finding::new(condition::READY, Some(ready), reason, message.clone()));
    let busy = !ready && !stalled && !matches!(outcome, Outcome::Suspended);
    let state = |kind, on: bool| {
        if on {
            Finding::new(kind, Some(true), reason, message.clone())
        } else {
            Finding::new(kind, Some(false), reasons::SETTLED, "")
        }
    };
    found.push(state(condition::RECONCILING, busy));
    found.push(state(condition::STALLED, stalled));
}

/// Former conditions of ours about which nothing was found this time.
pub(super) fn carried(former: &[Condition], found: &[Finding]) -> Vec<Condition> {
    let summary = [condition::READY, condition::RECONCILING, condition::STALLED];
    former
        .iter()
        .filter(|condition| ORDER.contains(&condition.type_.as_str()) && !summary.contains(&condition.type_.as_str()))
        .filter(|condition| found.iter().all(|finding| finding.kind != condition.type_))
        .cloned()
        .collect()
}

const ORDER: [&str; 13] = [
    condition::READY,
    condition::ACCEPTED,
    condition::CERTIFICATE_READY,
    condition::SECRETS_READY,
    condition::NETWORK_ISOLATED,
    condition::POLICY_READY,
    condition::WORKLOAD_AVAILABLE,
    condition::VERIFIED,
    condition::LOGIN_READY,
    condition::TOOLS_PINNED,
    condition::HARDENED,
    condition::RECONCILING,
    condition::STALLED,
];

pub(super) fn in_order(settled: Vec<Condition>, carried: Vec<Condition>) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = settled.into_iter().chain(carried).collect();
    conditions.sort_by_key(|condition| ORDER.iter().position(|kind| *kind == condition.type_));
    conditions
}
