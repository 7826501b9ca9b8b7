//! The usable keys of one issuer: which keys of a JWKS (RFC 7517) may verify which algorithms.
//!
//! Does not know where the JWKS comes from.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::verified::Verified;

/// Most keys of one issuer.
const MAX_KEYS: usize = 64;

/// Why a key set is not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not a JWKS.
    #[error("not a JWKS (RFC 7517)")]
    Malformed,
    /// More keys than an issuer has.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// No key that could verify a signature.
    #[error("no usable key")]
    Empty,
}

/// One public key.
pub(crate) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) decoding: DecodingKey,
}

/// The usable keys of one issuer.
#[derive(Default)]
pub(crate) struct KeySet {
    keys: Vec<Key>,
    /// What these keys have verified; gone when they are.
    pub(super) verified: Verified,
}

impl KeySet {
    /// Reads a JWKS. Keys of kinds that are not used here are passed over (RFC 7517 section 5).
    pub(super) fn read(jwks: serde_json::Value) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Jwks {
            keys: Vec<serde_json::Value>,
        }
        let Jwks { keys } = serde_json::from_value(jwks).map_err(|_| KeySetError::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let keys = keys.into_iter().filter_map(|key| Key::usable(&serde_json::from_value(key).ok()?)).collect();
        Ok(Self { keys, verified: Verified::default() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that a token with this header may have been signed with.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.named(kid).filter(move |key| key.algorithms.contains(&algorithm))
    }

    /// Without a key id there is only something to choose from if there is no choice.
    fn named(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        let only = self.keys.len() == 1;
        self.keys.iter().filter(move |key| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => only,
        })
    }

    pub(super) fn has(&self, kid: Option<&str>) -> bool {
        self.named(kid).next().is_some()
    }
}

impl Key {
    fn usable(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let verifies = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !verifies {
            return None;
        }
        // Asymmetric only: with a symmetric algorithm whoever knows the "public" key could sign (RFC 8725 section 2.1).
        let fitting: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return None,
        };
        let algorithms: Vec<_> = match common.key_algorithm {
            None => fitting.to_vec(),
            Some(only) => fitting.iter().copied().filter(|fit| KeyAlgorithm::from(*fit) == only).collect(),
        };
        if algorithms.is_empty() {
            return None;
        }
        Some(Self { kid: common.key_id.clone(), algorithms, decoding: DecodingKey::from_jwk(jwk).ok()? })
    }
}

#[cfg(test)]
mod tests;
