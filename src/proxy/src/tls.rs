//! The TLS side in force: leaf, key, trust bundle and what seals sessions, loaded and swapped as one unit. A unit whose key does not match, or
//! whose chain does not verify against its own bundle, is refused and the former stays.
//!
//! Each connection keeps the unit it was accepted with. Sessions are never resumed: a resumed session skips the check of
//! the client's certificate, so an authority that was retired would live on in tickets.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use cardea_contract::{ClientAuth, Leaf, pod};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::reason;
use crate::reload::read_bounded;
use crate::session::Seal;

const MAX_BYTES: u64 = 1 << 20;

/// The one crypto provider.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Where the unit is read from.
pub(crate) struct Sources {
    tls_dir: PathBuf,
    trust_dir: PathBuf,
    /// Seals sessions where no key was given for it.
    drawn: [u8; 32],
}

/// Why certificate, key or bundle are not put in force.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing, unreadable or too large.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file without the PEM it should hold. Says nothing of its content, which may be a key.
    #[error("{file} does not hold the PEM it should")]
    Pem {
        /// The file.
        file: &'static str,
    },
    /// The key is not the leaf's.
    #[error("the key does not belong to the certificate")]
    Key(#[source] rustls::Error),
    /// The chain does not lead to the bundle: clients would refuse it.
    #[error("the certificate does not verify against the trust bundle")]
    Chain(#[source] rustls::Error),
    /// The bundle cannot be used to check clients.
    #[error("the trust bundle cannot be used")]
    Bundle(#[source] VerifierBuilderError),
    /// A key for sessions that is too short to be one.
    #[error("session.key must hold at least 32 bytes")]
    SessionKey,
    /// The leaf cannot be read as X.509.
    #[error("the certificate is malformed")]
    Malformed,
}

/// One unit.
pub(crate) struct TlsUnit {
    /// What new connections are accepted with.
    pub(crate) server: Arc<ServerConfig>,
    /// What is served.
    pub(crate) leaf: Leaf,
    /// SHA-256 (hex) of the trust bundle file.
    pub(crate) bundle: String,
    /// Who may sign client certificates.
    pub(crate) trust: Trust,
    /// Seals sessions.
    pub(crate) seal: Seal,
}

/// Who may sign client certificates.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Differs whenever the anchors do.
    pub(crate) id: [u8; 32],
    own: Arc<dyn ClientCertVerifier>,
    any: Arc<dyn ClientCertVerifier>,
}

/// Which anchors a client's certificate leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// The trust domain's own.
    Own,
    /// Only those of [`pod::CLIENT_CA_KEY`]: believed for names outside the trust domain.
    Foreign,
}

impl Trust {
    /// Where a chain (leaf first) leads to now, if anywhere.
    pub(crate) fn anchor(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Option<Anchor> {
        let (leaf, rest) = chain.split_first()?;
        if self.own.verify_client_cert(leaf, rest, now).is_ok() {
            Some(Anchor::Own)
        } else if self.any.verify_client_cert(leaf, rest, now).is_ok() {
            Some(Anchor::Foreign)
        } else {
            None
        }
    }
}

/// The files of a unit.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
    bundle: Vec<u8>,
    clients: Option<Vec<u8>>,
    session: Vec<u8>,
}

impl Sources {
    /// Draws the key that stands in for one that is not there.
    pub(crate) fn new(tls_dir: PathBuf, trust_dir: PathBuf) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut drawn = [0; 32];
        aws_lc_rs::rand::fill(&mut drawn)?;
        Ok(Self { tls_dir, trust_dir, drawn })
    }

    fn read(&self) -> Result<Files, TlsError> {
        let clients = self.trust_dir.join(pod::CLIENT_CA_KEY);
        let session = self.tls_dir.join(pod::SESSION_KEY);
        Ok(Files {
            chain: read(&self.tls_dir.join("tls.crt"))?,
            key: read(&self.tls_dir.join("tls.key"))?,
            bundle: read(&self.trust_dir.join(pod::TRUST_BUNDLE_KEY))?,
            clients: if clients.exists() { Some(read(&clients)?) } else { None },
            session: if session.exists() { read(&session)? } else { self.drawn.to_vec() },
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_bounded(path, MAX_BYTES).map_err(|source| TlsError::Read { path: path.to_path_buf(), source })
}

impl TlsUnit {
    fn build(files: &Files, client_auth: ClientAuth, now: UnixTime) -> Result<Self, TlsError> {
        let provider = provider();
        let chain = certificates(&files.chain, "tls.crt")?;
        let key = PrivateKeyDer::from_pem_slice(&files.key).map_err(|_| TlsError::Pem { file: "tls.key" })?;
        let own = certificates(&files.bundle, pod::TRUST_BUNDLE_KEY)?;
        let foreign = match &files.clients {
            Some(pem) if !pem.trim_ascii().is_empty() => certificates(pem, pod::CLIENT_CA_KEY)?,
            _ => Vec::new(),
        };

        let own_roots = roots(&own)?;
        let all_roots = roots(own.iter().chain(&foreign))?;
        let (leaf, intermediates) = chain.split_first().ok_or(TlsError::Pem { file: "tls.crt" })?;
        let algorithms = provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(leaf).map_err(TlsError::Chain)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &own_roots, intermediates, now, algorithms)
            .map_err(TlsError::Chain)?;
        let described = describe(leaf)?;

        let trust = trust(&provider, files, own_roots, all_roots)?;
        let verifier: Arc<dyn ClientCertVerifier> = Arc::new(Asked { trust: trust.any.clone(), client_auth });
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Key)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(TlsError::Key)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        let bundle = hex(&Sha256::digest(&files.bundle));
        let seal = Seal::new(&files.session).ok_or(TlsError::SessionKey)?;
        Ok(Self { server: Arc::new(server), leaf: described, bundle, trust, seal })
    }
}

