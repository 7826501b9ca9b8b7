//! Whom a client's certificate speaks for. The chain was verified before ([`crate::tls::Trust`]); here its names are read
//! and weighed against the anchor it leads to: an authority of others may sign for others only, never for a SPIFFE id of
//! the trust domain, or it could pose as the operator.
//!
//! Knows nothing of tokens or requests.

use cardea_policy::{Evidence, Principal};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::tls::Anchor;

/// Longest name that is taken.
const MAX_NAME: usize = 512;

/// The names of a certificate that a client presented.
#[derive(Debug)]
pub(crate) struct Presented {
    /// End of validity, seconds since 1970.
    pub(crate) not_after: i64,
    /// SHA-256 of the certificate, for tokens bound to it (RFC 8705 section 3).
    pub(crate) thumbprint: [u8; 32],
    name: Name,
}

#[derive(Debug, PartialEq, Eq)]
enum Name {
    Spiffe(String),
    Plain(String),
    /// None, several SPIFFE ids, or one that is malformed.
    Unusable,
}

impl Presented {
    /// Reads a leaf; none if it is no X.509.
    pub(crate) fn read(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        Some(Self {
            not_after: certificate.validity().not_after.timestamp(),
            thumbprint: Sha256::digest(leaf).into(),
            name: name(&certificate),
        })
    }

    /// The SPIFFE id, if this certificate may bear it.
    pub(crate) fn spiffe_id(&self, anchor: Anchor, trust_domain: &str) -> Option<&str> {
        match &self.name {
            Name::Spiffe(id) if (trust_domain_of(id)? == trust_domain) == (anchor == Anchor::Own) => Some(id),
            _ => None,
        }
    }

    /// Who this is, if it says so and may.
    pub(crate) fn principal(&self, anchor: Anchor, trust_domain: &str) -> Option<Principal> {
        let (subject, spiffe_id) = match &self.name {
            Name::Spiffe(_) => {
                let id = self.spiffe_id(anchor, trust_domain)?;
                (id, Some(id.to_owned()))
            }
            Name::Plain(name) => (name.as_str(), None),
            Name::Unusable => return None,
        };
        let evidence = Evidence::Certificate { spiffe_id };
        Some(Principal::named(subject.to_owned(), u64::try_from(self.not_after).unwrap_or_default(), evidence))
    }
}

/// SPIFFE URI if any, else the first DNS name, else the common name.
fn name(certificate: &X509Certificate<'_>) -> Name {
    let Ok(extension) = certificate.subject_alternative_name() else {
        return Name::Unusable;
    };
    let names = extension.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&str> =
        names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
    if uris.iter().any(|uri| uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))) {
        // X509-SVID section 2: exactly one URI.
        return match uris.as_slice() {
            [id] if trust_domain_of(id).is_some() => Name::Spiffe((*id).to_owned()),
            _ => Name::Unusable,
        };
    }
    let dns = names.iter().find_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None });
    let common = || certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    match dns.or_else(common) {
        Some(name) if plain(name) => Name::Plain(name.to_owned()),
        _ => Name::Unusable,
    }
}

/// A name that cannot be taken for a SPIFFE id or upset a log.
fn plain(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.chars().any(char::is_control)
        && !name.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:"))
}

/// Whether this is the name of a SPIFFE trust domain (SPIFFE-ID section 2.1).
pub(crate) fn is_trust_domain(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte))
}

/// Trust domain of a SPIFFE id with a path, if it is well-formed (SPIFFE-ID section 2).
pub(crate) fn trust_domain_of(id: &str) -> Option<&str> {
    let (domain, path) = id.strip_prefix("spiffe://")?.split_once('/')?;
    let segment = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    (id.len() <= 2048 && is_trust_domain(domain) && path.split('/').all(segment)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(name: Name) -> Presented {
        Presented { not_after: 0, thumbprint: [0; 32], name }
    }

    #[test]
    fn each_authority_signs_for_its_own_side() {
        let own = presented(Name::Spiffe("spiffe://cluster.local/ns/a/sa/b".into()));
        let other = presented(Name::Spiffe("spiffe://other.example/ns/a/sa/b".into()));
        for (who, anchor, expected) in [
            (&own, Anchor::Own, true),
            (&own, Anchor::Foreign, false),
            (&other, Anchor::Own, false),
            (&other, Anchor::Foreign, true),
        ] {
            assert_eq!(who.principal(anchor, "cluster.local").is_some(), expected, "{who:?} {anchor:?}");
            assert_eq!(who.spiffe_id(anchor, "cluster.local").is_some(), expected, "{who:?} {anchor:?}");
        }
        let plain = presented(Name::Plain("agent".into())).principal(Anchor::Foreign, "cluster.local").unwrap();
        assert_eq!((plain.subject.as_str(), plain.evidence), ("agent", Evidence::Certificate { spiffe_id: None }));
        assert!(presented(Name::Unusable).principal(Anchor::Own, "cluster.local").is_none());
    }

    #[test]
    fn spiffe_ids_are_read_strictly() {
        for (id, domain) in [
            ("spiffe://cluster.local/ns/a/sa/b", Some("cluster.local")),
            ("spiffe://cluster.local", None),
            ("spiffe://cluster.local/", None),
            ("SPIFFE://cluster.local/a", None),
            ("spiffe://Cluster.local/a", None),
            ("spiffe://cluster.local/a//b", None),
            ("spiffe://cluster.local/../b", None),
            ("spiffe://cluster.local/a?b", None),
            ("spiffe://cluster.local:1/a", None),
            ("spiffe://x@cluster.local/a", None),
            ("https://cluster.local/a", None),
        ] {
            assert_eq!(trust_domain_of(id), domain, "{id}");
        }
    }
}
