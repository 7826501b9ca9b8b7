//! Secret Manager's REST interface, where its official client has a place for it: two questions, asked through the way out
//! of every store. <https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions>

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cardea_contract::secrets::TroubleKind;
use google_cloud_gax::error::Error;
use google_cloud_gax::error::rpc::{Code, Status};
use google_cloud_gax::options::RequestOptions;
use google_cloud_gax::response::Response;
use google_cloud_secretmanager_v1::model::{
    AccessSecretVersionRequest, AccessSecretVersionResponse, GetSecretVersionRequest, SecretVersion,
};
use google_cloud_secretmanager_v1::stub::SecretManagerService;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, StatusCode};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::identity::Federation;
use crate::answer::Question;
use crate::https::{Https, NoAnswer};
use crate::store::StoreError;

pub(super) struct Service {
    base: String,
    whom: String,
    https: Arc<Https>,
    federation: Arc<Federation>,
}

impl Service {
    pub(super) fn new(base: String, whom: String, https: &Arc<Https>, federation: &Arc<Federation>) -> Self {
        Self { base, whom, https: https.clone(), federation: federation.clone() }
    }

    /// What is to be had under a name.
    async fn got<T: DeserializeOwned>(&self, name: &str, verb: &str) -> Result<Response<T>, StoreError> {
        let question = Question { whom: &self.whom, what: name, help };
        let token = self.federation.token().await?;
        let request = request(&format!("{}/v1/{name}{verb}", self.base), &token);
        let answer = self.https.answer(request.map_err(|error| question.unanswered(&error))?).await;
        if let Ok(no) = &answer
            && no.status().is_client_error()
        {
            if no.status() == StatusCode::UNAUTHORIZED {
                self.federation.forget(&token).await;
            }
            if precludes(no.body()) {
                let help = "it is disabled or destroyed: enable it, or add a version";
                return Err(question.means(TroubleKind::NotFound, no.status(), no.headers(), help));
            }
        }
        let body = question.json(answer)?;
        question.parsed(&body).map(Response::from)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Service")
    }
}

/// What fails is given up: who asks a store asks again.
impl SecretManagerService for Service {
    async fn get_secret_version(
        &self,
        asked: GetSecretVersionRequest,
        _: RequestOptions,
    ) -> Result<Response<SecretVersion>, Error> {
        self.got(&asked.name, "").await.map_err(Error::exhausted)
    }

    async fn access_secret_version(
        &self,
        asked: AccessSecretVersionRequest,
        _: RequestOptions,
    ) -> Result<Response<AccessSecretVersionResponse>, Error> {
        self.got(&asked.name, ":access").await.map_err(Error::exhausted)
    }
}

fn request(url: &str, token: &str) -> Result<Request<Bytes>, NoAnswer> {
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    let mut bearer = HeaderValue::try_from(bearer.as_str()).map_err(|_| NoAnswer::Request)?;
    bearer.set_sensitive(true);
    Request::get(url)
        .header(AUTHORIZATION, bearer)
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| NoAnswer::Request)
}

/// Whether the state of what is asked for precludes the answer.
fn precludes(body: &Bytes) -> bool {
    Status::try_from(body).is_ok_and(|status| status.code == Code::FailedPrecondition)
}

fn help(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("check provider and serviceAccount"),
        StatusCode::FORBIDDEN => Some(
            "give the identity the role roles/secretmanager.secretAccessor on it (and roles/secretmanager.viewer, so that a look need not read it), and check that the project has the API enabled",
        ),
        StatusCode::NOT_FOUND => Some("check project, secret and version"),
        _ => None,
    }
}
