//! What every store can be asked, and how it says no.

use std::time::Duration;

use cardea_contract::secrets::{Location, TroubleKind};
use futures::future::BoxFuture;

use crate::value::Values;

/// A store's own word for a version: a number, an id. Says nothing of the values.
pub type Version = String;

/// A store of secrets, reached as the pod's identity.
pub trait Store: Send + Sync {
    /// The version that [`Store::read`] would give, asked for without the values; none where the store has no cheaper way
    /// than reading.
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>>;

    /// The values.
    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>>;

    /// The same lease for longer. Only stores that hand out leases are asked.
    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>>;
}

/// What was read.
pub struct Reading {
    /// The values.
    pub values: Values,
    /// Their version, if the store has versions.
    pub version: Option<Version>,
    /// How long they are good for, if the store says.
    pub lease: Option<Lease>,
}

/// How long values are good for. Its id can end them, so it is no less secret than they are.
pub struct Lease {
    /// Id of the lease.
    pub id: zeroize::Zeroizing<String>,
    /// From when it was given.
    pub lasts: Duration,
    /// Whether it can be prolonged.
    pub renewable: bool,
}

/// Why a store gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What kind of failure.
    pub kind: TroubleKind,
    /// What is wrong and what helps, one sentence that names what was asked for; nothing that the store sent but a status
    /// code, and no value.
    pub message: String,
    /// How long the store asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl StoreError {
    /// A failure of this kind.
    pub fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    /// Whether trying again helps although nobody changes anything.
    pub fn is_retryable(&self) -> bool {
        self.kind == TroubleKind::Unavailable
    }
}
