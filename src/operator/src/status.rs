//! Step 6: what became of the server. Pure: computed from what was applied and observed, compared with what stands there,
//! written by the caller only if it differs.

mod findings;
mod logins;
mod rules;
mod secrets;
mod summary;
mod tools;

use cardea_api::v1alpha1::conditions::{Finding, settle};
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{
    Address, Certificate, McpServerStatus, NetworkStatus, ServerInfo, Tool, ToolFlag, TransportType,
};
use cardea_contract as contract;
use cardea_contract::{Authentication, Handshake, ProxyReport, TokenKind};
use cardea_pki::PkiError;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::apply::ApplyError;
use crate::build::{Applied, Desired, selector, trust_config_map};
use crate::inquiry::Answer;
use crate::material::Material;
use crate::observe::Observed;
use crate::validate::{Rejection, ValidatedServer};

pub use rules::told;

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
            let mut found = findings::applied(observed, server, material, &applied.configuration);
            found.push(logins::login_ready(&status.issuers, &observed.auth_at()));
            let known = introduction(observed).map(|info| info.tools.as_slice());
            found.extend(tools::pinned(server.pinning.as_ref(), known));
            status.proxies = rules::proxies(observed, &applied.configuration);
            status.warnings = rules::own_warnings(observed);
            status.access_policies = server.policies.keys().cloned().collect();
            if was_not_asked_yet(observed) {
                // Only after a start: what was found before it says more than that nobody was asked.
                let asked_for = [condition::VERIFIED, condition::POLICY_READY];
                found.retain(|finding| {
                    let asked_for = asked_for.contains(&finding.kind)
                        || (finding.kind == condition::SECRETS_READY && finding.reason == reasons::PENDING);
                    !asked_for || former.conditions.iter().all(|condition| condition.type_ != finding.kind)
                });
            }
            found
        }
        Outcome::Failed(error @ ApplyError::Foreign { .. }) => vec![findings::failure(error)],
        Outcome::Failed(error) => vec![findings::accepted(), findings::failure(error)],
        Outcome::Unissued(error) => vec![
            findings::accepted(),
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
    let carried = summary::carried(&former.conditions, &found);
    summary::summarize(&mut found, &carried, outcome);
    status.conditions = summary::in_order(settle(&former.conditions, &found, generation, now), carried);
    status
}

fn describe(status: &mut McpServerStatus, observed: &Observed, server: &ValidatedServer, material: &Material) {
    let transport = match (&server.upstream.listens, server.upstream.transport) {
        (contract::Listens::Socket(_), _) => TransportType::Stdio,
        (contract::Listens::Port(_), contract::Transport::StreamableHttp) => TransportType::StreamableHttp,
        (contract::Listens::Port(_), contract::Transport::Sse) => TransportType::Sse,
    };
    status.transport = Some(transport.as_str().to_owned());
    status.issuers = logins::issuers(&server.authentication.issuers, reports(observed), &status.issuers);
    status.auth = Some(ways_in(&server.authentication));
    status.posture = server.posture.clone();
    status.network = Some(NetworkStatus { level: "NetworkPolicy".to_owned() });
    status.secrets = secrets::listed(observed, server, &status.secrets);
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
        status.tools = info.tools.iter().take(TOOLS_LISTED).map(tool).collect();
    }
}

fn tool(told: &contract::Tool) -> Tool {
    let flag = |flag: &contract::ToolFlag| match flag {
        contract::ToolFlag::InvisibleText => ToolFlag::InvisibleText,
        contract::ToolFlag::ControlCharacters => ToolFlag::ControlCharacters,
        contract::ToolFlag::NameTwice => ToolFlag::NameTwice,
    };
    Tool { name: told.name.clone(), digest: Some(told.digest.clone()), flags: told.flags.iter().map(flag).collect() }
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

fn was_not_asked_yet(observed: &Observed) -> bool {
    observed.answers.is_empty() && observed.workload.pods.values().any(|pod| pod.proxy_address.is_some())
}

/// A moment as Kubernetes writes it.
fn seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// What its proxies reported last.
pub fn reports(observed: &Observed) -> impl Iterator<Item = &ProxyReport> {
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
