//! Step 6: what became of the server. Pure: computed from what was applied and observed, compared with what stands there,
//! written by the caller only if it differs.

mod logins;

use std::collections::BTreeSet;

use cardea_api::v1alpha1::conditions::{Finding, settle};
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{
    Address, Certificate, McpServerStatus, NetworkStatus, SecretStatus, ServerInfo, Tool, TransportType,
};
use cardea_contract as contract;
use cardea_contract::{Authentication, Handshake, ProxyReport, TokenKind};
use cardea_pki::PkiError;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::apply::ApplyError;
use crate::build::{Applied, Desired, selector, trust_config_map};
use crate::inquiry::Answer;
use crate::material::Material;
use crate::observe::Observed;
use crate::validate::{Rejection, ValidatedServer};

/// How a reconcile ended.
pub enum Outcome<'a> {
    /// Everything stands.
    Applied {
        /// What was asked for.
        server: &'a ValidatedServer,
        /// Its certificates.
        material: &'a Material,
        /// What stands.
        applied: &'a Desired<Applied>,
    },
    /// No certificate could be issued.
    Unissued(&'a PkiError),
    /// An object could not be applied.
    Failed(&'a ApplyError),
    /// The server is left as it is.
    Rejected(&'a Rejection),
    /// The user wants it left as it is.
    Suspended,
}

/// Tools listed by name in the status.
const TOOLS_LISTED: usize = 100;

/// The status of a server.
pub fn status(observed: &Observed, former: &McpServerStatus, outcome: &Outcome<'_>, now: Timestamp) -> McpServerStatus {
    let generation = observed.server.metadata.generation;
    let mut status = former.clone();
    status.observed_generation = generation;
    let mut found = match outcome {
        Outcome::Applied { server, material, applied } => {
            describe(&mut status, observed, server, material);
            let mut found = applied_findings(observed, server, material, &applied.configuration);
            found.push(logins::login_ready(&status.issuers, &observed.auth_at()));
            if was_not_asked_yet(observed) {
                // Only after a start: what was found before it says more than that nobody was asked.
                found.retain(|finding| {
                    ![condition::VERIFIED, condition::POLICY_READY].contains(&finding.kind)
                        || former.conditions.iter().all(|condition| condition.type_ != finding.kind)
                });
            }
            found
        }
        Outcome::Failed(error @ ApplyError::Foreign { .. }) => vec![failure(error)],
        Outcome::Failed(error) => vec![accepted(), failure(error)],
        Outcome::Unissued(error) => vec![
            accepted(),
            Finding::new(
                condition::CERTIFICATE_READY,
                Some(false),
                reasons::ISSUE_FAILED,
                format!("no certificate can be issued: {}", crate::watches::chain(error)),
            ),
        ],
        Outcome::Rejected(rejection) => {
            vec![Finding::new(rejection.condition, Some(false), rejection.reason, rejection.message.clone())]
        }
        Outcome::Suspended => vec![],
    };
    // What could not be looked at stands as it was found last.
    let carried = carried(&former.conditions, &found);
    summarize(&mut found, &carried, outcome);
    status.conditions = in_order(settle(&former.conditions, &found, generation, now), carried);
    status
}

fn describe(status: &mut McpServerStatus, observed: &Observed, server: &ValidatedServer, material: &Material) {
    let transport = match server.upstream.transport {
        contract::Transport::StreamableHttp => TransportType::StreamableHttp,
        contract::Transport::Sse => TransportType::Sse,
    };
    status.transport = Some(transport.as_str().to_owned());
    status.issuers = logins::issuers(&server.authentication.issuers, reports(observed), &status.issuers);
    status.auth = Some(ways_in(&server.authentication));
    status.posture = server.posture.clone();
    status.network = Some(NetworkStatus { level: "NetworkPolicy".to_owned() });
    status.secrets = server
        .secrets
        .iter()
        .map(|secret| SecretStatus { name: secret.name.clone(), store: "KubernetesSecret".to_owned() })
        .collect();
    status.certificate =
        Some(Certificate { not_after: Time(seconds(material.facts.not_after)), serial: material.facts.serial.clone() });
    let pairs: Vec<String> = selector(&server.name).iter().map(|(name, value)| format!("{name}={value}")).collect();
    status.selector = Some(pairs.join(","));
    status.replicas = Some(observed.workload.rollout.as_ref().map_or(0, |rollout| rollout.replicas));
    if let Some(info) = introduction(observed) {
        status.address = Some(Address { url: server.resource.clone(), ca_bundle: trust_config_map(&server.name) });
        status.server_info = Some(ServerInfo {
            name: info.name.clone(),
            version: info.version.clone(),
            protocol_version: info.protocol_version.clone(),
        });
        status.tool_count = i32::try_from(info.tools.len()).ok();
        status.tools = info.tools.iter().take(TOOLS_LISTED).map(|name| Tool { name: name.clone() }).collect();
    }
}

fn ways_in(authentication: &Authentication) -> String {
    let mut ways: Vec<&str> = Vec::new();
    if authentication.issuers.iter().any(|issuer| matches!(issuer.kind, TokenKind::Oidc { .. })) {
        ways.push("OIDC");
    }
    if authentication.issuers.iter().any(|issuer| issuer.kind == TokenKind::KubernetesServiceAccount) {
        ways.push("ServiceAccount");
    }
    if authentication.static_tokens {
        ways.push("StaticToken");
    }
    if authentication.client_certificates {
        ways.push("Certificate");
    }
    if authentication.insecure_anonymous {
        ways.push("Anonymous");
    }
    if ways.is_empty() { "None".to_owned() } else { ways.join(",") }
}

fn applied_findings(
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
        secrets_ready(observed, server),
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

fn accepted() -> Finding {
    Finding::new(condition::ACCEPTED, Some(true), reasons::ACCEPTED, "the spec makes sense")
}

fn secrets_ready(observed: &Observed, server: &ValidatedServer) -> Finding {
    let finding = |status, reason, message: String| Finding::new(condition::SECRETS_READY, status, reason, message);
    if server.secrets.is_empty() && server.proxy_secrets.is_empty() {
        return finding(Some(true), reasons::NONE_DECLARED, "the spec names no secret".to_owned());
    }
    if !observed.missing_secrets.is_empty() {
        let names: Vec<&str> = observed.missing_secrets.iter().map(String::as_str).collect();
        return finding(
            Some(false),
            reasons::SECRET_NOT_FOUND,
            format!(
                "spec.secrets, {}: no such Secret in this namespace: {}: create it",
                observed.auth_at(),
                names.join(", ")
            ),
        );
    }
    match troubles(observed).find(|trouble| trouble.reason == reasons::SECRET_NOT_FOUND) {
        Some(trouble) => finding(Some(false), trouble.reason, trouble.message.clone()),
        None => finding(Some(true), reasons::MOUNTED, "every Secret exists".to_owned()),
    }
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

fn failure(error: &ApplyError) -> Finding {
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

/// The summary: Ready when all of the others hold, Stalled when only somebody else can help, Reconciling in between.
fn summarize(found: &mut Vec<Finding>, carried: &[Condition], outcome: &Outcome<'_>) {
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
fn carried(former: &[Condition], found: &[Finding]) -> Vec<Condition> {
    let summary = [condition::READY, condition::RECONCILING, condition::STALLED];
    former
        .iter()
        .filter(|condition| ORDER.contains(&condition.type_.as_str()) && !summary.contains(&condition.type_.as_str()))
        .filter(|condition| found.iter().all(|finding| finding.kind != condition.type_))
        .cloned()
        .collect()
}

const ORDER: [&str; 12] = [
    condition::READY,
    condition::ACCEPTED,
    condition::CERTIFICATE_READY,
    condition::SECRETS_READY,
    condition::NETWORK_ISOLATED,
    condition::POLICY_READY,
    condition::WORKLOAD_AVAILABLE,
    condition::VERIFIED,
    condition::LOGIN_READY,
    condition::HARDENED,
    condition::RECONCILING,
    condition::STALLED,
];

fn in_order(settled: Vec<Condition>, carried: Vec<Condition>) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = settled.into_iter().chain(carried).collect();
    conditions.sort_by_key(|condition| ORDER.iter().position(|kind| *kind == condition.type_));
    conditions
}

fn was_not_asked_yet(observed: &Observed) -> bool {
    observed.answers.is_empty() && observed.workload.pods.values().any(|pod| pod.proxy_address.is_some())
}

/// A moment as Kubernetes writes it.
fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

fn reports(observed: &Observed) -> impl Iterator<Item = &ProxyReport> {
    observed.answers.values().filter_map(|answer| match answer {
        Answer::Report(report) => Some(&**report),
        Answer::Unreachable => None,
    })
}

/// How the server introduced itself, to whichever proxy it did.
fn introduction(observed: &Observed) -> Option<&cardea_contract::ServerInfo> {
    reports(observed).find_map(|report| match &report.handshake {
        Handshake::Succeeded(info) => Some(info),
        Handshake::Failed(_) => None,
    })
}

fn troubles(observed: &Observed) -> impl Iterator<Item = &crate::pods::Trouble> {
    observed.workload.pods.values().filter_map(|pod| pod.trouble.as_ref())
}
