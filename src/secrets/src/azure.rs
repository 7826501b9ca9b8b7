//! Azure Key Vault, by its official client: a secret's value, of one version or of the newest. Asked as the application
//! that the pod's ServiceAccount is federated with ([`identity`]); nothing is taken from the environment.
//!
//! The client sends its requests through [`Https`](crate::https::Https) and tries nothing twice: whoever asks a store does that. What it parses
//! an answer into is its own and is not wiped, other than the answer and the value that leaves this module.

mod identity;
mod transport;

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{ResourceExt as _, SecretClient, SecretClientOptions};
use cardea_contract::secrets::{Location, TroubleKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use self::identity::OfVault;
use self::transport::Through;
use crate::alphabet::{check, host, refused};
use crate::answer::Question;
use crate::https::{NoAnswer, cause};
use crate::open::Means;
use crate::store::{Lease, Reading, Store, StoreError, Version};
use crate::value::{Value, Values};

/// One vault, asked as one application.
pub(crate) struct KeyVault {
    client: SecretClient,
    whom: String,
}

impl KeyVault {
    /// `authority_host` stands in place of the Entra ID of the public cloud.
    pub(crate) fn new(
        vault_url: &str,
        tenant_id: &str,
        client_id: &str,
        authority_host: Option<&str>,
        means: Means,
    ) -> Result<Self, StoreError> {
        let domain = host("vaultUrl", vault_url)?;
        check("tenantId", tenant_id, 253, "-.")?;
        check("clientId", client_id, 64, "-")?;
        if let Some(authority) = authority_host {
            host("authorityHost", authority)?;
        }
        let credential = OfVault::new(domain, tenant_id, client_id, authority_host, means.identity, &means.https)?;
        let options =
            SecretClientOptions { client_options: options(Through::vault(&means.https)), ..Default::default() };
        let client = SecretClient::new(vault_url, Arc::new(credential), Some(options))
            .map_err(|_| refused("vaultUrl", vault_url, "it is the URL of a vault, https://NAME.vault.azure.net"))?;
        Ok(Self { client, whom: format!("Azure Key Vault at {vault_url}") })
    }

    async fn value(&self, at: &Location) -> Result<Reading, StoreError> {
        let (name, version) = place(at)?;
        let what = match version {
            Some(version) => format!("secret {name} (version {version})"),
            None => format!("secret {name}"),
        };
        let question = Question { whom: &self.whom, what: &what, help };
        let options = SecretClientGetSecretOptions { secret_version: version.map(str::to_owned), ..Default::default() };
        let answer = self.client.get_secret(name, Some(options)).await.map_err(|error| failure(&question, &error))?;
        let secret = answer.into_model().map_err(|_| {
            question.unusable("with something that is not of its protocol: check that vaultUrl is that of a vault")
        })?;
        let version = secret.resource_id().ok().and_then(|id| id.version);
        let value = secret.value.ok_or_else(|| question.unusable("without a value"))?;
        Ok(Reading { values: Values::Text(Value::new(value.into_bytes())), version, lease: None })
    }
}

impl Store for KeyVault {
    /// None: only a read says which version is the newest. The list of versions is not in order, tells times in seconds,
    /// comes in pages, and needs a right of its own.
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        std::future::ready(place(at).map(|_| None)).boxed()
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.value(at).boxed()
    }

    fn renew<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        let none = StoreError::new(TroubleKind::Unusable, format!("{} hands out no leases", self.whom));
        std::future::ready(Err(none)).boxed()
    }
}

/// What every client of Azure is made with.
fn options(through: Through) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::new(through))),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// Name and version.
fn place(at: &Location) -> Result<(&str, Option<&str>), StoreError> {
    let Location::AzureKeyVault { secret, version } = at else {
        return Err(refused("the location", "that of another kind of store", "it must be one of azureKeyVault"));
    };
    check("secret", secret, 127, "-")?;
    if let Some(version) = version {
        check("version", version, 64, "")?;
    }
    Ok((secret, version.as_deref()))
}

fn failure(question: &Question<'_>, error: &azure_core::Error) -> StoreError {
    if let Some(known) = cause::<StoreError>(error) {
        return known.clone();
    }
    if let Some(no_answer) = cause::<NoAnswer>(error) {
        return question.unanswered(no_answer);
    }
    match error.kind() {
        ErrorKind::HttpResponse { status, raw_response, .. } => {
            let name = HeaderName::from_static(RETRY_AFTER.as_str());
            let stated = raw_response.as_ref().and_then(|answer| answer.headers().get_optional_str(&name));
            let stated = stated.and_then(|stated| HeaderValue::try_from(stated).ok());
            let headers: HeaderMap = stated.into_iter().map(|stated| (RETRY_AFTER, stated)).collect();
            let status = StatusCode::from_u16(u16::from(*status)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            question.refused(status, &headers)
        }
        // The client's own check of the challenge.
        _ => question.unusable("with a challenge that is not a vault's: check that vaultUrl is that of a vault"),
    }
}

fn help(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("check that the vault is of the tenant of tenantId"),
        StatusCode::FORBIDDEN => Some(
            "give the identity the role Key Vault Secrets User on the vault, and check that the secret is enabled and that the vault's firewall lets the cluster in",
        ),
        StatusCode::NOT_FOUND => Some("check its name and version, and that it is not deleted"),
        _ => None,
    }
}
