//! The secrets of a server: what the fetcher beside it is told, what the agent in its container gives it, and what follows a
//! rotation.

use std::collections::{BTreeMap, BTreeSet};

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{OnRotation, Secret, SecretKey, SecretSource, VaultEngine, Workload};
use cardea_contract::secrets::{self as contract, Destination, Location, SecretsConfig};
use cardea_contract::{GivenSecret, pod};

use super::stores::{self, StoreAccess};
use super::{Rejection, transport};
use crate::children::Kind;
use crate::observe::{Observed, SecretStores, kind_of};

const MAX_STALENESS_SECONDS: u32 = 24 * 60 * 60;

/// What is fetched for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What the fetcher is told.
    pub config: SecretsConfig,
    /// With what each store is asked, by its name.
    pub stores: BTreeMap<String, StoreAccess>,
    /// Secrets of which a new version needs new pods.
    pub rolls: BTreeSet<String>,
}

/// What comes of the secrets of a server.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// What is fetched; none if nothing is, or if stores are not looked after where it runs.
    pub(super) fetched: Option<Fetched>,
    /// What the agent in its container gives it.
    pub(super) given: Vec<GivenSecret>,
}

/// Checks the secrets of a server.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn secrets(observed: &Observed, workload: &Workload, stdio: bool) -> Result<Secrets, Rejection> {
    let all = &observed.server.spec.secrets;
    check_variables(all, workload)?;
    for secret in all {
        check_names(secret)?;
        check_kind(observed, secret)?;
    }
    let stored: Vec<(&Secret, &str)> =
        all.iter().filter_map(|secret| Some((secret, secret.store_ref.as_ref()?.name.as_str()))).collect();
    let given: Vec<GivenSecret> = stored.iter().map(|(secret, _)| given(secret, stdio)).collect();
    if let Some(secret) =
        given.iter().find(|secret| !stdio && workload.command.is_empty() && transport::needs_agent(secret))
    {
        return Err(Rejection::invalid(format!(
            "spec.workload.command is needed, since the server is started with the secret {:?} and its image's entrypoint is not known here: set it, or let the keys go to file and leave out onRotation: Signal, which needs no command",
            secret.name
        )));
    }
    let fetched = match &observed.secret_stores {
        Some(known) if !stored.is_empty() => Some(fetched(observed, known, &stored, stdio)?),
        _ => None,
    };
    Ok(Secrets { fetched, given })
}

fn fetched(
    observed: &Observed,
    known: &SecretStores,
    stored: &[(&Secret, &str)],
    stdio: bool,
) -> Result<Fetched, Rejection> {
    let mut stores = BTreeMap::new();
    for (_, store) in stored {
        if !stores.contains_key(*store) {
            stores.insert((*store).to_owned(), stores::access(known, &observed.authorities, store)?);
        }
    }
    let secrets = stored.iter().map(|(secret, store)| {
        let (at, refresh_seconds) = location(&secret.from)
            .filter(|(at, _)| stores.get(*store).is_some_and(|access| member_of(at) == access.store.kind.name()))
            .ok_or_else(|| {
                let kind = stores.get(*store).map_or("", |access| access.store.kind.name());
                Rejection::invalid(format!(
                    "spec.secrets: {:?} is not of the kind of the McpSecretStore {store:?}, which is {kind}: set from.{kind}, or name another store",
                    secret.name
                ))
            })?;
        let refresh_seconds = positive(secret.refresh_seconds).unwrap_or(refresh_seconds);
        let max_staleness_seconds = positive(secret.max_staleness_seconds).unwrap_or(MAX_STALENESS_SECONDS);
        if max_staleness_seconds < refresh_seconds {
            return Err(Rejection::invalid(format!(
                "spec.secrets: {:?}: maxStalenessSeconds ({max_staleness_seconds}) is below refreshSeconds ({refresh_seconds}): raise the one, or lower the other",
                secret.name
            )));
        }
        Ok(contract::Secret {
            name: secret.name.clone(),
            store: (*store).to_owned(),
            at,
            keys: secret.keys.iter().map(key).collect(),
            refresh_seconds,
            max_staleness_seconds,
        })
    });
    let config = SecretsConfig {
        secrets: secrets.collect::<Result<_, _>>()?,
        stores: stores.iter().map(|(name, access)| (name.clone(), access.store.clone())).collect(),
        same_user: observed.server.spec.workload.as_ref().is_some_and(|workload| workload.run_as_user.is_some()),
    };
    let bytes = serde_json::json!(config).to_string().len();
    if bytes > transport::LONGEST_CONFIG {
        return Err(Rejection::invalid(format!(
            "spec.secrets: {bytes} bytes, and a process can be told {}: name fewer keys",
            transport::LONGEST_CONFIG
        )));
    }
    // A stdio server is started anew where it is.
    let rolls = stored.iter().filter(|(secret, _)| !stdio && on_rotation(secret) == OnRotation::Restart);
    let rolls = rolls.map(|(secret, _)| secret.name.clone()).collect();
    Ok(Fetched { config, stores, rolls })
}

