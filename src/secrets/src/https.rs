//! How a store is asked over HTTP: no redirects, no proxies out of the environment, bounded in time, in size and in how
//! many questions are under way at once. The official clients of the clouds go this way out too.
//!
//! Does not know what is asked for, nor what a status means ([`crate::answer`]).

mod names;
mod trust;

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::names::{Names, Unresolved};
pub(crate) use self::trust::NoTrust;

/// Until a connection must stand, its name resolved and its certificate checked.
const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer must be there, to its last byte.
pub(crate) const WHOLE: Duration = Duration::from_secs(10);
/// Largest answer. No secret of any store is as large.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Questions at once, and connections that are kept for the next.
const AT_ONCE: usize = 16;
/// How long such a connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// The request itself is none.
    #[error("cannot be asked like this")]
    Request,
    /// Its name leads nowhere.
    #[error("has a name that cannot be resolved: check its address and the cluster's DNS")]
    Name,
    /// Nobody takes the connection.
    #[error("cannot be reached{0}: check its address, and that network policies let the pod reach it")]
    Connect(Because),
    /// It is not who it should be.
    #[error(
        "shows a certificate that is not trusted{0}: give the authority that issued it as caBundle, and check the name in its address"
    )]
    Certificate(Because),
    /// What answers speaks no TLS, or none that could be agreed upon.
    #[error("cannot be spoken to over TLS{0}: check the port, and whether its address should begin with http://")]
    Tls(Because),
    /// Too slow.
    #[error("has not answered within {} s", WHOLE.as_secs())]
    Late,
    /// Too much.
    #[error("has answered with more than {} MiB: check that its address is that of the store", MAX_BYTES >> 20)]
    TooLarge,
    /// The connection ended before the answer.
    #[error("has broken off its answer{0}")]
    Broken(Because),
}

/// What this side knows of a cause, in brackets, if it is known. Never a word of the other side's.
#[derive(Debug, Default)]
pub(crate) struct Because(Option<String>);

impl std::fmt::Display for Because {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_deref().map_or(Ok(()), |cause| write!(formatter, " ({cause})"))
    }
}

/// The way out to one store: one pool of connections for everything that is asked of it.
pub(crate) struct Https {
    client: Client,
    under_way: Semaphore,
}

impl Https {
    /// `authorities` are further ones (PEM) beside the public ones.
    pub(crate) fn new(authorities: Option<&[u8]>) -> Result<Self, NoTrust> {
        let client = Client::builder()
            .tls_backend_preconfigured(trust::tls(authorities)?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(Names::default()))
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(AT_ONCE)
            .user_agent(concat!("cardea-agent/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| NoTrust::Client)?;
        Ok(Self { client, under_way: Semaphore::new(AT_ONCE) })
    }

    /// Asks for JSON, with JSON if there is a body.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let json = HeaderValue::from_static("application/json");
        let is_empty = body.is_empty();
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| NoAnswer::Request)?;
        *request.headers_mut() = headers;
        if !is_empty {
            request.headers_mut().insert(CONTENT_TYPE, json.clone());
        }
        request.headers_mut().insert(ACCEPT, json);
        self.answer(request).await
    }

    /// The answer, whatever its status, with a body that is wiped when it is dropped.
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Result<Response<Bytes>, NoAnswer> {
        let request = reqwest::Request::try_from(request).map_err(|_| NoAnswer::Request)?;
        // Never closed.
        let _place = self.under_way.acquire().await.map_err(|_| NoAnswer::Request)?;
        let mut response = self.client.execute(request).await.map_err(|error| why(&error))?;
        let announced = response.content_length().unwrap_or(0);
        if announced > MAX_BYTES as u64 {
            return Err(NoAnswer::TooLarge);
        }
        let mut body = Zeroizing::new(Vec::with_capacity(usize::try_from(announced).unwrap_or(0)));
        while let Some(chunk) = response.chunk().await.map_err(|error| why(&error))? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(NoAnswer::TooLarge);
            }
            append(&mut body, &chunk);
        }
        let mut whole = Response::new(Bytes::from_owner(body));
        *whole.status_mut() = response.status();
        *whole.headers_mut() = std::mem::take(response.headers_mut());
        Ok(whole)
    }
}

/// Appends without leaving a copy behind where the buffer was.
fn append(body: &mut Zeroizing<Vec<u8>>, chunk: &[u8]) {
    if body.capacity() - body.len() < chunk.len() {
        let mut roomier = Zeroizing::new(Vec::with_capacity((body.len() + chunk.len()) * 2));
        roomier.extend_from_slice(body);
        *body = roomier;
    }
    body.extend_from_slice(chunk);
}

fn why(error: &reqwest::Error) -> NoAnswer {
    if let Some(tls) = cause::<rustls::Error>(error) {
        return match tls {
            rustls::Error::InvalidCertificate(reason) => NoAnswer::Certificate(trust::in_words(reason)),
            rustls::Error::AlertReceived(_) => NoAnswer::Tls(Because(Some("it ended the handshake".into()))),
            rustls::Error::InvalidMessage(_) => NoAnswer::Tls(Because(Some("it does not answer with TLS".into()))),
            _ => NoAnswer::Tls(Because::default()),
        };
    }
    if cause::<Unresolved>(error).is_some() {
        return NoAnswer::Name;
    }
    // A connection that takes too long cannot be made; an answer that does is late.
    if error.is_connect() {
        let said = cause::<io::Error>(error).filter(|said| said.raw_os_error().is_none());
        if said.is_some() && !error.is_timeout() {
            // Not the system's word: the connection stood, and what came over it was no handshake.
            return NoAnswer::Tls(Because(Some("it does not answer with TLS".into())));
        }
        let late = error.is_timeout().then(|| format!("no connection within {} s", CONNECT.as_secs()));
        return NoAnswer::Connect(Because(late.or_else(|| system(error))));
    }
    if error.is_timeout() { NoAnswer::Late } else { NoAnswer::Broken(Because(system(error))) }
}

/// What the operating system says, for example that the connection was refused.
fn system(error: &reqwest::Error) -> Option<String> {
    cause::<io::Error>(error).map(|error| error.kind().to_string())
}

/// The first cause of this kind. An [`io::Error`] hides what it was made from.
pub(crate) fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(found) = here.downcast_ref() {
            return Some(found);
        }
        next = match here.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => here.source(),
        };
    }
    None
}
