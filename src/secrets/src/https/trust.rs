//! Whose certificates a store may show: those of the public authorities, which the image has no files of, and of those that
//! the manifest adds.

use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::Because;

/// Why no store can be asked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoTrust {
    /// The further authorities cannot be used.
    #[error("its caBundle is not a bundle of certificates (PEM)")]
    Authorities,
    /// TLS cannot be set up.
    #[error("no TLS client can be made")]
    Client,
}

pub(super) fn tls(authorities: Option<&[u8]>) -> Result<ClientConfig, NoTrust> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| NoTrust::Client)?
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    Ok(config)
}

fn roots(authorities: Option<&[u8]>) -> Result<RootCertStore, NoTrust> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(pem) = authorities else {
        return Ok(roots);
    };
    let further: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| NoTrust::Authorities)?;
    if further.is_empty() {
        return Err(NoTrust::Authorities);
    }
    for authority in further {
        roots.add(authority).map_err(|_| NoTrust::Authorities)?;
    }
    Ok(roots)
}

/// What is wrong with a certificate, for those reasons that tell people what to do.
pub(super) fn in_words(reason: &CertificateError) -> Because {
    Because(match reason {
        CertificateError::UnknownIssuer => Some("unknown issuer".into()),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Some("expired".into()),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Some("not valid yet".into()),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Some("for another name".into())
        }
        CertificateError::Revoked => Some("revoked".into()),
        _ => None,
    })
}
