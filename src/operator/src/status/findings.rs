//! What is found of a server, a condition each, with the remedy where a person has to act.

use std::collections::BTreeSet;

use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_contract::Handshake;

use super::{introduction, reports, seconds, secrets};
use crate::apply::ApplyError;
use crate::material::Material;
use crate::observe::Observed;
use crate::validate::ValidatedServer;

/// What is found of a server whose objects stand.
pub(super) fn applied(
    observed: &Observed,
    server: &ValidatedServer,
    material: &Material,
    configuration: &str,
) -> Vec<Finding> {
    vec![
        accepted(),
        Finding::new(
            condition::CERTIFICATE_READY,
            Some(true),
            reasons::ISSUED,
            format!("valid until {}, renewed from {}", seconds(material.facts.not_after), seconds(material.due)),
        ),
        secrets::ready(observed, server),
        Finding::new(
            condition::NETWORK_ISOLATED,
            Some(true),
            reasons::ENFORCED_BY_POLICY,
            "a NetworkPolicy denies all that the manifest does not open; it holds where the cluster's network plugin enforces policies",
        ),
        policy_ready(observed, server, configuration),
        workload_available(observed),
        verified(observed),
        hardened(server),
    ]
}

pub(super) fn accepted() -> Finding {
    Finding::new(condition::ACCEPTED, Some(true), reasons::ACCEPTED, "the spec makes sense")
}

fn policy_ready(observed: &Observed, server: &ValidatedServer, configuration: &str) -> Finding {
    let finding = |status, reason, message: String| Finding::new(condition::POLICY_READY, status, reason, message);
    if let Some(problem) = reports(observed).find_map(|report| report.rejected_config.as_ref()) {
        return finding(Some(false), reasons::CONFIG_REJECTED, format!("a proxy keeps its former rules: {problem}"));
    }
    let lost: BTreeSet<&str> =
        reports(observed).flat_map(|report| &report.issuers_without_keys).map(String::as_str).collect();
    if !lost.is_empty() {
        let names = Vec::from_iter(lost).join(", ");
        return finding(
            Some(false),
            reasons::ISSUER_UNREACHABLE,
            format!(
                "{}.issuers: the keys of {names} cannot be fetched, so their tokens are refused: check url, jwksUrl and caRef",
                observed.auth_at()
            ),
        );
    }
    if let Some(problem) = reports(observed).find_map(|report| report.rejected_static_tokens.as_ref()) {
        return finding(
            Some(false),
            reasons::CONFIG_REJECTED,
            format!("{}.staticTokens: a proxy keeps its former static tokens: {problem}", observed.auth_at()),
        );
    }
    let mute: BTreeSet<&str> =
        reports(observed).flat_map(|report| &report.issuers_not_introspecting).map(String::as_str).collect();
    if !mute.is_empty() {
        let names = Vec::from_iter(mute).join(", ");
        return finding(
            Some(false),
            reasons::ISSUER_UNREACHABLE,
            format!(
                "{}.issuers: {names} cannot be asked about tokens, so they are refused: check introspection.url, clientId and clientSecretRef",
                observed.auth_at()
            ),
        );
    }
    let current = reports(observed).filter(|report| report.configuration == configuration).count();
    let rules = server.rules.len();
    match reports(observed).count() {
        all if all > 0 && all == current => {
            finding(Some(true), reasons::IN_FORCE, format!("{rules} rules, in force in every proxy that answers"))
        }
        _ => finding(Some(true), reasons::COMPILED, format!("{rules} rules, handed to the proxies")),
    }
}

fn workload_available(observed: &Observed) -> Finding {
    let finding =
        |status, reason, message: String| Finding::new(condition::WORKLOAD_AVAILABLE, status, reason, message);
    let Some(rollout) = &observed.workload.rollout else {
        return finding(Some(false), reasons::PROGRESSING, "the pods are being created".to_owned());
    };
    if rollout.wanted == 0 {
        return finding(
            Some(false),
            reasons::SCALED_TO_ZERO,
            "no pod is wanted: scale up to use the server".to_owned(),
        );
    }
    // While pods of the former template still serve, what is asked for now is not there yet.
    let complete = rollout.updated >= rollout.wanted && rollout.replicas <= rollout.updated;
    if rollout.observed && complete && rollout.available >= rollout.wanted {
        return finding(Some(true), reasons::AVAILABLE, format!("{} of {} pods", rollout.available, rollout.wanted));
    }
    if let Some(trouble) = troubles(observed).next() {
        return finding(Some(false), trouble.reason, trouble.message.clone());
    }
    if let Some(message) = &rollout.refused {
        return finding(Some(false), reasons::PODS_REFUSED, format!("pods cannot be created: {message}"));
    }
    finding(Some(false), reasons::PROGRESSING, format!("{} of {} pods", rollout.available, rollout.wanted))
}

fn verified(observed: &Observed) -> Finding {
    let finding = |status, reason, message: String| Finding::new(condition::VERIFIED, status, reason, message);
    if observed.answers.is_empty() {
        return finding(Some(false), reasons::PENDING, "no proxy runs yet".to_owned());
    }
    if let Some(info) = introduction(observed) {
        return finding(
            Some(true),
            reasons::HANDSHAKE_SUCCEEDED,
            format!("{} {} speaks MCP {} through the proxy", info.name, info.version, info.protocol_version),
        );
    }
    match reports(observed).map(|report| &report.handshake).next() {
        Some(Handshake::Failed(failure)) => finding(Some(false), reasons::HANDSHAKE_FAILED, failure.message.clone()),
        _ => finding(Some(false), reasons::PROXY_UNREACHABLE, "the proxy does not answer the operator".to_owned()),
    }
}

fn hardened(server: &ValidatedServer) -> Finding {
    if server.posture.is_empty() {
        Finding::new(condition::HARDENED, Some(true), reasons::CLOSED, "nothing is open that need not be")
    } else {
        Finding::new(
            condition::HARDENED,
            Some(false),
            reasons::OPENED,
            format!("the manifest opens: {}", server.posture.join(", ")),
        )
    }
}

/// What is found where an object could not be applied.
pub(super) fn failure(error: &ApplyError) -> Finding {
    match error {
        ApplyError::Foreign { .. } => {
            Finding::new(condition::ACCEPTED, Some(false), reasons::FOREIGN_OBJECT, error.to_string())
        }
        ApplyError::Leftover { .. } => {
            Finding::new(condition::WORKLOAD_AVAILABLE, Some(false), reasons::PROGRESSING, error.to_string())
        }
        ApplyError::Api { .. } => {
            Finding::new(condition::WORKLOAD_AVAILABLE, Some(false), reasons::APPLY_FAILED, error.to_string())
        }
    }
}

/// What keeps pods from running.
pub(super) fn troubles(observed: &Observed) -> impl Iterator<Item = &crate::pods::Trouble> {
    observed.workload.pods.values().filter_map(|pod| pod.trouble.as_ref())
}
