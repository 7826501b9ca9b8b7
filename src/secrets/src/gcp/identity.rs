//! The pod's identity in Google Cloud: its ServiceAccount's token, exchanged at STS for an access token of its workload
//! identity pool (RFC 8693), and that one, if a service account is to be impersonated, for a token of the account.
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>,
//! <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::answer::Question;
use crate::https::{Https, NoAnswer};
use crate::identity::Identity;
use crate::store::StoreError;

/// What a token may be used for that reads secrets. The rights of the identity say what it really may.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The same for a token that is only exchanged for another.
const IMPERSONATE: &str = "https://www.googleapis.com/auth/iam";
/// How long the token of a service account is asked to last.
const LASTS: Duration = Duration::from_secs(3600);

/// Exchanges the pod's token, and holds what it got until shortly before its end.
pub(super) struct Federation {
    provider: String,
    sts: String,
    impersonation: Option<Impersonation>,
    https: Arc<Https>,
    identity: Identity,
    held: Mutex<Option<Held>>,
}

struct Impersonation {
    account: String,
    base: String,
}

struct Held {
    token: Zeroizing<String>,
    until: Instant,
}

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    /// Seconds.
    expires_in: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
}

impl Federation {
    /// `at` gives the base URL of a service.
    pub(super) fn new(
        provider: &str,
        service_account: Option<&str>,
        at: impl Fn(&str) -> String,
        https: &Arc<Https>,
        identity: Identity,
    ) -> Self {
        let impersonation =
            service_account.map(|account| Impersonation { account: account.to_owned(), base: at("iamcredentials") });
        let (provider, sts, https) = (provider.to_owned(), at("sts"), https.clone());
        Self { provider, sts, impersonation, https, identity, held: Mutex::default() }
    }

    /// A token that holds now. Of those who ask at once, one exchanges.
    pub(super) async fn token(&self) -> Result<Zeroizing<String>, StoreError> {
        let mut held = self.held.lock().await;
        if let Some(held) = held.as_ref().filter(|held| Instant::now() < held.until) {
            return Ok(held.token.clone());
        }
        let began = Instant::now();
        let (token, lasts) = match &self.impersonation {
            None => self.exchanged(SCOPE).await?,
            Some(impersonation) => {
                let (token, _) = self.exchanged(IMPERSONATE).await?;
                (self.generated(impersonation, &token).await?, LASTS)
            }
        };
        *held = Some(Held { token: token.clone(), until: began + lasts / 10 * 9 });
        Ok(token)
    }

    /// That this token is not taken any more, whatever its end.
    pub(super) async fn forget(&self, token: &str) {
        self.held.lock().await.take_if(|held| held.token.as_str() == token);
    }

    async fn exchanged(&self, scope: &str) -> Result<(Zeroizing<String>, Duration), StoreError> {
        let whom = format!("Google STS at {}", self.sts);
        let what = format!("the identity for {}", self.provider);
        let question = Question { whom: &whom, what: &what, help: help_exchange };
        let token = self.identity.token().await?;
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("audience", &self.provider)
            .append_pair("scope", scope)
            .append_pair("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            .append_pair("subject_token", &token)
            .finish();
        let request = Request::post(format!("{}/v1/token", self.sts))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(wiped(form));
        let body = question.granted(self.answer(request).await)?;
        let given: Exchanged = question.parsed(&body)?;
        Ok((Zeroizing::new(given.access_token), Duration::from_secs(given.expires_in.into())))
    }

    async fn generated(&self, from: &Impersonation, token: &str) -> Result<Zeroizing<String>, StoreError> {
        let whom = format!("Google IAM Credentials at {}", from.base);
        let what = format!("the service account {}", from.account);
        let question = Question { whom: &whom, what: &what, help: help_impersonation };
        let bearer = Zeroizing::new(format!("Bearer {token}"));
        let bearer = HeaderValue::try_from(bearer.as_str()).map_err(|_| question.unanswered(&NoAnswer::Request))?;
        let asked = serde_json::json!({ "scope": [SCOPE], "lifetime": format!("{}s", LASTS.as_secs()) });
        let url = format!("{}/v1/projects/-/serviceAccounts/{}:generateAccessToken", from.base, from.account);
        let request = Request::post(url)
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(asked.to_string().into());
        let body = question.granted(self.answer(request).await)?;
        let given: Generated = question.parsed(&body)?;
        Ok(Zeroizing::new(given.access_token))
    }

    async fn answer(&self, request: http::Result<Request<Bytes>>) -> Result<http::Response<Bytes>, NoAnswer> {
        self.https.answer(request.map_err(|_| NoAnswer::Request)?).await
    }
}

/// A body that is wiped when it is dropped.
fn wiped(text: String) -> Bytes {
    Bytes::from_owner(Zeroizing::new(text.into_bytes()))
}

fn help_exchange(_: StatusCode) -> Option<&'static str> {
    Some(
        "check that provider names a provider of the pool, and that it trusts the cluster's issuer, the audience of the pod's token and, by its condition, the pod's ServiceAccount",
    )
}

fn help_impersonation(_: StatusCode) -> Option<&'static str> {
    Some("give the pod's federated identity the role roles/iam.workloadIdentityUser on the account, and check its name")
}
