//! Stores that are opened when they are first asked, so that one that cannot be opened says so as one that is down does:
//! in what is reported of its secrets, and again until it can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardea_contract::secrets::{self as contract, Location, SecretsConfig};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;

use crate::open::open;
use crate::store::{Lease, Reading, Store, StoreError, Version};

/// The stores of a configuration, by name. `folder` is [`STORES_DIR`](cardea_contract::pod::STORES_DIR).
pub fn lazily(config: &SecretsConfig, folder: &Path) -> BTreeMap<String, Arc<dyn Store>> {
    let store = |(name, contract): (&String, &contract::Store)| {
        let (contract, folder) = (contract.clone(), folder.to_owned());
        let store = Lazily { name: name.clone(), contract, folder, opened: OnceCell::new() };
        (name.clone(), Arc::new(store) as Arc<dyn Store>)
    };
    config.stores.iter().map(store).collect()
}

struct Lazily {
    name: String,
    contract: contract::Store,
    folder: PathBuf,
    opened: OnceCell<Box<dyn Store>>,
}

impl Lazily {
    async fn opened(&self) -> Result<&dyn Store, StoreError> {
        let store = self.opened.get_or_try_init(|| open(&self.name, &self.contract, &self.folder)).await?;
        Ok(store.as_ref())
    }
}

impl Store for Lazily {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        async { self.opened().await?.version(at).await }.boxed()
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        async { self.opened().await?.read(at).await }.boxed()
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        async { self.opened().await?.renew(lease).await }.boxed()
    }
}
