//! The built-in authority's Secret, in the operator's own namespace: made once, whoever comes first.
//!
//! Its key `ca.crt` is what is trusted, `tls.crt` and `tls.key` are what signs. They are the same certificate until an
//! authority is replaced, when the bundle holds the old and the new one: that is the seam for it. It is read at the start
//! of whoever leads.

use cardea_pki::{Authority, TrustDomain};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::children::MANAGED_BY;
use crate::ownership::FIELD_MANAGER;

/// Name of the Secret.
pub const AUTHORITY_SECRET: &str = "cardea-authority";

/// Reads the authority, or makes it if there is none. Two operators that start at once end up with the same one: a
/// create, unlike an apply, loses to the one before it.
///
/// # Errors
/// When the API server does not answer or the Secret cannot be read as an authority. A broken one is never replaced by
/// itself: every certificate in use hangs on it.
pub async fn read_or_create(
    client: &Client,
    namespace: &str,
    trust_domain: &TrustDomain,
    now: Timestamp,
) -> anyhow::Result<Authority> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(AUTHORITY_SECRET).await? {
        return read(&secret);
    }
    let authority = Authority::create(trust_domain, now)?;
    let create = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match secrets.create(&create, &secret(&authority)).await {
        Ok(_) => {
            tracing::info!(secret = AUTHORITY_SECRET, "made the authority");
            Ok(authority)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => read(&secrets.get(AUTHORITY_SECRET).await?),
        Err(error) => Err(error.into()),
    }
}

fn secret(authority: &Authority) -> Secret {
    let pem = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(AUTHORITY_SECRET.to_owned()),
            labels: Some([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(
            [
                ("ca.crt".to_owned(), pem(authority.trust_bundle())),
                ("tls.crt".to_owned(), pem(authority.certificate_pem())),
                ("tls.key".to_owned(), pem(&authority.key_pem())),
            ]
            .into(),
        ),
        ..Secret::default()
    }
}

fn read(secret: &Secret) -> anyhow::Result<Authority> {
    let part = |key: &str| -> anyhow::Result<&str> {
        let bytes =
            secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| {
                anyhow::anyhow!("the Secret {AUTHORITY_SECRET} has no {key}: restore it from a backup")
            })?;
        Ok(std::str::from_utf8(&bytes.0)?)
    };
    Ok(Authority::from_pem(part("tls.crt")?, part("tls.key")?, part("ca.crt")?)?)
}
