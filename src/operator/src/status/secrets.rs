//! What became of the secrets: those that the kubelet mounts, told by what exists, and those that are fetched from stores, told
//! by the reports of the pods. Never a value.

use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{Secret, SecretSource, SecretStatus};
use cardea_contract::secrets::{SecretReport, SecretTrouble, TroubleKind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{findings, reports};
use crate::build::brought_by;
use crate::observe::Observed;
use crate::secret_stores::since;
use crate::validate::{Fetched, ValidatedServer};

/// Whether the server has the secrets that it needs.
pub(super) fn ready(observed: &Observed, server: &ValidatedServer) -> Finding {
    if server.secrets.is_empty() && server.proxy_secrets.is_empty() {
        return finding(Some(true), reasons::NONE_DECLARED, "the spec names no secret");
    }
    if let Some(missing) = missing(observed, server) {
        return missing;
    }
    if let Some(trouble) = findings::troubles(observed).find(|trouble| trouble.reason == reasons::SECRET_NOT_FOUND) {
        return finding(Some(false), trouble.reason, trouble.message.clone());
    }
    match &server.fetched {
        Some(fetched) => delivered(observed, fetched),
        None => finding(Some(true), reasons::MOUNTED, "every Secret exists"),
    }
}

/// What is found if Secrets do not exist: those that a person makes come first.
fn missing(observed: &Observed, server: &ValidatedServer) -> Option<Finding> {
    let of_others = server.secrets.iter().filter(|secret| secret.from.external_secret.is_some());
    let brought: Vec<String> = of_others.map(|secret| brought_by(&server.name, secret)).collect();
    let (awaited, named): (Vec<&String>, Vec<&String>) =
        observed.missing_secrets.iter().partition(|name| brought.contains(name));
    let list = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !named.is_empty() {
        let message = format!(
            "spec.secrets, {}: no such Secret in this namespace: {}: create it",
            observed.auth_at(),
            list(named)
        );
        return Some(finding(Some(false), reasons::SECRET_NOT_FOUND, message));
    }
    (!awaited.is_empty()).then(|| {
        let message = format!(
            "spec.secrets: External Secrets Operator has not made {} yet: what keeps it stands in the status of the ExternalSecret of that name",
            list(awaited)
        );
        finding(Some(false), reasons::NOT_DELIVERED, message)
    })
}

fn finding(status: Option<bool>, reason: &'static str, message: impl Into<String>) -> Finding {
    Finding::new(condition::SECRETS_READY, status, reason, message)
}

/// Whether every pod has every secret that is fetched for it; the gravest of what stands against it.
fn delivered(observed: &Observed, fetched: &Fetched) -> Finding {
    let told: Vec<&SecretReport> = told(observed).collect();
    if told.is_empty() {
        return finding(None, reasons::PENDING, "no pod has told yet");
    }
    let troubled = |fits: fn(&SecretReport, &SecretTrouble) -> bool| {
        let troubles = told.iter().filter_map(|report| Some((*report, report.trouble.as_ref()?)));
        troubles.filter(|(report, trouble)| fits(report, trouble)).min_by_key(|(_, trouble)| trouble.since)
    };
    let says = |status, reason, (report, trouble): (&SecretReport, &SecretTrouble)| {
        finding(
            status,
            reason,
            format!("spec.secrets: {:?}: {} (since {})", report.name, trouble.message, since(trouble)),
        )
    };
    if let Some(found) = troubled(|_, trouble| trouble.kind == TroubleKind::Refused) {
        return says(Some(false), reasons::STORE_REFUSES, found);
    }
    if let Some(found) = troubled(|_, trouble| trouble.kind == TroubleKind::NotFound) {
        return says(Some(false), reasons::SECRET_NOT_IN_STORE, found);
    }
    if let Some(found) = troubled(|report, _| report.version.is_none()) {
        return says(Some(false), reasons::NOT_DELIVERED, found);
    }
    if let Some(found) = troubled(|_, trouble| trouble.stale) {
        return says(Some(false), reasons::SECRETS_STALE, found);
    }
    let awaited = fetched.config.secrets.iter().find(|secret| {
        let mut reports = told.iter().filter(|report| report.name == secret.name).peekable();
        reports.peek().is_none() || reports.any(|report| report.version.is_none())
    });
    if let Some(secret) = awaited {
        let message = format!("spec.secrets: {:?} is being fetched from {:?}", secret.name, secret.store);
        return finding(Some(false), reasons::NOT_DELIVERED, message);
    }
    match troubled(|_, _| true) {
        Some(found) => says(Some(true), reasons::STORE_UNAVAILABLE, found),
        None => finding(Some(true), reasons::ALL_DELIVERED, "every secret is delivered"),
    }
}

/// What pods tell of their secrets.
fn told(observed: &Observed) -> impl Iterator<Item = &SecretReport> {
    reports(observed).filter_map(|report| report.secrets.as_ref()).flat_map(|secrets| &secrets.secrets)
}

/// The secrets, as a status lists them.
pub(super) fn listed(observed: &Observed, server: &ValidatedServer, former: &[SecretStatus]) -> Vec<SecretStatus> {
    let listed = |secret: &Secret| {
        let before = former.iter().find(|before| before.name == secret.name);
        let reports = told(observed).filter(|report| report.name == secret.name && report.version.is_some());
        let newest = reports.max_by_key(|report| report.delivered_at);
        let (version, last_rotated) = match (newest, before) {
            // Another pod is given the same version later.
            (Some(newest), Some(before)) if before.version == newest.version => {
                (before.version.clone(), before.last_rotated.clone())
            }
            (Some(newest), _) => (newest.version.clone(), newest.delivered_at.and_then(moment)),
            // Nobody tells at present: what was told before stands.
            (None, before) => {
                before.map(|known| (known.version.clone(), known.last_rotated.clone())).unwrap_or_default()
            }
        };
        SecretStatus {
            name: secret.name.clone(),
            store: kind(&secret.from).to_owned(),
            store_ref: secret.store_ref.as_ref().map(|store| store.name.clone()),
            version: version.filter(|_| secret.store_ref.is_some()),
            last_rotated: last_rotated.filter(|_| secret.store_ref.is_some()),
        }
    };
    server.secrets.iter().map(listed).collect()
}

fn moment(second: i64) -> Option<Time> {
    Timestamp::from_second(second).ok().map(Time)
}

fn kind(from: &SecretSource) -> &'static str {
    let SecretSource {
        kubernetes_secret: _,
        vault,
        aws_secrets_manager,
        gcp_secret_manager,
        azure_key_vault,
        one_password_connect,
        external_secret,
        csi,
    } = from;
    [
        (vault.is_some(), "Vault"),
        (aws_secrets_manager.is_some(), "AwsSecretsManager"),
        (gcp_secret_manager.is_some(), "GcpSecretManager"),
        (azure_key_vault.is_some(), "AzureKeyVault"),
        (one_password_connect.is_some(), "OnePasswordConnect"),
        (external_secret.is_some(), "ExternalSecret"),
        (csi.is_some(), "Csi"),
    ]
    .into_iter()
    .find(|(set, _)| *set)
    .map_or("KubernetesSecret", |(_, kind)| kind)
}
