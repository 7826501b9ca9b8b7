//! The authority that signs leaves.

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData,
};
use sha2::{Digest, Sha256};
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::leaf::{BACKDATED, hex, moment};
use crate::{Leaf, LeafRequest, PkiError, PrivateKeyPem, SessionKey, TrustDomain};

/// How long a new authority lasts: ten years, since replacing it without loss is a procedure of its own.
const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// A certificate authority with its key (ECDSA P-256). Deliberately without `Debug`.
pub struct Authority {
    certificate_pem: String,
    trust_bundle: String,
    issuer: Issuer<'static, KeyPair>,
    not_after: Timestamp,
    id: String,
}

impl Authority {
    /// Makes a new authority for a trust domain. It may sign leaves only, no further authority.
    ///
    /// # Errors
    /// When the random source fails.
    pub fn create(trust_domain: &TrustDomain, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Cardea authority of {}", trust_domain.as_str()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = moment(now - BACKDATED)?;
        params.not_after = moment(now + AUTHORITY_LIFETIME)?;
        let certificate = params.self_signed(&key)?;
        let certificate = certificate.pem();
        Self::from_pem(&certificate, &key.serialize_pem(), &certificate)
    }

    /// Reads an authority back from PEM. The bundle is what is trusted: its own certificate, and while it replaces another
    /// or is going to be replaced, the other's.
    ///
    /// # Errors
    /// When a part is not readable, when certificate and key do not belong together, or when the bundle lacks the
    /// certificate, so that nobody would trust what it signs.
    pub fn from_pem(certificate_pem: &str, key_pem: &str, trust_bundle: &str) -> Result<Self, PkiError> {
        let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|_| PkiError::Unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| PkiError::Unreadable)?;
        let key = KeyPair::from_pem(key_pem)?;
        if certificate.public_key().raw != key.subject_public_key_info().as_slice() {
            return Err(PkiError::KeyMismatch);
        }
        let mut trusted = Pem::iter_from_buffer(trust_bundle.as_bytes());
        if !trusted.any(|trusted| trusted.is_ok_and(|trusted| trusted.contents == pem.contents)) {
            return Err(PkiError::Untrusted);
        }
        let not_after =
            Timestamp::from_second(certificate.validity().not_after.timestamp()).map_err(|_| PkiError::Unreadable)?;
        let id = hex(Sha256::digest(&pem.contents).get(..8).unwrap_or_default());
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            trust_bundle: trust_bundle.to_owned(),
            issuer,
            not_after,
            id,
        })
    }

    /// Its certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// What is to be trusted: its certificate, and any that it replaces or is replaced by.
    pub fn trust_bundle(&self) -> &str {
        &self.trust_bundle
    }

    /// Its key, to be kept where only the operator reads.
    pub fn key_pem(&self) -> PrivateKeyPem {
        self.issuer.key().serialize_pem().into()
    }

    /// Names this authority in [`LeafRequest::digest`], so that leaves of another are replaced.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key by which the proxies of one server know the sessions that they handed out: the same for all of them and
    /// whatever leaf they serve, another for each server, and gone with this authority.
    pub fn session_key(&self, server_uid: &str) -> SessionKey {
        let own = zeroize::Zeroizing::new(self.issuer.key().serialize_der());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &own);
        let tag = hmac::sign(&key, format!("cardea session key\0{server_uid}").as_bytes());
        SessionKey::new(tag.as_ref().to_vec())
    }

    /// Issues a leaf with a key of its own.
    ///
    /// # Errors
    /// When the leaf would outlive the authority, or a name cannot stand in a certificate.
    pub fn issue(&self, request: &LeafRequest, now: Timestamp) -> Result<Leaf, PkiError> {
        if now + request.lifetime > self.not_after {
            return Err(PkiError::OutlivesAuthority { authority_end: self.not_after });
        }
        request.sign(&self.issuer, now)
    }
}

#[cfg(test)]
mod tests;
