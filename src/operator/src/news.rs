//! Tells people what turned: an event and a count for each condition that did, with the condition's own reason.

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{McpServer, McpServerStatus};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::metrics::Metrics;

/// Letters of an event's note. The API server takes 1024 bytes, and ours are mostly ASCII.
const LONGEST_NOTE: usize = 1000;

/// Reports what differs between two statuses. Steps on the way are no news: only Ready, and whatever says why it is not.
pub async fn tell(
    recorder: &Recorder,
    metrics: &Metrics,
    server: &McpServer,
    before: &McpServerStatus,
    now: &McpServerStatus,
) {
    for condition in now.conditions.iter().filter(|condition| turned(before, condition)) {
        let Some((kind, reason)) = known(condition) else {
            continue;
        };
        metrics.turned(kind, reason);
        if !is_news(condition) {
            continue;
        }
        let event = Event {
            type_: if condition.status == "True" { EventType::Normal } else { EventType::Warning },
            reason: condition.reason.clone(),
            note: Some(condition.message.chars().take(LONGEST_NOTE).collect()),
            action: kind.to_owned(),
            secondary: None,
        };
        publish(recorder, &event, &server.object_ref(&())).await;
    }
}

/// Warns of one thing, outside of what turns in a server's status. `action` is a condition.
pub async fn warn(
    recorder: &Recorder,
    object: &ObjectReference,
    action: &'static str,
    reason: &'static str,
    message: &str,
) {
    let event = Event {
        type_: EventType::Warning,
        reason: reason.to_owned(),
        note: Some(message.chars().take(LONGEST_NOTE).collect()),
        action: action.to_owned(),
        secondary: None,
    };
    publish(recorder, &event, object).await;
}

async fn publish(recorder: &Recorder, event: &Event, object: &ObjectReference) {
    if let Err(error) = recorder.publish(event, object).await {
        tracing::warn!(error = %crate::watches::chain(&error), "cannot publish an event");
    }
}

fn turned(before: &McpServerStatus, condition: &Condition) -> bool {
    before.conditions.iter().find(|former| former.type_ == condition.type_).is_none_or(|former| {
        let said_otherwise = condition.type_ == condition::TOOLS_PINNED && former.message != condition.message;
        former.status != condition.status || former.reason != condition.reason || said_otherwise
    })
}

fn is_news(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        condition::READY => condition.status == "True",
        condition::RECONCILING | condition::STALLED | condition::HARDENED => false,
        _ => condition.status == "False" && !EXPECTED.contains(&condition.reason.as_str()),
    }
}

/// What every server goes through on its way.
const EXPECTED: [&str; 4] =
    [reasons::PENDING, reasons::PROGRESSING, reasons::PROXY_UNREACHABLE, reasons::SCALED_TO_ZERO];

/// Condition and reason as the constants they came from, so that metrics keep to a closed set.
pub(crate) fn known(condition: &Condition) -> Option<(&'static str, &'static str)> {
    let find = |set: &[&'static str], word: &str| set.iter().find(|known| **known == word).copied();
    Some((find(&condition::ALL, &condition.type_)?, find(&reasons::ALL, &condition.reason)?))
}
