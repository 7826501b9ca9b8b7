//! The certificate of one server, or of the operator.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{PkiError, PrivateKeyPem, SpiffeId};

/// How far a certificate reaches back, so that a clock a little behind accepts it.
pub(crate) const BACKDATED: SignedDuration = SignedDuration::from_secs(60);

/// What a leaf shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRequest {
    /// DNS names under which it is reached.
    pub dns_names: Vec<String>,
    /// Who it is.
    pub spiffe_id: SpiffeId,
    /// How long it is valid.
    pub lifetime: SignedDuration,
}

impl LeafRequest {
    /// Names the request together with who shall sign it: a leaf with another digest is due, whatever its age.
    pub fn digest(&self, authority_id: &str) -> String {
        let mut hash = Sha256::new();
        for part in self.dns_names.iter().map(String::as_str).chain([
            self.spiffe_id.to_string().as_str(),
            self.lifetime.as_secs().to_string().as_str(),
            authority_id,
        ]) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex(hash.finalize().get(..8).unwrap_or_default())
    }

    pub(crate) fn sign(&self, issuer: &Issuer<'_, KeyPair>, now: Timestamp) -> Result<Leaf, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let not_before = now - BACKDATED;
        let not_after = now + self.lifetime;
        let mut params = CertificateParams::new(self.dns_names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names.push(SanType::URI(self.spiffe_id.to_string().try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = moment(not_before)?;
        params.not_after = moment(not_after)?;
        // A new key for each leaf, so a digest of it is as unique as a random number (RFC 5280, 4.1.2.2). The first bit
        // stays clear, since a serial number is positive.
        let mut serial = [0_u8; 16];
        serial.copy_from_slice(Sha256::digest(key.public_key_raw()).get(..16).unwrap_or(&[1; 16]));
        serial[0] = (serial[0] & 0x7f) | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&key, issuer)?;
        Ok(Leaf {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem().into(),
            serial: hex(&serial),
            not_before,
            not_after,
        })
    }
}

/// A leaf and its key. Deliberately without `Debug`.
pub struct Leaf {
    /// The certificate.
    pub certificate_pem: String,
    /// Its key.
    pub key_pem: PrivateKeyPem,
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// Begin of validity, a minute before it was issued.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

pub(crate) fn moment(at: Timestamp) -> Result<OffsetDateTime, PkiError> {
    OffsetDateTime::from_unix_timestamp(at.as_second()).map_err(|_| PkiError::Moment(at))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