fn trust(
    provider: &Arc<CryptoProvider>,
    files: &Files,
    own: RootCertStore,
    all: RootCertStore,
) -> Result<Trust, TlsError> {
    let verifier = |roots: RootCertStore| {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(TlsError::Bundle)
    };
    let mut id = Sha256::new();
    id.update(Sha256::digest(&files.bundle));
    id.update(Sha256::digest(files.clients.as_deref().unwrap_or_default()));
    Ok(Trust { id: id.finalize().into(), own: verifier(own)?, any: verifier(all)? })
}

/// What the handshake asks for. Whom a certificate speaks for is decided later, per request, against the unit then in
/// force ([`crate::authn::certificate`]).
#[derive(Debug)]
struct Asked {
    trust: Arc<dyn ClientCertVerifier>,
    client_auth: ClientAuth,
}

impl ClientCertVerifier for Asked {
    /// Asked for even when clients need none: the operator reads the report with its certificate.
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.client_auth == ClientAuth::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.client_auth {
            ClientAuth::Required | ClientAuth::Optional => {
                self.trust.verify_client_cert(end_entity, intermediates, now)
            }
            // A client that shows a certificate of its own accord is not turned away for it; it counts for nothing.
            ClientAuth::None => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.supported_verify_schemes()
    }
}

fn certificates(pem: &[u8], file: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| TlsError::Pem { file })?;
    if found.is_empty() { Err(TlsError::Pem { file }) } else { Ok(found) }
}

fn roots<'a>(anchors: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for anchor in anchors {
        store.add(anchor.clone()).map_err(TlsError::Chain)?;
    }
    Ok(store)
}

fn describe(leaf: &CertificateDer<'_>) -> Result<Leaf, TlsError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| TlsError::Malformed)?;
    let serial = certificate.raw_serial();
    // DER puts a zero before a serial whose first bit is set; the number has none.
    let serial = serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(serial);
    Ok(Leaf { serial: hex(serial), not_after: certificate.validity().not_after.timestamp() })
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The unit in force.
pub(crate) struct TlsStore {
    sources: Sources,
    current: ArcSwap<TlsUnit>,
    seen: Mutex<Seen>,
}

struct Seen {
    files: Option<(Files, ClientAuth)>,
    rejected: Option<String>,
}

impl TlsStore {
    /// Loads for the first time.
    pub(crate) fn load(sources: Sources, client_auth: ClientAuth) -> Result<Self, TlsError> {
        let files = sources.read()?;
        let unit = TlsUnit::build(&files, client_auth, UnixTime::now())?;
        let seen = Mutex::new(Seen { files: Some((files, client_auth)), rejected: None });
        Ok(Self { sources, current: ArcSwap::from_pointee(unit), seen })
    }

    /// The unit in force.
    pub(crate) fn current(&self) -> Arc<TlsUnit> {
        self.current.load_full()
    }

    pub(crate) fn tls_dir(&self) -> &Path {
        &self.sources.tls_dir
    }

    pub(crate) fn trust_dir(&self) -> &Path {
        &self.sources.trust_dir
    }

    /// Looks at the files again: whether another unit is in force now, or why a changed one is not (said once).
    pub(crate) fn reload(&self, client_auth: ClientAuth) -> Result<bool, String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match self.sources.read() {
            Ok(files) => {
                if seen.files.as_ref().is_some_and(|(former, auth)| *former == files && *auth == client_auth) {
                    return Ok(false);
                }
                let built = TlsUnit::build(&files, client_auth, UnixTime::now());
                // A refused unit is tried again at each look: what was wrong may be the clock.
                seen.files = built.is_ok().then_some((files, client_auth));
                built
            }
            Err(error) => {
                seen.files = None;
                Err(error)
            }
        };
        match outcome {
            Ok(unit) => {
                seen.rejected = None;
                self.current.store(Arc::new(unit));
                Ok(true)
            }
            Err(error) => {
                let reason = reason(&error);
                if seen.rejected.as_ref() == Some(&reason) {
                    return Ok(false);
                }
                seen.rejected = Some(reason.clone());
                Err(reason)
            }
        }
    }
}
