//! An issuer's keys: inline, or fetched over https and kept. Fetches are few whatever tokens come: one flight at a time,
//! one at most per interval for keys that are not known, everything bounded in time and size. Keys that could not be
//! fetched again are believed for a bounded time, then no token of the issuer is (rows 53 and 60).
//!
//! Does not know what is in a token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cardea_contract::{Issuer, KeySource};
use reqwest::{Client, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::key_set::{KeySet, KeySetError};
use crate::metrics::{Metrics, Outcome};

/// Largest metadata document or key set.
const MAX_BYTES: usize = 256 << 10;
/// Until a fetch must be over.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often keys are fetched and how long they may be believed.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// Keys are fetched anew after this long.
    pub refresh: Duration,
    /// Between two fetches at least this long passes, whatever happens.
    pub interval: Duration,
    /// After the last success keys are believed this long.
    pub stale: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self { refresh: Duration::from_secs(300), interval: Duration::from_secs(10), stale: Duration::from_secs(3600) }
    }
}

/// What a fetch needs besides its issuer.
#[derive(Clone)]
pub(crate) struct Fetching {
    pub(crate) times: KeyTimes,
    pub(crate) metrics: Arc<Metrics>,
}

/// Why an issuer's keys cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The inline key set cannot be used.
    #[error("the inline keys cannot be used")]
    Inline(#[source] KeySetError),
    /// Keys and metadata are only fetched over https.
    #[error("its keys must be fetched from an https URL")]
    Url,
    /// The further authorities cannot be used.
    #[error("its caBundle is not a bundle of certificates")]
    CaBundle,
    /// The HTTPS client cannot be made.
    #[error("no HTTPS client")]
    Client,
}

/// What a search for keys found.
pub(crate) enum Found {
    /// A set that has the key.
    Keys(Arc<KeySet>),
    /// The issuer has no such key, as far as is known.
    NoSuchKey,
    /// The issuer's keys are not known, or were too long ago.
    Unavailable,
}

/// The keys of one issuer, wherever they come from.
pub(crate) enum IssuerKeys {
    Inline(Arc<KeySet>),
    Remote(Arc<Remote>),
}

impl IssuerKeys {
    pub(crate) fn new(issuer: &Issuer, fetching: &Fetching) -> Result<Self, KeySourceError> {
        let source = match &issuer.keys {
            KeySource::Inline { jwks } => {
                let set = KeySet::read(jwks.clone()).map_err(KeySourceError::Inline)?;
                if set.is_empty() {
                    return Err(KeySourceError::Inline(KeySetError::Empty));
                }
                return Ok(Self::Inline(Arc::new(set)));
            }
            KeySource::Url { jwks_url } => Source::Jwks(https(jwks_url).ok_or(KeySourceError::Url)?),
            KeySource::Discovery => Source::Metadata(metadata_urls(&issuer.url).ok_or(KeySourceError::Url)?),
        };
        let client = client(issuer.ca_bundle.as_deref())?;
        Ok(Self::Remote(Arc::new(Remote {
            name: issuer.name.clone(),
            issuer: issuer.url.clone(),
            source,
            client,
            fetching: fetching.clone(),
            state: Mutex::new(State::default()),
            flight: tokio::sync::Mutex::new(()),
        })))
    }

    /// Keeps fetched keys fresh from now on.
    pub(crate) fn start(&self) {
        let Self::Remote(remote) = self else { return };
        let mut state = remote.state();
        if state.refreshing.is_none() {
            let weak = Arc::downgrade(remote);
            let pause = remote.fetching.times;
            let task = tokio::spawn(async move {
                while let Some(remote) = weak.upgrade() {
                    let fresh = remote.fetch().await;
                    drop(remote);
                    tokio::time::sleep(if fresh { pause.refresh } else { pause.interval }).await;
                }
            });
            state.refreshing = Some(AbortOnDrop(task.abort_handle()));
        }
    }

    /// Whether the keys were asked for in vain, and none are believed any more.
    pub(crate) fn cannot_be_had(&self) -> bool {
        match self {
            Self::Inline(_) => false,
            Self::Remote(remote) => remote.known().is_none() && remote.state().failed,
        }
    }

    /// Finds the set with this key; fetches if it is not known and a fetch is due.
    pub(crate) async fn find(&self, kid: Option<&str>) -> Found {
        let remote = match self {
            Self::Inline(set) if set.has(kid) => return Found::Keys(set.clone()),
            Self::Inline(_) => return Found::NoSuchKey,
            Self::Remote(remote) => remote,
        };
        match remote.known() {
            Some(set) if set.has(kid) => return Found::Keys(set),
            _ => remote.fetch().await,
        };
        match remote.known() {
            Some(set) if set.has(kid) => Found::Keys(set),
            Some(_) => Found::NoSuchKey,
            None => Found::Unavailable,
        }
    }
}

