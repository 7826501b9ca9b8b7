//! The files that a pod would have mounted, in a folder that only this user can enter and that vanishes at the end.

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cardea_contract::{Listens, pod};
use cardea_pki::{Authority, LeafRequest, SpiffeId};
use jiff::{SignedDuration, Timestamp};

use super::local::{Fit, Local};

/// Longer than anybody lets it run: nothing renews a certificate here.
const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The folder. Dropping it removes it.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// Makes it, with an authority of its own, the server's certificate and the client's.
    pub(crate) fn create(local: &Local) -> anyhow::Result<Self> {
        let mode = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("cardea-").permissions(mode).tempdir();
        let folder = Self(folder.context("cannot make a temporary folder")?);
        let now = Timestamp::now();
        let authority = Authority::create(local.identity.trust_domain(), now).context("cannot make an authority")?;
        let issue = |dns_names: Vec<String>, spiffe_id: &SpiffeId| {
            let request = LeafRequest { dns_names, spiffe_id: spiffe_id.clone(), lifetime: LIFETIME };
            authority.issue(&request, now).context("cannot issue a certificate")
        };
        let server = issue(local.names.clone(), &local.identity)?;
        let client = issue(Vec::new(), &local.client)?;
        for (part, leaf) in [("tls", server), ("client", client)] {
            folder.write(&format!("{part}/tls.crt"), &leaf.certificate_pem)?;
            folder.write(&format!("{part}/tls.key"), &leaf.key_pem)?;
        }
        folder.write(&format!("trust/{}", pod::TRUST_BUNDLE_KEY), authority.trust_bundle())?;
        Ok(folder)
    }

    /// Puts a manifest in force: what its configuration refers to first.
    pub(crate) fn put(&self, fit: &Fit) -> anyhow::Result<()> {
        self.write_clients(fit.server.client_ca.as_deref())?;
        self.link_credentials(&fit.credentials)?;
        let mut config = fit.config.clone();
        if let Listens::Socket(socket) = &mut config.upstream.listens {
            *socket = self.socket()?.to_string_lossy().into_owned();
        }
        self.write("config/proxy.json", &serde_json::to_string(&config)?)
    }

    /// Further authorities of client certificates, if any.
    fn write_clients(&self, pem: Option<&str>) -> anyhow::Result<()> {
        match pem {
            Some(pem) => self.write(&format!("trust/{}", pod::CLIENT_CA_KEY), pem),
            None => match std::fs::remove_file(self.trust_dir().join(pod::CLIENT_CA_KEY)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
        }
    }

    /// The files that credentials are checked with. They stay where they are, so that a change of one counts.
    fn link_credentials(&self, files: &[(&'static str, PathBuf)]) -> anyhow::Result<()> {
        for (name, file) in files {
            let link = self.credentials_dir().join(name);
            std::fs::create_dir_all(link.parent().unwrap_or(Path::new(".")))?;
            if std::fs::read_link(&link).is_ok_and(|former| former != *file) {
                std::fs::remove_file(&link)?;
            }
            if !link.is_symlink() {
                symlink(file, &link).with_context(|| format!("{} cannot be made", link.display()))?;
            }
        }
        Ok(())
    }

    /// A secret of the server's, where it would stand under `/run/secrets`.
    pub(crate) fn write_secret(&self, name: &str, file: &str, value: &str) -> anyhow::Result<PathBuf> {
        let path = format!("secrets/{name}/{file}");
        self.write(&path, value)?;
        Ok(self.path(&path))
    }

    /// Where a stdio server is bridged to.
    pub(crate) fn socket(&self) -> anyhow::Result<PathBuf> {
        let folder = self.path("bridge");
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(folder.join("mcp.sock"))
    }

    /// Where secrets of the server's stand as files.
    pub(crate) fn secrets_dir(&self) -> PathBuf {
        self.path("secrets")
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("config/proxy.json")
    }

    pub(crate) fn tls_dir(&self) -> PathBuf {
        self.path("tls")
    }

    pub(crate) fn trust_dir(&self) -> PathBuf {
        self.path("trust")
    }

    pub(crate) fn credentials_dir(&self) -> PathBuf {
        self.path("credentials")
    }

    /// What verifies the proxy's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.trust_dir().join(pod::TRUST_BUNDLE_KEY)
    }

    /// The client's certificate and key.
    pub(crate) fn client(&self) -> (PathBuf, PathBuf) {
        (self.path("client/tls.crt"), self.path("client/tls.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file whole: whoever reads meanwhile has the former or the new one.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (path, new) = (self.path(name), self.path("new"));
        let written = || -> std::io::Result<()> {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let mut file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            std::fs::rename(&new, &path)
        };
        written().with_context(|| format!("{} cannot be written", path.display()))
    }
}
