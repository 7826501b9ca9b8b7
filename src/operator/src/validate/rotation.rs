//! The rotation of secrets that a server's pods shall be there for. A server that listens by itself gets new pods for a new
//! version, and each version rolls them once: only what pods of the current template report counts.

use cardea_contract::secrets::SecretReport;
use jiff::{SignedDuration, Timestamp};

use super::Fetched;
use crate::children::Kind;
use crate::inquiry::Answer;
use crate::observe::Observed;
use crate::pods::ROTATION_ANNOTATION;

/// As the annotation of the pods' template has it; none while nothing was rotated.
pub(super) fn rotation(observed: &Observed, fetched: &Fetched) -> Option<String> {
    let deployment = observed.children.get(&(Kind::Deployment, observed.name.clone()));
    let former = deployment
        .filter(|deployment| deployment.owner.as_deref() == Some(&observed.uid))
        .and_then(|deployment| deployment.annotations.get(ROTATION_ANNOTATION));
    let is_current = |pod: &String| observed.workload.pods.get(pod).is_some_and(|pod| pod.rotation.as_ref() == former);
    let reports = observed.answers.iter().filter_map(|(pod, answer)| match answer {
        Answer::Report(report) if is_current(pod) => report.secrets.as_ref(),
        Answer::Report(_) | Answer::Unreachable => None,
    });
    let rolls = |report: &&SecretReport| report.rotated && fetched.rolls.contains(&report.name);
    let newest =
        reports.flat_map(|report| &report.secrets).filter(rolls).filter_map(|report| report.delivered_at).max();
    let Some(newest) = newest.and_then(|second| Timestamp::from_second(second).ok()) else { return former.cloned() };
    // Clocks of nodes differ, and another rotation must not look like the former.
    let after =
        former.and_then(|former| former.parse::<Timestamp>().ok()?.checked_add(SignedDuration::from_secs(1)).ok());
    Some(after.map_or(newest, |after| newest.max(after)).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use cardea_api::v1alpha1::McpServer;
    use cardea_contract::SecretsConfig;
    use serde_json::json;

    use super::*;
    use crate::children::Child;
    use crate::pods::{PodState, Workload};

    /// A server with a Deployment that bears this annotation, and pods: the annotation of each, when its secret was delivered, and
    /// whether that was a rotation.
    fn observed(former: Option<&str>, pods: &[(Option<&str>, i64, bool)]) -> Observed {
        let annotations = former.map(|former| (ROTATION_ANNOTATION.to_owned(), former.to_owned()));
        let deployment = Child {
            uid: "d".into(),
            owner: Some("u".into()),
            resource_version: "1".into(),
            annotations: annotations.into_iter().collect(),
            fields: None,
        };
        let report = |delivered_at: i64, rotated: bool| {
            let secret = |name: &str| json!({"name": name, "store": "s", "version": "2", "deliveredAt": delivered_at, "rotated": rotated});
            let secrets = json!({"secrets": [secret("rolls"), secret("other")], "stores": []});
            let report = json!({
                "generation": 1, "trustBundle": "", "leaf": {"serial": "", "notAfter": 0},
                "handshake": {"failed": {"message": ""}}, "secrets": secrets,
            });
            Answer::Report(serde_json::from_value(report).unwrap())
        };
        let named = || pods.iter().enumerate().map(|(number, pod)| (format!("web-{number}"), pod));
        let state = |rotation: Option<&str>| PodState { rotation: rotation.map(str::to_owned), ..PodState::default() };
        Observed {
            server: Arc::new(McpServer::new("web", serde_json::from_value(json!({"source": {}})).unwrap())),
            namespace: "n".into(),
            name: "web".into(),
            uid: "u".into(),
            auth_policy: None,
            governing: Default::default(),
            secret_stores: None,
            children: [((Kind::Deployment, "web".to_owned()), deployment)].into(),
            workload: Workload { rollout: None, pods: named().map(|(name, pod)| (name, state(pod.0))).collect() },
            answers: named().map(|(name, pod)| (name, report(pod.1, pod.2))).collect(),
            authorities: BTreeMap::new(),
            may_use_secrets: true,
            missing_secrets: Default::default(),
            missing_kinds: Default::default(),
            cluster_issuer: None,
        }
    }

    fn of(former: Option<&str>, pods: &[(Option<&str>, i64, bool)], rolls: &str) -> Option<String> {
        let config = SecretsConfig { stores: BTreeMap::new(), secrets: vec![], same_user: false };
        let fetched = Fetched { config, stores: BTreeMap::new(), rolls: [rolls.to_owned()].into() };
        rotation(&observed(former, pods), &fetched)
    }

    const FIRST: &str = "1970-01-01T00:01:40Z";

    #[test]
    fn a_version_rolls_the_pods_once() {
        assert_eq!(of(None, &[(None, 100, false)], "rolls"), None);
        assert_eq!(of(None, &[(None, 100, true), (None, 90, false)], "rolls").as_deref(), Some(FIRST));
        assert_eq!(of(None, &[(None, 100, true)], "none"), None);
        // What the former pods tell on their way out, and what the new ones do at their start, is no further rotation.
        assert_eq!(of(Some(FIRST), &[(None, 105, true), (Some(FIRST), 103, false)], "rolls").as_deref(), Some(FIRST));
        assert_eq!(of(Some(FIRST), &[(Some(FIRST), 160, true)], "rolls").as_deref(), Some("1970-01-01T00:02:40Z"));
    }

    #[test]
    fn a_clock_that_is_behind_rolls_them_all_the_same() {
        assert_eq!(of(Some(FIRST), &[(Some(FIRST), 40, true)], "rolls").as_deref(), Some("1970-01-01T00:01:41Z"));
    }
}