fn given(secret: &Secret, stdio: bool) -> GivenSecret {
    GivenSecret {
        name: secret.name.clone(),
        env: secret.keys.iter().filter_map(|key| key.env.clone()).collect(),
        on_rotation: match on_rotation(secret) {
            OnRotation::Restart if stdio => cardea_contract::OnRotation::Restart,
            OnRotation::Signal => cardea_contract::OnRotation::Signal,
            // A server that listens by itself would refuse calls meanwhile: it gets new pods.
            OnRotation::Restart | OnRotation::None => cardea_contract::OnRotation::None,
        },
    }
}

fn on_rotation(secret: &Secret) -> OnRotation {
    let in_environment = secret.keys.iter().any(|key| key.env.is_some());
    secret.on_rotation.unwrap_or(if in_environment { OnRotation::Restart } else { OnRotation::None })
}

/// Where a secret of a store is, and how often that is looked at.
fn location(from: &SecretSource) -> Option<(Location, u32)> {
    let SecretSource { vault, aws_secrets_manager, gcp_secret_manager, azure_key_vault, one_password_connect, .. } =
        from;
    let set = [
        vault.as_ref().map(|at| {
            let engine = match at.engine.unwrap_or_default() {
                VaultEngine::KvV2 => contract::VaultEngine::KvV2,
                VaultEngine::KvV1 => contract::VaultEngine::KvV1,
                VaultEngine::Dynamic => contract::VaultEngine::Dynamic,
            };
            let version = at.version.and_then(|version| u64::try_from(version).ok());
            (Location::Vault { engine, mount: at.mount.clone(), path: at.path.clone(), version }, 5)
        }),
        aws_secrets_manager.as_ref().map(|at| {
            let (secret_id, version_stage) = (at.secret_id.clone(), at.version_stage.clone());
            (Location::AwsSecretsManager { secret_id, version_stage }, 300)
        }),
        gcp_secret_manager
            .as_ref()
            .map(|at| (Location::GcpSecretManager { secret: at.secret.clone(), version: at.version.clone() }, 300)),
        azure_key_vault
            .as_ref()
            .map(|at| (Location::AzureKeyVault { secret: at.secret.clone(), version: at.version.clone() }, 300)),
        one_password_connect
            .as_ref()
            .map(|at| (Location::OnePasswordConnect { vault: at.vault.clone(), item: at.item.clone() }, 60)),
    ];
    set.into_iter().flatten().next()
}

/// As a manifest spells the member of the union.
fn member_of(at: &Location) -> &'static str {
    match at {
        Location::Vault { .. } => "vault",
        Location::AwsSecretsManager { .. } => "awsSecretsManager",
        Location::GcpSecretManager { .. } => "gcpSecretManager",
        Location::AzureKeyVault { .. } => "azureKeyVault",
        Location::OnePasswordConnect { .. } => "onePasswordConnect",
    }
}

fn key(asked: &SecretKey) -> contract::Key {
    let file = asked.file.clone().unwrap_or_default();
    let to = asked.env.clone().map_or(Destination::File(file), Destination::Env);
    contract::Key { key: asked.key.clone(), to }
}

/// The schema compares the keys of one entry; only here are entries compared with each other and with `workload.env`.
fn check_variables(secrets: &[Secret], workload: &Workload) -> Result<(), Rejection> {
    let mut taken: BTreeSet<&str> = workload.env.iter().map(|variable| variable.name.as_str()).collect();
    if !taken.insert(pod::SERVE_CONFIG) {
        return Err(Rejection::invalid(format!(
            "spec.workload.env: {} is how the agent is told what to start: give the variable another name",
            pod::SERVE_CONFIG
        )));
    }
    for variable in secrets.iter().flat_map(|secret| &secret.keys).filter_map(|key| key.env.as_deref()) {
        if !taken.insert(variable) {
            return Err(Rejection::invalid(format!(
                "spec.secrets: the environment variable {variable:?} is set twice: give each value a name of its own"
            )));
        }
    }
    Ok(())
}

/// Whether the cluster knows what brings it.
fn check_kind(observed: &Observed, secret: &Secret) -> Result<(), Rejection> {
    let Some(kind) = kind_of(secret).filter(|kind| observed.missing_kinds.contains(kind)) else { return Ok(()) };
    let (resource, maker) = (
        kind.resource(),
        match kind {
            Kind::ExternalSecret => "External Secrets Operator",
            _ => "the Secrets Store CSI driver with its provider",
        },
    );
    Err(Rejection {
        condition: condition::SECRETS_READY,
        reason: reasons::KIND_NOT_INSTALLED,
        message: format!(
            "spec.secrets: {:?} needs the kind {} of {}, which this cluster does not know: install {maker}, or take the secret from elsewhere",
            secret.name, resource.kind, resource.api_version
        ),
        stalled: false,
    })
}

/// In the Secret that comes of an ExternalSecret the names of files and of variables are keys.
fn check_names(secret: &Secret) -> Result<(), Rejection> {
    if secret.from.external_secret.is_none() {
        return Ok(());
    }
    let mut taken = BTreeSet::new();
    for name in secret.keys.iter().filter_map(|key| key.file.as_deref().or(key.env.as_deref())) {
        if !taken.insert(name) {
            return Err(Rejection::invalid(format!(
                "spec.secrets: {:?}: a file and an environment variable are both named {name:?}, and an ExternalSecret has one of them: give the file another name",
                secret.name
            )));
        }
    }
    Ok(())
}

/// The schema has refused what is not positive.
fn positive(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}
