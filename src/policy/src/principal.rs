//! Who is calling, as far as it was verified.

use std::collections::BTreeMap;

use cardea_contract::PrincipalMatch;

/// A verified caller. Made by the proxy's authentication alone, from evidence that it has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who, as the evidence names it: `sub` (or the mapped claim) of a token, the URI or common name of a certificate.
    pub subject: String,
    /// Groups that the evidence names. Empty for ServiceAccounts and certificates.
    pub groups: Vec<String>,
    /// OAuth scopes that the token was granted (RFC 6749 section 3.3). Empty for ServiceAccounts and certificates.
    pub scopes: Vec<String>,
    /// What else the evidence says of the caller, by the names that the manifest gives to claims.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// When the evidence ends, seconds since 1970: nothing that it opened may outlast it. The last second there is for a
    /// caller without evidence.
    pub expires_at: u64,
    /// What proved it.
    pub evidence: Evidence,
}

/// What proved an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A token of an OpenID Connect or OAuth issuer.
    Token {
        /// Name of the issuer in the manifest.
        issuer: String,
    },
    /// A token of a Kubernetes ServiceAccount.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A client certificate.
    Certificate {
        /// Its SPIFFE id, if it has one that it may bear.
        spiffe_id: Option<String>,
    },
    /// Nothing: the caller brought no credential.
    Anonymous,
}

impl Principal {
    /// A caller of whom the evidence says nothing but the name.
    pub fn named(subject: String, expires_at: u64, evidence: Evidence) -> Self {
        Self { subject, groups: Vec::new(), scopes: Vec::new(), attributes: BTreeMap::new(), expires_at, evidence }
    }

    /// A caller without any credential.
    pub fn anonymous() -> Self {
        Self::named("anonymous".to_owned(), u64::MAX, Evidence::Anonymous)
    }

    /// Name of the issuer, for audit lines and the signed identity.
    pub fn issuer(&self) -> &str {
        match &self.evidence {
            Evidence::Token { issuer } => issuer,
            Evidence::ServiceAccount { .. } => "kubernetes",
            Evidence::Certificate { .. } => "certificate",
            Evidence::Anonymous => "anonymous",
        }
    }

    /// Whether this caller could have been granted scopes: what has none cannot be told to get more.
    pub fn has_scopes(&self) -> bool {
        matches!(self.evidence, Evidence::Token { .. })
    }

    /// Whether a rule that names `wanted` is about this caller. Subjects and groups belong to tokens: a certificate
    /// whose name equals a token's subject is somebody else.
    pub(crate) fn is(&self, wanted: &PrincipalMatch) -> bool {
        match (wanted, &self.evidence) {
            (PrincipalMatch::AnyAuthenticated, evidence) => *evidence != Evidence::Anonymous,
            (PrincipalMatch::Anonymous, evidence) => *evidence == Evidence::Anonymous,
            (PrincipalMatch::Subject { name, issuer }, Evidence::Token { issuer: from }) => {
                *name == self.subject && issuer.as_ref().is_none_or(|wanted| wanted == from)
            }
            (PrincipalMatch::Group { name, issuer }, Evidence::Token { issuer: from }) => {
                self.groups.contains(name) && issuer.as_ref().is_none_or(|wanted| wanted == from)
            }
            (PrincipalMatch::Attribute { name, values, issuer }, Evidence::Token { issuer: from }) => {
                self.attributes.get(name).is_some_and(|own| own.iter().any(|value| values.contains(value)))
                    && issuer.as_ref().is_none_or(|wanted| wanted == from)
            }
            (
                PrincipalMatch::ServiceAccount { namespace, name },
                Evidence::ServiceAccount { namespace: its_namespace, name: its_name },
            ) => namespace == its_namespace && name == its_name,
            (PrincipalMatch::SpiffeId(wanted), Evidence::Certificate { spiffe_id: Some(id) }) => wanted == id,
            _ => false,
        }
    }
}