/// Keys that are fetched.
pub(crate) struct Remote {
    name: String,
    issuer: String,
    source: Source,
    client: Client,
    fetching: Fetching,
    state: Mutex<State>,
    flight: tokio::sync::Mutex<()>,
}

enum Source {
    Jwks(Url),
    /// Where metadata may stand, in this order.
    Metadata([Url; 2]),
}

#[derive(Default)]
struct State {
    set: Arc<KeySet>,
    succeeded: Option<Instant>,
    attempted: Option<Instant>,
    failed: bool,
    refreshing: Option<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Remote {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The set, as long as it may be believed.
    fn known(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let age = state.succeeded?.elapsed();
        (age < self.fetching.times.stale).then(|| state.set.clone())
    }

    /// Fetches, unless the last attempt is too recent; whoever comes during a flight waits for its end. Whether the keys
    /// known now are fresh.
    async fn fetch(self: &Arc<Self>) -> bool {
        // In a task of its own: a caller that hangs up must not end the flight that others wait for, or it could keep
        // keys from ever being renewed.
        let this = self.clone();
        tokio::spawn(async move { this.fetch_if_due().await }).await.unwrap_or(false)
    }

    async fn fetch_if_due(&self) -> bool {
        let _flight = self.flight.lock().await;
        {
            let mut state = self.state();
            let times = self.fetching.times;
            if state.attempted.is_some_and(|attempted| attempted.elapsed() < times.interval) {
                return state.succeeded.is_some_and(|succeeded| succeeded.elapsed() < times.refresh);
            }
            state.attempted = Some(Instant::now());
        }
        let outcome = tokio::time::timeout(TIMEOUT, self.fetch_set()).await.unwrap_or(Err(FetchError::Late));
        match outcome {
            Ok(set) => {
                let mut state = self.state();
                state.set = Arc::new(set);
                state.succeeded = Some(Instant::now());
                state.failed = false;
                self.fetching.metrics.key_fetch(Outcome::Ok);
                true
            }
            Err(error) => {
                self.state().failed = true;
                self.fetching.metrics.key_fetch(Outcome::Failed);
                tracing::warn!(issuer = self.name, error = crate::config::reason(&error), "cannot fetch keys");
                false
            }
        }
    }

    async fn fetch_set(&self) -> Result<KeySet, FetchError> {
        let jwks = match &self.source {
            Source::Jwks(url) => url.clone(),
            Source::Metadata(places) => self.discover(places).await?,
        };
        let document = self.get(&jwks).await?;
        Ok(KeySet::read(serde_json::from_slice(&document).map_err(|_| KeySetError::Malformed)?)?)
    }

    async fn discover(&self, places: &[Url; 2]) -> Result<Url, FetchError> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let mut last = FetchError::Metadata;
        for place in places {
            let document = match self.get(place).await {
                Ok(document) => document,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let Ok(metadata) = serde_json::from_slice::<Metadata>(&document) else {
                last = FetchError::Metadata;
                continue;
            };
            // RFC 8414 section 3.3: or one authorization server could speak for another.
            if metadata.issuer != self.issuer {
                return Err(FetchError::OtherIssuer);
            }
            return https(&metadata.jwks_uri).ok_or(FetchError::JwksUrl);
        }
        Err(last)
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let mut response = self.client.get(url.clone()).send().await?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if document.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge);
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no answer in time")]
    Late,
    #[error("no answer")]
    Http(#[from] reqwest::Error),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("answered with more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("the issuer's metadata names no keys")]
    Metadata,
    #[error("the metadata is about another issuer")]
    OtherIssuer,
    #[error("the metadata names keys at no usable https URL")]
    JwksUrl,
    #[error("the keys cannot be used")]
    Keys(#[from] KeySetError),
}

/// An https URL whose host is not plainly the wrong side of the network. A name may still lead there, but then the server
/// would need a certificate for it.
fn https(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str()?.trim_matches(['[', ']']);
    let refused = host.parse::<std::net::IpAddr>().is_ok_and(|ip| match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        std::net::IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    });
    (url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && !refused).then_some(url)
}

/// OpenID Connect Discovery section 4.1, then RFC 8414 section 3.1.
fn metadata_urls(issuer: &str) -> Option<[Url; 2]> {
    let url = https(issuer).filter(|url| url.query().is_none() && url.fragment().is_none())?;
    let path = url.path().trim_end_matches('/').to_owned();
    let at = |path: String| {
        let mut url = url.clone();
        url.set_path(&path);
        url
    };
    Some([
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ])
}

fn client(ca_bundle: Option<&str>) -> Result<Client, KeySourceError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = ca_bundle {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.map_err(|_| KeySourceError::CaBundle)?).map_err(|_| KeySourceError::CaBundle)?;
            found = true;
        }
        if !found {
            return Err(KeySourceError::CaBundle);
        }
    }
    let tls = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| KeySourceError::Client)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(0)
        .user_agent(concat!("cardea-proxy/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| KeySourceError::Client)
}

#[cfg(test)]
mod tests;
