//! Who calls: evidence in, [`Principal`] out. A bearer token wins over the certificate of the connection, a bad token is
//! refused even if the certificate would do, and with neither nobody is let in, or only as anonymous where that is opened.
//!
//! Does not know what the caller wants.

mod addresses;
mod bearer;
pub(crate) mod certificate;
mod claims;
mod discovery;
mod https;
mod introspection;
pub(crate) mod jwks;
mod jwt;
mod key_set;
mod server_metadata;
mod static_tokens;
mod verified;

use std::path::PathBuf;
use std::sync::Arc;

use cardea_contract::{AuthorizationServer, Issuer, KeySource};
use cardea_policy::Principal;
use http::header::AUTHORIZATION;
use http::request::Parts;

use self::addresses::Reach;
use self::certificate::Presented;
use self::https::{Https, SystemNames};
use self::introspection::Introspection;
use self::jwks::{IssuerKeys, KeySourceError, KeyTimes};
use self::server_metadata::MetadataReader;
pub(crate) use self::static_tokens::StaticTokens;
use crate::config::Snapshot;
use crate::metrics::Metrics;
use crate::tls::Anchor;

/// Names that audit lines and the signed identity have for evidence of no issuer in the configuration.
pub(crate) const RESERVED: [&str; 4] = ["certificate", "anonymous", static_tokens::ISSUER, crate::identity::ISSUER];

/// What evidence is checked with, whatever the configuration says.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) times: KeyTimes,
    /// Folder with the Secrets that credentials are checked with.
    pub(crate) credentials: PathBuf,
    pub(crate) metrics: Arc<Metrics>,
    names: Arc<SystemNames>,
}

impl Means {
    pub(crate) fn new(times: KeyTimes, credentials: PathBuf, metrics: Arc<Metrics>) -> Self {
        Self { times, credentials, metrics, names: Arc::default() }
    }
}

/// One issuer with its own keys; no key of one issuer is ever tried for another.
pub(crate) struct TrustedIssuer {
    pub(crate) config: Issuer,
    keys: IssuerKeys,
    introspection: Option<Introspection>,
    metadata: Option<MetadataReader>,
}

impl TrustedIssuer {
    pub(crate) fn new(config: Issuer, means: &Means) -> Result<Self, KeySourceError> {
        let jwks = if let KeySource::Url { jwks_url } = &config.keys { Some(jwks_url) } else { None };
        let introspection = config.introspection.as_ref().and_then(|introspection| introspection.url.as_ref());
        let reach = Reach::of([Some(&config.url), jwks, introspection].into_iter().flatten().map(String::as_str));
        let https = Https::new(config.ca_bundle.as_deref(), reach, means.names.clone())?;
        let keys = IssuerKeys::new(&config, &https, means.times, &means.metrics)?;
        let introspection =
            config.introspection.as_ref().map(|asked| Introspection::new(&config, asked, &https, means)).transpose()?;
        let metadata = MetadataReader::new(&config, https, means.times);
        Ok(Self { config, keys, introspection, metadata })
    }

    /// Begins to keep the keys fresh, if that has not begun. Ends with the last reference to this issuer.
    pub(crate) fn start(&self) {
        self.keys.start();
        if let Some(metadata) = &self.metadata {
            metadata.start();
        }
    }

    /// Whether its keys cannot be had, so that each of its tokens is refused.
    pub(crate) fn is_without_keys(&self) -> bool {
        self.keys.cannot_be_had()
    }

    /// Whether it cannot be asked about tokens as configured.
    pub(crate) fn is_not_introspecting(&self) -> bool {
        self.introspection.as_ref().is_some_and(Introspection::is_misconfigured)
    }

    /// What its metadata says to clients, once that was looked for.
    pub(crate) fn authorization_server(&self) -> Option<AuthorizationServer> {
        Some(AuthorizationServer { name: self.config.name.clone(), metadata: self.metadata.as_ref()?.found()? })
    }
}

/// Why nobody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No evidence that counts: 401 with the bare challenge.
    NoEvidence(&'static str),
    /// A token that does not convince: 401 that says so. The reason is for the audit line only.
    InvalidToken(&'static str),
    /// A token where none may stand: 400 (row 45).
    TokenInQuery,
    /// The issuer cannot be asked, be it for its keys or about a token: 503, never a pass.
    Unavailable(&'static str),
}

/// Decides who calls. `certificate` is what the connection presented, with the anchor it leads to now; `lapsed` that it
/// presented one that leads to none any more.
pub(crate) async fn authenticate(
    head: &Parts,
    certificate: Option<(&Presented, Anchor)>,
    lapsed: bool,
    snapshot: &Snapshot,
) -> Result<Principal, Stop> {
    let accepted = &snapshot.config.authentication;
    if head.uri.query().is_some_and(names_access_token) {
        return Err(Stop::TokenInQuery);
    }
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let token = bearer::token(value)?;
        let presented = certificate.map(|(presented, _)| presented);
        return bearer::principal(token, presented, &snapshot.issuers, snapshot.static_tokens.as_deref()).await;
    }
    match certificate {
        Some((presented, anchor)) if accepted.client_certificates => presented
            .principal(anchor, &snapshot.config.trust_domain)
            .ok_or(Stop::NoEvidence("certificate-names-nobody")),
        None if accepted.client_certificates && lapsed => Err(Stop::NoEvidence("certificate-lapsed")),
        // No credential at all, as far as any counts here.
        _ if accepted.insecure_anonymous => Ok(Principal::anonymous()),
        Some(_) => Err(Stop::NoEvidence("certificates-not-taken")),
        None => Err(Stop::NoEvidence("no-evidence")),
    }
}

/// Whether a query has the parameter of RFC 6750 section 2.3, percent-encoded or not.
pub(crate) fn names_access_token(query: &str) -> bool {
    query
        .split(['&', ';'])
        .any(|pair| form_urlencoded::parse(pair.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("access_token")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_query_is_seen_however_it_is_spelt() {
        for (query, expected) in [
            ("access_token=x", true),
            ("a=b&access_token=x", true),
            ("access%5Ftoken=x", true),
            ("Access_Token", true),
            ("access_token_type=x", false),
            ("a=access_token", false),
            ("%", false),
        ] {
            assert_eq!(names_access_token(query), expected, "{query}");
        }
    }
}
