//! What the proxies say of rules: which versions they decide by, and what does not fit the tools that they found.

use std::collections::BTreeSet;

use cardea_api::v1alpha1::{ProxyStatus, RuleWarning};
use cardea_contract as contract;

use super::reports;
use crate::access_policies::Told;
use crate::inquiry::Answer;
use crate::observe::Observed;
use crate::validate::ValidatedServer;

/// Proxies and warnings listed in a status.
const LISTED: usize = 100;

/// What the policies of a server are told of it. Of one that is left as it is, only what its proxies say.
pub fn told(observed: &Observed, server: Option<&ValidatedServer>) -> Told {
    let generation = |policy: &String| {
        let each = observed.answers.values().map(|answer| match answer {
            Answer::Report(report) => report.policies.get(policy).copied(),
            Answer::Unreachable => None,
        });
        each.min().flatten()
    };
    let mut warnings = server.map(|server| server.policy_warnings.clone()).unwrap_or_default();
    for (policy, warning) in doubts(observed) {
        if let Some(of_policy) = policy.and_then(|policy| warnings.get_mut(policy)) {
            let mut warning = warning;
            warning.server = Some(observed.name.clone());
            of_policy.push(warning);
        }
    }
    Told {
        generations: observed
            .governing
            .policies
            .iter()
            .map(|version| (version.policy.clone(), generation(&version.policy)))
            .collect(),
        warnings,
        has_proxies: observed.workload.pods.values().any(|pod| pod.proxy_address.is_some()),
    }
}

/// What of the server's own rules does not fit.
pub(super) fn own_warnings(observed: &Observed) -> Vec<RuleWarning> {
    let own = doubts(observed).into_iter().filter(|(policy, _)| policy.is_none());
    own.map(|(_, warning)| warning).take(LISTED).collect()
}

/// The proxies, by pod.
pub(super) fn proxies(observed: &Observed, configuration: &str) -> Vec<ProxyStatus> {
    let each = observed.answers.iter().map(|(pod, answer)| match answer {
        Answer::Report(report) => ProxyStatus {
            pod: pod.clone(),
            generation: Some(report.generation),
            current: report.configuration == configuration,
        },
        Answer::Unreachable => ProxyStatus { pod: pod.clone(), generation: None, current: false },
    });
    each.take(LISTED).collect()
}

/// What proxies warn of, once each, with the policy that the rule is of.
fn doubts(observed: &Observed) -> BTreeSet<(Option<&str>, RuleWarning)> {
    let all = reports(observed).flat_map(|report| &report.rule_warnings);
    all.map(|contract::RuleWarning { rule, message }| {
        let (policy, rule) = policy_and_rule(rule);
        (policy, RuleWarning { server: None, rule: Some(rule.to_owned()), message: message.clone() })
    })
    .collect()
}

/// The policy that a rule is of, if it is of one, and what the rule is called there.
fn policy_and_rule(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        // A scope may have a slash, behind the colon that no name of a policy has.
        Some((policy, rule)) if !policy.contains(':') => (Some(policy), rule),
        _ => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_with_slashes_makes_no_policy() {
        for (name, expected) in [
            ("read", (None, "read")),
            ("staff/read", (Some("staff"), "read")),
            ("staff/read:https://graph.example/Files.Read", (Some("staff"), "read:https://graph.example/Files.Read")),
            ("read:https://graph.example/Files.Read", (None, "read:https://graph.example/Files.Read")),
        ] {
            assert_eq!(policy_and_rule(name), expected);
        }
    }
}
