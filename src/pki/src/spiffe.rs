//! SPIFFE-shaped identities: `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/NAME` (SPIFFE ID, section 2; the path as Istio and
//! Linkerd have it).

use std::fmt;

/// A trust domain: the authority part of a SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Checks the alphabet of SPIFFE ID section 2.1: lower-case letters, digits, `.`, `-`, `_`; at most 255 bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        let alphabet = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if text.is_empty() || text.len() > 255 || !text.bytes().all(alphabet) {
            return Err(SpiffeIdError(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Without scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identity of a workload that runs under a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    namespace: String,
    service_account: String,
}

impl SpiffeId {
    /// The identity of a ServiceAccount in this trust domain.
    pub fn new(trust_domain: TrustDomain, namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self { trust_domain, namespace: namespace.into(), service_account: service_account.into() }
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "spiffe://{}/ns/{}/sa/{}", self.trust_domain.as_str(), self.namespace, self.service_account)
    }
}

/// Not a trust domain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a trust domain: lower-case letters, digits, '.', '-' and '_', for example cluster.local")]
pub struct SpiffeIdError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_prints_as_a_spiffe_uri() {
        let id = SpiffeId::new(TrustDomain::parse("cluster.local").unwrap(), "demo", "everything");
        assert_eq!(id.to_string(), "spiffe://cluster.local/ns/demo/sa/everything");
    }

    #[test]
    fn a_trust_domain_has_a_small_alphabet() {
        for bad in ["", "Cluster.local", "a/b", "a:1", "spiffe://a", "a b", &"a".repeat(256)] {
            assert!(TrustDomain::parse(bad).is_err(), "{bad}");
        }
    }
}
