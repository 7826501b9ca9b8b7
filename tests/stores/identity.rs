//! ServiceAccount tokens as a cluster issues them, by a key of the tests' own.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::json;

/// The subject of [`Issuer::token`].
pub(crate) const SUBJECT: &str = "system:serviceaccount:team:app";
/// Its audience.
pub(crate) const AUDIENCE: &str = "vault";

/// Who issues them.
pub(crate) struct Issuer(KeyPair);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// The public key (PEM).
    pub(crate) fn public(&self) -> String {
        self.0.public_key_pem()
    }

    /// The token of the ServiceAccount `app` in the namespace `team`, for a Vault.
    pub(crate) fn token(&self) -> String {
        self.of(SUBJECT, AUDIENCE)
    }

    pub(crate) fn of(&self, subject: &str, audience: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let account = json!({"namespace": "team", "serviceaccount": {"name": "app", "uid": "uid-1"}});
        let claims = json!({
            "iss": "https://kubernetes.default.svc", "sub": subject, "aud": [audience], "iat": now, "nbf": now, "exp": now + 3600,
            "kubernetes.io": account,
        });
        let key = EncodingKey::from_ec_der(&self.0.serialize_der());
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    }
}
