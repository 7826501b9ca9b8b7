//! The pod's workload identity: its ServiceAccount's token is what its application asserts to Entra ID, for an access token
//! to one vault and to nothing else.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientMethodOptions, Url};
use azure_identity::{ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions};
use cardea_contract::secrets::TroubleKind;
use http::StatusCode;

use super::options;
use super::transport::Through;
use crate::alphabet::refused;
use crate::https::Https;
use crate::identity::Identity;
use crate::store::StoreError;

/// The Entra ID of the public cloud. Named here, or the client would look for another in the environment.
const PUBLIC: &str = "https://login.microsoftonline.com";

/// An application's credential, good for one vault.
pub(super) struct OfVault {
    application: Arc<ClientAssertionCredential<Assertion>>,
    host: String,
}

impl OfVault {
    pub(super) fn new(
        host: String,
        tenant_id: &str,
        client_id: &str,
        authority_host: Option<&str>,
        identity: Identity,
        https: &Arc<Https>,
    ) -> Result<Self, StoreError> {
        let authority = authority_host.unwrap_or(PUBLIC);
        let through = Through::entra(
            https,
            format!("Entra ID at {authority}"),
            format!("application {client_id} of tenant {tenant_id}"),
        );
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = authority.to_owned();
        let mut client_options = options(through);
        client_options.cloud = Some(Arc::new(CloudConfiguration::Custom(cloud)));
        let application = ClientAssertionCredential::new(
            tenant_id.to_owned(),
            client_id.to_owned(),
            Assertion(identity),
            Some(ClientAssertionCredentialOptions { client_options }),
        )
        .map_err(|_| refused("tenantId", tenant_id, "it is the id or a domain of a tenant"))?;
        Ok(Self { application, host })
    }
}

impl fmt::Debug for OfVault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OfVault")
    }
}

#[async_trait]
impl TokenCredential for OfVault {
    /// The vault itself says in its challenge what the token must be for. The client checks this and yet remembers what it
    /// refused, so that its next question would be asked with such a token: the check that counts is this one.
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if scopes.is_empty() || !scopes.iter().all(|scope| is_for(scope, &self.host)) {
            let host = &self.host;
            let error = StoreError::new(
                TroubleKind::Refused,
                format!(
                    "Azure Key Vault at {host} asks for a token that is not for a vault of its domain: check that vaultUrl is that of a vault"
                ),
            );
            return Err(Error::new(ErrorKind::Credential, error));
        }
        self.application.get_token(scopes, options).await
    }
}

/// Whether a token of this scope is for the vaults of the domain that this host is of.
fn is_for(scope: &str, host: &str) -> bool {
    let Ok(scope) = Url::parse(scope) else {
        return false;
    };
    scope.host_str().is_some_and(|domain| host.strip_suffix(domain).is_some_and(|vault| vault.ends_with('.')))
}

/// What the application asserts: the token as it is now.
struct Assertion(Identity);

impl fmt::Debug for Assertion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Assertion")
    }
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let token = self.0.token().await.map_err(|error| Error::new(ErrorKind::Credential, error))?;
        // The client wants one that is not wiped.
        Ok(token.as_str().to_owned())
    }
}

/// What helps where Entra ID gives no token.
pub(super) fn help(status: StatusCode) -> Option<&'static str> {
    [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND]
        .contains(&status)
        .then_some(
            "check tenantId and clientId, and that the application has a federated credential for the cluster's issuer, the pod's ServiceAccount and the audience of its token",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_for_the_domain_of_the_vault_alone() {
        let host = "name.vault.azure.net";
        assert!(is_for("https://vault.azure.net/.default", host));
        assert!(!is_for("https://graph.microsoft.com/.default", host));
        assert!(!is_for("https://ame.vault.azure.net/.default", host));
        assert!(!is_for("https://other.name.vault.azure.net/.default", host));
        assert!(!is_for("vault.azure.net/.default", host));
        assert!(!is_for("", host));
    }
}
