//! One look at a place in a store: as cheap a question as what is known of it allows. Knows no clock.

use std::sync::Arc;

use cardea_contract::secrets::{Location, TroubleKind};

use crate::store::{Lease, Reading, Store, StoreError, Version};

/// What is known of a place when a look at it begins.
#[derive(Default)]
pub(super) struct Known {
    /// The version that was read last, if the store has versions.
    pub(super) version: Option<Version>,
    /// The lease that is to be prolonged.
    pub(super) lease: Option<Arc<Lease>>,
}

/// What a look found.
pub(super) enum Found {
    /// The version is still the one that is known.
    Same,
    /// The lease lasts longer.
    Renewed(Lease),
    /// Values, which may be those of before where the store has no versions.
    Read(Reading),
}

/// Looks. Values are read once at most, and only if nothing cheaper says that they are the same.
pub(super) async fn look(store: &dyn Store, at: &Location, known: &Known) -> Result<Found, StoreError> {
    if let Some(lease) = &known.lease {
        match store.renew(lease).await {
            Ok(lease) => return Ok(Found::Renewed(lease)),
            Err(error) if error.is_retryable() => return Err(error),
            // It has ended, or may not be prolonged: others are to be had.
            Err(_) => {}
        }
    } else if let Some(version) = &known.version {
        match store.version(at).await {
            Ok(Some(now)) if now == *version => return Ok(Found::Same),
            Ok(_) => {}
            // Who may read values need not have the right to read of their versions.
            Err(error) if error.kind == TroubleKind::Refused => {}
            Err(error) => return Err(error),
        }
    }
    store.read(at).await.map(Found::Read)
}
