//! Google Cloud Secret Manager, by its official client: the value of a secret's version, by default the latest. Asked as the
//! identity that the pod's ServiceAccount is federated to ([`identity`]); nothing is taken from the environment or from a
//! machine's metadata.
//!
//! The client's own way out takes its authorities from the system, which the image has none of, follows redirects and reads
//! without end. So the client is given another in the place that it has for that ([`service`]); its library for credentials
//! has no such place and is not used. What the client parses an answer into is its own and is not wiped, other than the
//! answer and the value that leaves this module.

mod identity;
mod service;

use std::sync::Arc;

use cardea_contract::secrets::{Location, TroubleKind};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use google_cloud_secretmanager_v1::client::SecretManagerService;
use google_cloud_secretmanager_v1::model::secret_version::State;

use self::identity::Federation;
use self::service::Service;
use crate::alphabet::{check, host, refused};
use crate::https::cause;
use crate::open::Means;
use crate::store::{Lease, Reading, Store, StoreError, Version};
use crate::value::{Value, Values};

const LATEST: &str = "latest";
/// What the audience of a provider begins with.
const AUDIENCE: &str = "//iam.googleapis.com/";

/// Secret Manager of one project, asked as one identity.
pub(crate) struct SecretManager {
    client: SecretManagerService,
    federation: Arc<Federation>,
    project: String,
    whom: String,
}

impl SecretManager {
    /// `endpoint` stands in place of Google's own Secret Manager, STS and IAM Credentials.
    pub(crate) fn new(
        project: &str,
        provider: &str,
        service_account: Option<&str>,
        endpoint: Option<&str>,
        means: Means,
    ) -> Result<Self, StoreError> {
        check("project", project, 64, "-:.")?;
        if project.starts_with('.') {
            return Err(refused("project", project, "it is the id or the number of a project"));
        }
        check("provider", provider, 512, "/.-_")?;
        if !provider.starts_with(AUDIENCE) {
            return Err(refused("provider", provider, &format!("it begins with {AUDIENCE}")));
        }
        if let Some(email) = service_account {
            check("serviceAccount", email, 254, "-.@")?;
        }
        if let Some(endpoint) = endpoint {
            host("endpoint", endpoint)?;
        }
        let at = |service: &str| match endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{service}.googleapis.com"),
        };
        let federation = Arc::new(Federation::new(provider, service_account, at, &means.https, means.identity));
        let base = at("secretmanager");
        let whom = format!("Google Cloud Secret Manager at {base}");
        let service = Service::new(base, whom.clone(), &means.https, &federation);
        let client = SecretManagerService::from_stub(service);
        Ok(Self { client, federation, project: project.to_owned(), whom })
    }

    async fn number(&self, at: &Location) -> Result<Option<Version>, StoreError> {
        let name = self.place(at)?;
        // So that what is refused from here on is the question and not the identity.
        self.federation.token().await?;
        let found = match self.client.get_secret_version().set_name(&name).send().await {
            Ok(found) => found,
            Err(error) => match self.failure(&error) {
                // Who may read need not be allowed to look. Then reading is the only way, and tells what is wrong.
                failure if failure.kind == TroubleKind::Refused => return Ok(None),
                failure => return Err(failure),
            },
        };
        if found.state != State::Enabled {
            let message = format!(
                "{} does not give {name}, which is disabled or destroyed: enable it, or add a version",
                self.whom
            );
            return Err(StoreError::new(TroubleKind::NotFound, message));
        }
        Ok(version(&found.name))
    }

    async fn value(&self, at: &Location) -> Result<Reading, StoreError> {
        let name = self.place(at)?;
        let found = self.client.access_secret_version().set_name(&name).send().await;
        let found = found.map_err(|error| self.failure(&error))?;
        let unusable = |how: &str| {
            StoreError::new(TroubleKind::Unusable, format!("{} has answered {how} (asked for {name})", self.whom))
        };
        let payload = found.payload.ok_or_else(|| unusable("without a value"))?;
        if payload.data_crc32c.is_some_and(|sum| sum != i64::from(crc32c::crc32c(&payload.data))) {
            return Err(StoreError {
                kind: TroubleKind::Unavailable,
                ..unusable("with a value that was damaged on its way (its CRC32C does not match)")
            });
        }
        let value = Value::new(payload.data.into());
        Ok(Reading { values: Values::Text(value), version: version(&found.name), lease: None })
    }

    /// The full name of a version.
    fn place(&self, at: &Location) -> Result<String, StoreError> {
        let Location::GcpSecretManager { secret, version } = at else {
            return Err(refused("the location", "that of another kind of store", "it must be one of gcpSecretManager"));
        };
        check("secret", secret, 255, "-_")?;
        let version = version.as_deref().unwrap_or(LATEST);
        check("version", version, 63, "-_")?;
        Ok(format!("projects/{}/secrets/{secret}/versions/{version}", self.project))
    }

    fn failure(&self, error: &google_cloud_gax::error::Error) -> StoreError {
        let unknown = || StoreError::new(TroubleKind::Unusable, format!("{} cannot be asked like this", self.whom));
        cause::<StoreError>(error).cloned().unwrap_or_else(unknown)
    }
}

impl Store for SecretManager {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        self.number(at).boxed()
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.value(at).boxed()
    }

    fn renew<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        let none = StoreError::new(TroubleKind::Unusable, format!("{} hands out no leases", self.whom));
        std::future::ready(Err(none)).boxed()
    }
}

/// The number in the full name of a version.
fn version(name: &str) -> Option<Version> {
    name.rsplit('/').next().filter(|number| number.parse::<u64>().is_ok()).map(str::to_owned)
}
