//! How the proxy asks an authorization server anything: over https, without redirects, bounded in time and size, at
//! addresses that one may have. An address is judged when a name is resolved for the very connection, so a name that
//! leads elsewhere the next time gains nothing (row 60).
//!
//! Does not know what is asked for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Url};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::OnceCell;

use super::addresses::Reach;

/// Until an answer must be there, to its last byte.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer.
const MAX_BYTES: usize = 256 << 10;
/// How long, and how many, connections are kept for the next question.
const IDLE: Duration = Duration::from_secs(30);
const MAX_IDLE: usize = 8;

/// Why an authorization server cannot be asked as configured.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The further authorities cannot be used.
    #[error("its caBundle is not a bundle of certificates")]
    CaBundle,
    /// The HTTPS client cannot be made.
    #[error("no HTTPS client")]
    Client,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no answer")]
    Http(#[from] reqwest::Error),
    #[error("answered with status {0}")]
    Status(u16),
    #[error("answered with more than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Asks one authorization server.
#[derive(Clone)]
pub(super) struct Https {
    client: Client,
    reach: Reach,
}

impl Https {
    /// `ca_bundle` holds further authorities (PEM) beside the public ones.
    pub(super) fn new(ca_bundle: Option<&str>, reach: Reach, names: Arc<SystemNames>) -> Result<Self, HttpsError> {
        Self::resolving(ca_bundle, reach, names)
    }

    fn resolving(
        ca_bundle: Option<&str>,
        reach: Reach,
        names: Arc<impl Resolve + 'static>,
    ) -> Result<Self, HttpsError> {
        let tls = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| HttpsError::Client)?
            .with_root_certificates(roots(ca_bundle)?)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Judged { names, reach }))
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .user_agent(concat!("cardea-proxy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| HttpsError::Client)?;
        Ok(Self { client, reach })
    }

    /// A URL that may be asked.
    pub(super) fn url(&self, text: &str) -> Option<Url> {
        self.reach.url(text)
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Vec<u8>, NoAnswer> {
        whole(self.client.get(url.clone())).await
    }

    /// Posts a form.
    pub(super) async fn post(&self, url: &Url, authorization: HeaderValue, form: String) -> Result<Vec<u8>, NoAnswer> {
        let request = self
            .client
            .post(url.clone())
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        whole(request).await
    }
}

async fn whole(request: RequestBuilder) -> Result<Vec<u8>, NoAnswer> {
    let mut response = request.header(ACCEPT, "application/json").send().await?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(NoAnswer::Status(response.status().as_u16()));
    }
    let mut document = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if document.len() + chunk.len() > MAX_BYTES {
            return Err(NoAnswer::TooLarge);
        }
        document.extend_from_slice(&chunk);
    }
    Ok(document)
}

fn roots(ca_bundle: Option<&str>) -> Result<rustls::RootCertStore, HttpsError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(pem) = ca_bundle else {
        return Ok(roots);
    };
    let public = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(|_| HttpsError::CaBundle)?).map_err(|_| HttpsError::CaBundle)?;
    }
    if roots.len() == public { Err(HttpsError::CaBundle) } else { Ok(roots) }
}

/// Names as the pod's resolver knows them, without libc, which the image has not.
#[derive(Default)]
pub(crate) struct SystemNames(Arc<OnceCell<TokioResolver>>);

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let made = async || {
                let mut builder = TokioResolver::builder_tokio()?;
                builder.options_mut().ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
                builder.build()
            };
            let found = resolver.get_or_try_init(made).await?.lookup_ip(name.as_str()).await?;
            let addresses: Vec<_> = found.iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Names that lead out of reach lead nowhere.
struct Judged<N> {
    names: Arc<N>,
    reach: Reach,
}

#[derive(Debug, thiserror::Error)]
#[error("the name leads to {0}, where no authorization server may be")]
struct OutOfReach(IpAddr);

impl<N: Resolve> Resolve for Judged<N> {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, reach) = (self.names.resolve(name), self.reach);
        Box::pin(async move {
            let addresses: Vec<_> = found.await?.collect();
            match addresses.iter().find(|address| !reach.permits(address.ip())) {
                Some(address) => Err(Box::new(OutOfReach(address.ip())) as _),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Answers one after the other, as a server of names that changes its mind.
    struct Flipping(Mutex<VecDeque<Vec<SocketAddr>>>);

    impl Resolve for Flipping {
        fn resolve(&self, _: Name) -> Resolving {
            let next = self.0.lock().unwrap().pop_front().unwrap_or_default();
            Box::pin(std::future::ready(Ok(Box::new(next.into_iter()) as Addrs)))
        }
    }

    #[tokio::test]
    async fn e15_a_name_that_flips_leads_nowhere() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        for spelling in ["127.0.0.1", "::ffff:127.0.0.1"] {
            let there = SocketAddr::new(spelling.parse().unwrap(), here.port());
            let good = SocketAddr::new("192.0.2.1".parse().unwrap(), here.port());
            // Alone, and hidden among good ones.
            let names = Arc::new(Flipping(Mutex::new([vec![there], vec![good, there]].into())));
            let https = Https::resolving(None, Reach::of(["https://idp.test"]), names).unwrap();
            let url = https.url(&format!("https://idp.test:{}/jwks", here.port())).unwrap();
            for _ in 0..2 {
                let error = https.get(&url).await.unwrap_err();
                assert!(crate::config::reason(&error).contains("no authorization server may be"), "{error:?}");
            }
        }
        let nobody = futures_now(listener.accept());
        assert!(nobody.is_none(), "somebody connected");
    }

    /// The outcome, if there is one at once.
    fn futures_now<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(outcome) => Some(outcome),
            std::task::Poll::Pending => None,
        }
    }
}
