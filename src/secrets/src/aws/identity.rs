//! The pod's web identity: its ServiceAccount's token, exchanged at STS for the credentials of a role. The client of
//! Secrets Manager asks for them when it has none or theirs are about to end.

use std::fmt;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_sts::Client;
use cardea_contract::secrets::TroubleKind;
use http::StatusCode;

use super::failure::failure;
use crate::answer::Question;
use crate::identity::Identity;
use crate::store::StoreError;

/// Name of the sessions, for the trail of the account. The trail names the ServiceAccount beside it.
const SESSION: &str = "cardea";

/// Exchanges a token for the credentials of one role.
pub(super) struct WebIdentity {
    sts: Client,
    role_arn: String,
    identity: Identity,
    whom: String,
}

impl WebIdentity {
    pub(super) fn new(sts: aws_sdk_sts::Config, role_arn: &str, identity: Identity, whom: String) -> Self {
        Self { sts: Client::from_conf(sts), role_arn: role_arn.to_owned(), identity, whom }
    }

    async fn assumed(&self) -> Result<Credentials, StoreError> {
        let what = format!("role {}", self.role_arn);
        let question = Question { whom: &self.whom, what: &what, help };
        let token = self.identity.token().await?;
        let answer = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&self.role_arn)
            .role_session_name(SESSION)
            .web_identity_token(token.as_str())
            .send()
            .await
            .map_err(|error| failure(&question, &error, meaning))?;
        let given = answer.credentials.ok_or_else(|| question.unusable("without credentials"))?;
        let until = SystemTime::try_from(given.expiration)
            .map_err(|_| question.unusable("with credentials whose end is no time"))?;
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(until),
            SESSION,
        ))
    }
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebIdentity")
    }
}

impl ProvideCredentials for WebIdentity {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.assumed().await.map_err(CredentialsError::provider_error) })
    }
}

/// What the own words of STS for a failure mean, and what helps.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html#API_AssumeRoleWithWebIdentity_Errors>
fn meaning(code: &str) -> Option<(TroubleKind, &'static str)> {
    Some(match code {
        "AccessDenied" | "AccessDeniedException" => (
            TroubleKind::Refused,
            "check that the role exists, and that its trust policy allows sts:AssumeRoleWithWebIdentity to the pod's ServiceAccount and the audience of its token",
        ),
        "InvalidIdentityToken" | "IDPRejectedClaim" => (
            TroubleKind::Refused,
            "check that the account has an identity provider for the cluster's issuer, and that the audience of the token is one of its client ids",
        ),
        "ExpiredTokenException" => {
            (TroubleKind::Refused, "check the node's clock, and that the token's volume is mounted")
        }
        "RegionDisabledException" => (TroubleKind::Refused, "activate STS in this region, or choose another"),
        "IDPCommunicationError" => {
            (TroubleKind::Unavailable, "check that AWS can reach the issuer of the cluster's tokens")
        }
        "ValidationError" | "ValidationException" => (TroubleKind::Refused, "check roleArn"),
        _ => return None,
    })
}

fn help(status: StatusCode) -> Option<&'static str> {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN).then_some("check the trust policy of the role")
}
