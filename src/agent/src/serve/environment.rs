//! What a server finds in its environment: the container's own variables without those that tell of Cardea or the
//! cluster, and the secrets that it is given, read anew for each process so that each has one version whole.
//!
//! Values go from their files to the process and are kept nowhere.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use cardea_contract::GivenSecret;
use cardea_contract::pod;
use zeroize::Zeroizing;

/// Longest value.
const MAX_VALUE: u64 = 1 << 20;
/// How often a version may go while it is read.
const ATTEMPTS: usize = 5;

/// Where variables come from.
#[derive(Clone)]
pub(crate) struct Environment {
    /// Those of the container.
    base: Vec<(OsString, OsString)>,
    secrets: Vec<GivenSecret>,
    folder: PathBuf,
}

/// A variable and its value.
pub(crate) type Variable = (OsString, Zeroizing<Vec<u8>>);

/// Why a server cannot be given its secrets.
#[derive(Debug, thiserror::Error)]
#[error("the secret {secret} cannot be read; see what the fetcher of secrets reports of it")]
pub(crate) struct NoSecret {
    secret: String,
    #[source]
    source: Error,
}

impl Environment {
    /// Variables of the container, and secrets below `folder`.
    pub(crate) fn new(
        container: impl IntoIterator<Item = (OsString, OsString)>,
        secrets: Vec<GivenSecret>,
        folder: &Path,
    ) -> Self {
        let base = container.into_iter().filter(|(name, _)| is_servers(name)).collect();
        Self { base, secrets, folder: folder.to_owned() }
    }

    /// Variables of the container that the server sees.
    pub(crate) fn base(&self) -> &[(OsString, OsString)] {
        &self.base
    }

    pub(crate) fn secrets(&self) -> &[GivenSecret] {
        &self.secrets
    }

    /// The folder of a secret.
    pub(crate) fn folder_of(&self, secret: &GivenSecret) -> PathBuf {
        self.folder.join(&secret.name)
    }

    /// The variables with secrets, each secret of one version.
    pub(crate) fn given(&self) -> Result<Vec<Variable>, NoSecret> {
        let mut given = Vec::new();
        for secret in &self.secrets {
            let mut attempt = 1;
            let variables = loop {
                match self.read(secret) {
                    // The version was taken away meanwhile: there is a newer one.
                    Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                    other => break other,
                }
            };
            let failed = |source| NoSecret { secret: secret.name.clone(), source };
            given.extend(variables.map_err(failed)?);
        }
        Ok(given)
    }

    fn read(&self, secret: &GivenSecret) -> Result<Vec<Variable>, Error> {
        if secret.env.is_empty() {
            return Ok(Vec::new());
        }
        let version = self.folder_of(secret).join(pod::SECRETS_IN_FORCE).canonicalize()?;
        let read = |name: &String| {
            let value = read_bounded(&version.join(pod::VARIABLES_DIR).join(name))?;
            if value.contains(&0) {
                return Err(Error::new(ErrorKind::InvalidData, "a variable holds no NUL"));
            }
            Ok((OsString::from(name), value))
        };
        secret.env.iter().map(read).collect()
    }

    /// Every value that is in force, also of files: what must not be seen in a log.
    pub(crate) fn values(&self) -> Vec<Zeroizing<Vec<u8>>> {
        let mut values = Vec::new();
        for secret in &self.secrets {
            let version = self.folder_of(secret).join(pod::SECRETS_IN_FORCE);
            for folder in [version.join(pod::VARIABLES_DIR), version] {
                let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
                let files = files.map(|entry| entry.path()).filter(|path| path.is_file());
                values.extend(files.filter_map(|path| read_bounded(&path).ok()));
            }
        }
        values
    }
}

/// Neither ours nor the cluster's.
fn is_servers(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let begins = [&b"CARDEA_"[..], b"KUBERNETES_"].iter().any(|start| name.starts_with(start));
    let ends = [&b"_SERVICE_HOST"[..], b"_SERVICE_PORT"].iter().any(|end| name.ends_with(end));
    !begins && !ends
}

fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    // Room for all at once: a vector that grows leaves copies behind.
    let file = std::fs::File::open(path)?;
    let size = usize::try_from(file.metadata()?.len().min(MAX_VALUE)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MAX_VALUE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_VALUE {
        return Err(Error::new(ErrorKind::FileTooLarge, "the value is too large"));
    }
    Ok(bytes)
}

/// A value as a process is given it.
pub(crate) fn as_argument(value: &[u8]) -> OsString {
    OsString::from_vec(value.to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use cardea_contract::OnRotation;

    use super::*;

    fn environment(folder: &Path, secrets: Vec<GivenSecret>) -> Environment {
        let container = [
            ("PATH", "/bin"),
            ("DB_PORT", "5432"),
            ("CARDEA_SERVE", "{}"),
            ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
            ("REDIS_SERVICE_HOST", "10.0.0.2"),
            ("REDIS_SERVICE_PORT", "6379"),
        ];
        Environment::new(container.map(|(name, value)| (name.into(), value.into())), secrets, folder)
    }

    #[test]
    fn the_server_sees_what_its_container_has_and_neither_us_nor_the_cluster() {
        let names: Vec<_> = environment(Path::new("/"), Vec::new()).base.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "DB_PORT"]);
    }

    #[test]
    fn values_come_from_the_version_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("token");
        for version in ["..1", "..2"] {
            std::fs::create_dir_all(secret.join(version).join(".env")).unwrap();
            std::fs::write(secret.join(version).join(".env/TOKEN"), version).unwrap();
            std::fs::write(secret.join(version).join("file"), format!("file {version}")).unwrap();
        }
        symlink("..1", secret.join("..data")).unwrap();
        let given = GivenSecret { name: "token".into(), env: vec!["TOKEN".into()], on_rotation: OnRotation::Restart };
        let environment = environment(folder.path(), vec![given]);
        let value = || environment.given().unwrap().remove(0).1.to_vec();
        assert_eq!(value(), b"..1");
        symlink("..2", secret.join("next")).unwrap();
        std::fs::rename(secret.join("next"), secret.join("..data")).unwrap();
        assert_eq!(value(), b"..2");
        let values: Vec<_> = environment.values().iter().map(|value| value.to_vec()).collect();
        assert_eq!(values, [b"..2".to_vec(), b"file ..2".to_vec()]);
        std::fs::remove_file(secret.join("..2/.env/TOKEN")).unwrap();
        let error = environment.given().unwrap_err().to_string();
        assert!(error.contains("token"), "{error}");
    }
}
