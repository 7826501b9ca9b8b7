//! As whom a store is asked, and what its folder holds: the token that stands in a file and is exchanged by others while
//! this runs, and the further authorities.

use std::io;
use std::path::{Path, PathBuf};

use cardea_contract::pod;
use cardea_contract::secrets::TroubleKind;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::store::StoreError;

/// Longest token.
const MAX_TOKEN: usize = 64 << 10;
/// Largest bundle of authorities.
const MAX_AUTHORITIES: usize = 1 << 20;

/// The file with the identity for one store. It is read for every use: what rotates it tells nobody.
pub(crate) struct Identity {
    /// Where it is, for clients that read it by themselves.
    pub(crate) path: PathBuf,
}

impl Identity {
    /// Of the store of this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { path: folder.join(pod::STORE_TOKEN) }
    }

    /// The token as it is now, without the white space around it.
    pub(crate) async fn token(&self) -> Result<Zeroizing<String>, StoreError> {
        let bytes = bounded(&self.path, MAX_TOKEN).await.map_err(|error| {
            let (path, kind) = (self.path.display(), error.kind());
            StoreError::new(
                TroubleKind::Unavailable,
                format!(
                    "the identity for the store cannot be read ({path}: {kind}): check the volume that is mounted there"
                ),
            )
        })?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let path = self.path.display();
            return Err(StoreError::new(
                TroubleKind::Unusable,
                format!("the identity for the store is no token ({path}): it must hold one, and nothing else"),
            ));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// The further authorities of the store of this folder (PEM).
pub(crate) async fn authorities(folder: &Path) -> Result<Vec<u8>, StoreError> {
    let path = folder.join(pod::STORE_CA);
    let bytes = bounded(&path, MAX_AUTHORITIES).await.map_err(|error| {
        let (path, kind) = (path.display(), error.kind());
        StoreError::new(TroubleKind::Unavailable, format!("the store's caBundle cannot be read ({path}: {kind})"))
    })?;
    Ok(bytes.to_vec())
}

async fn bounded(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = tokio::fs::File::open(path).await?;
    // Never grown, so that no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    file.take(most as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
