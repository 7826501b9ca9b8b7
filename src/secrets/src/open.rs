//! Makes the store that a contract describes. It asks the store for nothing yet, so a store that is down can be opened.
//!
//! Does not know what is asked of it later.

use std::path::Path;
use std::sync::Arc;

use cardea_contract::secrets::{self as contract, StoreKind, TroubleKind};

use crate::https::Https;
use crate::identity::{Identity, authorities};
use crate::one_password::OnePassword;
use crate::store::{Store, StoreError};
use crate::vault::Vault;

/// What every store is made with.
pub(crate) struct Means {
    /// As whom it is asked.
    pub(crate) identity: Identity,
    /// The way out to it, with the authorities of its own.
    pub(crate) https: Arc<Https>,
}

/// The store of this name. `folder` is [`STORES_DIR`](cardea_contract::pod::STORES_DIR): the identity and the authorities are in the folder `name`
/// in it, and the identity is read anew whenever it is used.
///
/// # Errors
/// When its settings cannot be used, when its authorities cannot be read, or when this program is built without it.
pub async fn open(name: &str, store: &contract::Store, folder: &Path) -> Result<Box<dyn Store>, StoreError> {
    let folder = folder.join(name);
    let further = if store.ca_bundle { Some(authorities(&folder).await?) } else { None };
    let https = Https::new(further.as_deref()).map_err(|error| {
        StoreError::new(TroubleKind::Unusable, format!("the store {name} cannot be asked: {error}"))
    })?;
    let means = Means { identity: Identity::of(&folder), https: Arc::new(https) };
    match &store.kind {
        StoreKind::Vault { address, namespace, login: _, login_mount, role } => {
            Ok(Box::new(Vault::new(address, namespace.as_deref(), login_mount, role, means)?))
        }
        StoreKind::OnePasswordConnect { url } => Ok(Box::new(OnePassword::new(url, means)?)),
        kind @ (StoreKind::AwsSecretsManager { .. }
        | StoreKind::GcpSecretManager { .. }
        | StoreKind::AzureKeyVault { .. }) => Err(not_built(name, kind)),
    }
}

/// Released programs have every store; one that was built for few says so.
fn not_built(name: &str, kind: &StoreKind) -> StoreError {
    let kind = kind.name();
    StoreError::new(
        TroubleKind::Unusable,
        format!(
            "this program is built without the kind of the store {name} ({kind}): use the released image, or build it with the feature of that kind"
        ),
    )
}
