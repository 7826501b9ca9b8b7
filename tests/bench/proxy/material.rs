//! What targets and caller are known by: certificates of one authority, tokens of one issuer. In a folder that vanishes.

use std::path::PathBuf;

use anyhow::Context as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_pki::{Authority, LeafRequest, SpiffeId, TrustDomain};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::rules;
use crate::work::Tls;

/// Name in the certificate of every target.
pub(crate) const HOST: &str = "bench.test";
/// What tokens are for.
pub(crate) const RESOURCE: &str = "https://bench.test/mcp";
/// Who made the tokens.
pub(crate) const ISSUER: &str = "https://issuer.bench.test";
/// The trust domain of all certificates.
pub(crate) const TRUST_DOMAIN: &str = "bench.test";

/// Files and keys.
pub(crate) struct Material {
    pub(crate) folder: PathBuf,
    /// The issuer's keys.
    pub(crate) keys: Value,
    signing: EncodingKey,
}

impl Material {
    /// Makes all of it.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("cardea-bench-proxy-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("tls"))?;
        std::fs::create_dir_all(folder.join("trust"))?;
        let now = Timestamp::now();
        let authority = Authority::create(&TrustDomain::parse(TRUST_DOMAIN)?, now)?;
        std::fs::write(folder.join("trust/ca.crt"), authority.certificate_pem())?;
        for (name, part, file) in [("target", "tls", "tls"), ("caller", ".", "caller")] {
            let request = LeafRequest {
                dns_names: vec![HOST.into()],
                spiffe_id: SpiffeId::new(TrustDomain::parse(TRUST_DOMAIN)?, "bench", name),
                lifetime: SignedDuration::from_hours(24),
            };
            let leaf = authority.issue(&request, now)?;
            std::fs::write(folder.join(part).join(format!("{file}.crt")), &leaf.certificate_pem)?;
            std::fs::write(folder.join(part).join(format!("{file}.key")), leaf.key_pem.as_bytes())?;
        }
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context("no key")?;
        let (x, y) =
            key.public_key().as_ref().get(1..).and_then(|point| point.split_at_checked(32)).context("no point")?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": x, "y": y});
        let signing = EncodingKey::from_ec_der(key.to_pkcs8v1().context("no key")?.as_ref());
        Ok(Self { folder, keys: json!({ "keys": [jwk] }), signing })
    }

    /// A token for these audiences.
    pub(crate) fn token(&self, audiences: &[&str]) -> anyhow::Result<String> {
        let now = Timestamp::now().as_second();
        let claims = json!({
            "iss": ISSUER, "sub": "agent-7f3a", "aud": audiences, "iat": now, "exp": now + 24 * 3600,
            "jti": "0e3c2f64-8a5b-4f0e-9a35-3d0c5a6f1b2c", "client_id": "bench", "scope": "mcp:callers",
            "groups": rules::groups(),
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }

    /// What a caller needs for mutual TLS.
    pub(crate) fn tls(&self) -> Tls {
        Tls {
            authority: self.folder.join("trust/ca.crt"),
            caller: Some((self.folder.join("caller.crt"), self.folder.join("caller.key"))),
        }
    }

    /// Writes a file and says where.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Where a file of this name stands.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Material {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
