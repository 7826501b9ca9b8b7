//! The folders of a fetcher's stores, how one is opened, and how tests read what it gives.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardea_contract::secrets::{Location, Store as Settings, StoreKind, VaultEngine, VaultLogin};
use cardea_secrets::{Lease, Reading, Store, StoreError, Version};
use futures::future::BoxFuture;
use tempfile::TempDir;

/// Name of the only store.
pub(crate) const NAME: &str = "corp";

/// The folder of the stores.
pub(crate) struct Bed {
    folder: Arc<TempDir>,
}

/// A store, and the folder with the identity that it asks with.
struct Identified {
    store: Box<dyn Store>,
    _folder: Arc<TempDir>,
}

impl Store for Identified {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        self.store.version(at)
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        self.store.read(at)
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        self.store.renew(lease)
    }
}

impl Bed {
    /// With this identity.
    pub(crate) fn new(token: &str) -> Self {
        let bed = Self { folder: Arc::new(tempfile::tempdir().unwrap()) };
        std::fs::create_dir(bed.folder.path().join(NAME)).unwrap();
        bed.write("token", token);
        bed
    }

    /// Writes a file of the store's folder as kubelet does, whole or not at all.
    pub(crate) fn write(&self, file: &str, content: &str) {
        let target = self.path(file);
        let half = target.with_extension("half");
        std::fs::write(&half, content).unwrap();
        std::fs::rename(half, target).unwrap();
    }

    /// A file of the store's folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(NAME).join(file)
    }

    pub(crate) async fn open(&self, settings: &Settings) -> Result<Box<dyn Store>, StoreError> {
        let store = cardea_secrets::open(NAME, settings, self.folder.path()).await?;
        Ok(Box::new(Identified { store, _folder: self.folder.clone() }))
    }
}

/// A Vault with the role `app` of the JWT login.
pub(crate) fn vault_at(address: &str) -> Settings {
    Settings {
        kind: StoreKind::Vault {
            address: address.to_owned(),
            namespace: None,
            login: VaultLogin::Jwt,
            login_mount: "jwt".to_owned(),
            role: "app".to_owned(),
        },
        ca_bundle: false,
    }
}

/// A 1Password Connect server.
pub(crate) fn connect_at(url: &str) -> Settings {
    Settings { kind: StoreKind::OnePasswordConnect { url: url.to_owned() }, ca_bundle: false }
}

/// A secret of KV version 2 in `secret/`.
pub(crate) fn kv(path: &str) -> Location {
    at(VaultEngine::KvV2, "secret", path)
}

pub(crate) fn at(engine: VaultEngine, mount: &str, path: &str) -> Location {
    Location::Vault { engine, mount: mount.to_owned(), path: path.to_owned(), version: None }
}

/// An item of 1Password.
pub(crate) fn item(vault: &str, item: &str) -> Location {
    Location::OnePasswordConnect { vault: vault.to_owned(), item: item.to_owned() }
}

/// The value of a key.
pub(crate) fn value(reading: &Reading, key: &str) -> String {
    String::from_utf8(reading.values.value(Some(key)).unwrap().expose().to_vec()).unwrap()
}

/// Why a store gave nothing. (What it gives cannot be shown.)
pub(crate) fn trouble<T>(outcome: Result<T, StoreError>) -> StoreError {
    match outcome {
        Ok(_) => panic!("it was given"),
        Err(error) => error,
    }
}

/// What was given.
pub(crate) fn given<T>(outcome: Result<T, StoreError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{:?}: {error}", error.kind))
}

/// Waits until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
