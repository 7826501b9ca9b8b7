//! AWS Secrets Manager, by its official client: a secret's value under a staging label, and the id of the version that has
//! the label. Asked as a role that the pod's web identity assumes ([`identity`]); nothing is taken from the environment,
//! from `~/.aws` or from a machine's metadata.
//!
//! The client sends its requests through [`Https`](crate::https::Https) and tries nothing twice: whoever asks a store does that. What it parses
//! an answer into is its own and is not wiped, other than the answer and the value that leaves this module.

mod failure;
mod identity;
mod transport;

use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryConfig;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Config, IdentityCache, Region};
use cardea_contract::secrets::{Location, TroubleKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::StatusCode;

use self::failure::{failure, of_the_identity};
use self::identity::WebIdentity;
use self::transport::Transport;
use crate::alphabet::{check, host, refused};
use crate::answer::Question;
use crate::open::Means;
use crate::store::{Lease, Reading, Store, StoreError, Version};
use crate::value::{Value, Values};

/// The label of the version in force.
const CURRENT: &str = "AWSCURRENT";
/// How long before their end credentials are exchanged for others.
const BEFORE_THE_END: Duration = Duration::from_secs(60);
/// Until the identity must be exchanged. What it goes through is bounded more tightly, and says more of what was wrong.
const EXCHANGE: Duration = Duration::from_secs(30);

/// Secrets Manager of one region, asked as one role.
pub(crate) struct SecretsManager {
    client: Client,
    whom: String,
}

impl SecretsManager {
    /// `endpoint` stands in place of the region's own Secrets Manager and STS.
    pub(crate) fn new(region: &str, role_arn: &str, endpoint: Option<&str>, means: Means) -> Result<Self, StoreError> {
        // It becomes part of a host's name.
        check("region", region, 32, "-")?;
        check("roleArn", role_arn, 2048, ":/_+=,.@-")?;
        if let Some(endpoint) = endpoint {
            host("endpoint", endpoint)?;
        }
        let at = endpoint.map_or_else(|| format!("in {region}"), |endpoint| format!("at {endpoint}"));
        let transport = Transport::new(means.https);
        let mut sts = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .http_client(transport.clone())
            .retry_config(RetryConfig::disabled());
        sts.set_endpoint_url(endpoint.map(str::to_owned));
        let identity = WebIdentity::new(sts.build(), role_arn, means.identity, format!("AWS STS {at}"));
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .http_client(transport)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(identity)
            .identity_cache(IdentityCache::lazy().buffer_time(BEFORE_THE_END).load_timeout(EXCHANGE).build());
        config.set_endpoint_url(endpoint.map(str::to_owned));
        Ok(Self { client: Client::from_conf(config.build()), whom: format!("AWS Secrets Manager {at}") })
    }

    async fn label(&self, at: &Location) -> Result<Option<Version>, StoreError> {
        let (id, stage) = place(at)?;
        let what = format!("the versions of secret {id}");
        let described = self.client.describe_secret().secret_id(id).send().await;
        match described {
            Ok(described) => {
                let versions = described.version_ids_to_stages.unwrap_or_default();
                Ok(versions.into_iter().find(|(_, stages)| stages.iter().any(|label| label == stage)).map(|(id, _)| id))
            }
            Err(error) => match failure(&self.question(&what), &error, meaning) {
                // Who may read need not be allowed to describe. Then reading is the only way, and tells what is wrong.
                refused if refused.kind == TroubleKind::Refused && of_the_identity(&error).is_none() => Ok(None),
                failure => Err(failure),
            },
        }
    }

    async fn value(&self, at: &Location) -> Result<Reading, StoreError> {
        let (id, stage) = place(at)?;
        let what = format!("secret {id} ({stage})");
        let question = self.question(&what);
        let found = self.client.get_secret_value().secret_id(id).version_stage(stage).send().await;
        let found = found.map_err(|error| failure(&question, &error, meaning))?;
        let bytes = match (found.secret_string, found.secret_binary) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(binary)) => binary.into_inner(),
            (None, None) => return Err(question.unusable("without a value")),
        };
        Ok(Reading { values: Values::Text(Value::new(bytes)), version: found.version_id, lease: None })
    }

    fn question<'a>(&'a self, what: &'a str) -> Question<'a> {
        Question { whom: &self.whom, what, help }
    }
}

impl Store for SecretsManager {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        self.label(at).boxed()
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.value(at).boxed()
    }

    fn renew<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        let none = StoreError::new(TroubleKind::Unusable, format!("{} hands out no leases", self.whom));
        std::future::ready(Err(none)).boxed()
    }
}

/// Id and staging label.
fn place(at: &Location) -> Result<(&str, &str), StoreError> {
    let Location::AwsSecretsManager { secret_id, version_stage } = at else {
        return Err(refused("the location", "that of another kind of store", "it must be one of awsSecretsManager"));
    };
    check("secretId", secret_id, 2048, "/_+=.@-:")?;
    let stage = version_stage.as_deref().unwrap_or(CURRENT);
    check("versionStage", stage, 256, "/_+=.@-:")?;
    Ok((secret_id, stage))
}

/// What Secrets Manager's own words for a failure mean, and what helps.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html#API_GetSecretValue_Errors>
fn meaning(code: &str) -> Option<(TroubleKind, &'static str)> {
    Some(match code {
        "AccessDeniedException" => (
            TroubleKind::Refused,
            "allow the role secretsmanager:GetSecretValue on it (and secretsmanager:DescribeSecret), and kms:Decrypt on its key if that is not aws/secretsmanager",
        ),
        "DecryptionFailure" => (
            TroubleKind::Refused,
            "allow the role kms:Decrypt on the key that it is encrypted with, and check that the key is enabled",
        ),
        "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => (TroubleKind::Refused, "check the role, the region and the node's clock"),
        "ResourceNotFoundException" => {
            (TroubleKind::NotFound, "check its name, its label, the region and the account of the role")
        }
        "InvalidRequestException" => {
            (TroubleKind::NotFound, "check that it is not marked for deletion, and has a value")
        }
        "InvalidParameterException" | "ValidationException" => {
            (TroubleKind::NotFound, "check its name or ARN, and its label")
        }
        _ => return None,
    })
}

fn help(status: StatusCode) -> Option<&'static str> {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        .then_some("allow the role secretsmanager:GetSecretValue on it")
}
