//! The stores that a server's secrets are in: how each is reached, and with what of the pod's.

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{AwsStore, AzureStore, GcpStore, McpSecretStoreSpec, VaultStore};
use cardea_contract::secrets::{self as contract, StoreKind, VaultLogin};

use super::Rejection;
use crate::observe::{Authorities, SecretStores};

/// A store as the fetcher is told it, and with what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreAccess {
    /// What the fetcher is told.
    pub store: contract::Store,
    /// What proves to the store who is asking.
    pub token: StoreToken,
    /// ConfigMap with further authorities, and what they are (PEM).
    pub authorities: Option<(String, String)>,
}

/// What proves to a store who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreToken {
    /// A token of the pod's ServiceAccount for this audience.
    ServiceAccount(String),
    /// A key of a Secret.
    Secret {
        /// Name of the Secret.
        name: String,
        /// Its key.
        key: String,
    },
}

/// The store of this name.
///
/// # Errors
/// When there is none, or it makes no sense.
pub(super) fn access(known: &SecretStores, authorities: &Authorities, name: &str) -> Result<StoreAccess, Rejection> {
    let store = known.get(name).ok_or_else(|| missing(name))?;
    let spec = &store.spec;
    let (kind, token) = kind(spec).ok_or_else(|| {
        Rejection::invalid(format!(
            "the McpSecretStore {name:?}: spec needs exactly one of vault (with kubernetes or jwt), awsSecretsManager, gcpSecretManager, azureKeyVault and onePasswordConnect"
        ))
    })?;
    if spec.insecure_http != Some(true)
        && let Some(url) = urls(&kind).into_iter().find(|url| !url.starts_with("https://"))
    {
        return Err(Rejection::invalid(format!(
            "the McpSecretStore {name:?}: {url:?} does not begin with https://: write it so, or set insecureHttp: true where that is no harm"
        )));
    }
    let authorities = match &spec.ca_bundle_ref {
        None => None,
        Some(reference) => {
            let pem = authorities.get(&reference.name).cloned().flatten().ok_or_else(|| {
                let field = format!("McpSecretStore {name:?}: spec.caBundleRef");
                Rejection::missing_ca(condition::SECRETS_READY, &field, &reference.name)
            })?;
            Some((reference.name.clone(), pem))
        }
    };
    Ok(StoreAccess { store: contract::Store { kind, ca_bundle: authorities.is_some() }, token, authorities })
}

fn missing(name: &str) -> Rejection {
    Rejection {
        condition: condition::SECRETS_READY,
        reason: reasons::STORE_NOT_FOUND,
        message: format!(
            "spec.secrets names the McpSecretStore {name:?}, which does not exist in this namespace, or cannot be read: create it, or name another"
        ),
        stalled: false,
    }
}

/// Where a store is asked, as far as its settings say: none for what follows from a region.
pub fn urls(kind: &StoreKind) -> Vec<String> {
    let some = |url: &Option<String>, default: &str| url.clone().unwrap_or_else(|| default.to_owned());
    match kind {
        StoreKind::Vault { address, .. } => vec![address.clone()],
        StoreKind::AwsSecretsManager { region, endpoint, .. } => {
            vec![some(endpoint, &format!("https://secretsmanager.{region}.amazonaws.com"))]
        }
        StoreKind::GcpSecretManager { endpoint, .. } => vec![some(endpoint, "https://secretmanager.googleapis.com")],
        StoreKind::AzureKeyVault { vault_url, authority_host, .. } => {
            vec![vault_url.clone(), some(authority_host, "https://login.microsoftonline.com")]
        }
        StoreKind::OnePasswordConnect { url } => vec![url.clone()],
    }
}

/// The one that is set, if it is one.
fn kind(spec: &McpSecretStoreSpec) -> Option<(StoreKind, StoreToken)> {
    let McpSecretStoreSpec {
        vault,
        aws_secrets_manager,
        gcp_secret_manager,
        azure_key_vault,
        one_password_connect,
        ..
    } = spec;
    let set = [
        vault.as_ref().and_then(of_vault),
        aws_secrets_manager.as_ref().map(of_aws),
        gcp_secret_manager.as_ref().map(of_gcp),
        azure_key_vault.as_ref().map(of_azure),
        one_password_connect.as_ref().map(|store| {
            let token = StoreToken::Secret {
                name: store.token_secret_ref.name.clone(),
                key: store.token_secret_ref.key.clone(),
            };
            (StoreKind::OnePasswordConnect { url: store.url.clone() }, token)
        }),
    ];
    let mut set = set.into_iter().flatten();
    set.next().filter(|_| set.next().is_none())
}

