//! Who calls: evidence in, [`Principal`] out. A bearer token wins over the certificate of the connection, a bad token is
//! refused even if the certificate would do, and with neither nobody is let in.
//!
//! Does not know what the caller wants.

mod bearer;
pub(crate) mod certificate;
mod claims;
pub(crate) mod jwks;
mod key_set;

use cardea_contract::Issuer;
use cardea_policy::Principal;
use http::header::AUTHORIZATION;
use http::request::Parts;

use self::certificate::Presented;
use self::jwks::{Fetching, IssuerKeys, KeySourceError};
use crate::config::Snapshot;
use crate::tls::Anchor;

/// One issuer with its own keys; no key of one issuer is ever tried for another.
pub(crate) struct TrustedIssuer {
    pub(crate) config: Issuer,
    keys: IssuerKeys,
}

impl TrustedIssuer {
    pub(crate) fn new(config: Issuer, fetching: &Fetching) -> Result<Self, KeySourceError> {
        let keys = IssuerKeys::new(&config, fetching)?;
        Ok(Self { config, keys })
    }

    /// Begins to keep the keys fresh, if that has not begun. Ends with the last reference to this issuer.
    pub(crate) fn start(&self) {
        self.keys.start();
    }

    /// Whether its keys cannot be had, so that each of its tokens is refused.
    pub(crate) fn is_without_keys(&self) -> bool {
        self.keys.cannot_be_had()
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
    /// The issuer's keys cannot be had: 503, never a pass.
    KeysUnavailable,
}

/// Decides who calls. `certificate` is what the connection presented, with the anchor it leads to now.
pub(crate) async fn authenticate(
    head: &Parts,
    certificate: Option<(&Presented, Anchor)>,
    snapshot: &Snapshot,
) -> Result<Principal, Stop> {
    if head.uri.query().is_some_and(names_access_token) {
        return Err(Stop::TokenInQuery);
    }
    if let Some(value) = head.headers.get(AUTHORIZATION) {
        let token = bearer::token(value)?;
        return bearer::verify(token, certificate.map(|(presented, _)| presented), &snapshot.issuers).await;
    }
    match certificate {
        None => Err(Stop::NoEvidence("no-evidence")),
        Some(_) if !snapshot.config.authentication.client_certificates => {
            Err(Stop::NoEvidence("certificates-not-taken"))
        }
        Some((presented, anchor)) => presented
            .principal(anchor, &snapshot.config.trust_domain)
            .ok_or(Stop::NoEvidence("certificate-names-nobody")),
    }
}

/// Whether a query has the parameter of RFC 6750 section 2.3, percent-encoded or not.
fn names_access_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decoded(name).eq_ignore_ascii_case("access_token")
    })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        decoded.push(match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'%'),
                _ => b'%',
            },
            byte => byte,
        });
    }
    String::from_utf8_lossy(&decoded).into_owned()
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