fn service_account(audience: Option<&String>, default: &str) -> StoreToken {
    StoreToken::ServiceAccount(audience.cloned().unwrap_or_else(|| default.to_owned()))
}

fn of_vault(store: &VaultStore) -> Option<(StoreKind, StoreToken)> {
    let (login, asked, mount) = match (&store.kubernetes, &store.jwt) {
        (Some(asked), None) => (VaultLogin::Kubernetes, asked, "kubernetes"),
        (None, Some(asked)) => (VaultLogin::Jwt, asked, "jwt"),
        _ => return None,
    };
    let kind = StoreKind::Vault {
        address: store.address.clone(),
        namespace: store.namespace.clone(),
        login,
        login_mount: asked.mount.clone().unwrap_or_else(|| mount.to_owned()),
        role: asked.role.clone(),
    };
    Some((kind, service_account(asked.audience.as_ref(), "vault")))
}

fn of_aws(store: &AwsStore) -> (StoreKind, StoreToken) {
    let kind = StoreKind::AwsSecretsManager {
        region: store.region.clone(),
        role_arn: store.role_arn.clone(),
        endpoint: store.endpoint.clone(),
    };
    (kind, service_account(store.audience.as_ref(), "sts.amazonaws.com"))
}

fn of_gcp(store: &GcpStore) -> (StoreKind, StoreToken) {
    let provider = format!("//iam.googleapis.com/{}", store.workload_identity_provider);
    let token = service_account(store.audience.as_ref(), &provider);
    let kind = StoreKind::GcpSecretManager {
        project: store.project.clone(),
        provider,
        service_account: store.service_account.clone(),
        endpoint: store.endpoint.clone(),
    };
    (kind, token)
}

fn of_azure(store: &AzureStore) -> (StoreKind, StoreToken) {
    let kind = StoreKind::AzureKeyVault {
        vault_url: store.vault_url.clone(),
        tenant_id: store.tenant_id.clone(),
        client_id: store.client_id.clone(),
        authority_host: store.authority_host.clone(),
    };
    (kind, service_account(store.audience.as_ref(), "api://AzureADTokenExchange"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> Option<(StoreKind, StoreToken)> {
        kind(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn each_store_is_asked_with_the_audience_that_it_expects() {
        let provider = "projects/1/locations/global/workloadIdentityPools/p/providers/k";
        for (spec, audience) in [
            (json!({"vault": {"address": "https://v", "kubernetes": {"role": "r"}}}), "vault"),
            (json!({"awsSecretsManager": {"region": "eu-west-1", "roleArn": "a"}}), "sts.amazonaws.com"),
            (
                json!({"gcpSecretManager": {"project": "p", "workloadIdentityProvider": provider}}),
                "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
            ),
            (
                json!({"azureKeyVault": {"vaultUrl": "https://v", "tenantId": "t", "clientId": "c"}}),
                "api://AzureADTokenExchange",
            ),
        ] {
            let (member, mut settings) = spec.as_object().unwrap().clone().into_iter().next().unwrap();
            assert_eq!(of(spec).unwrap().1, StoreToken::ServiceAccount(audience.into()));
            let asked = if member == "vault" { &mut settings["kubernetes"] } else { &mut settings };
            asked["audience"] = json!("other");
            assert_eq!(of(json!({member: settings})).unwrap().1, StoreToken::ServiceAccount("other".into()));
        }
    }

    #[test]
    fn what_is_not_one_store_is_none() {
        let vault = json!({"address": "https://v", "jwt": {"role": "r"}});
        let both = json!({"address": "https://v", "jwt": {"role": "r"}, "kubernetes": {"role": "r"}});
        assert!(of(json!({"vault": vault})).is_some());
        assert_eq!(of(json!({"vault": both})), None);
        assert_eq!(of(json!({})), None);
        let aws = json!({"region": "eu-west-1", "roleArn": "a"});
        assert_eq!(of(json!({"vault": vault, "awsSecretsManager": aws})), None);
    }
}
