//! External stores of secrets: one trait, a file for each store, and when to look again.
//!
//! Knows nothing of Kubernetes, of files that values end up in, or of the server that needs them.

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod alphabet;
mod answer;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "azure")]
mod azure;
mod check;
mod codes;
#[cfg(feature = "gcp")]
mod gcp;
mod https;
mod identity;
mod lazily;
mod members;
mod one_password;
mod open;
mod path;
mod refresh;
mod store;
mod value;
mod vault;

pub use check::{Finding, check};
pub use codes::{Code, Codes};
pub use lazily::lazily;
pub use open::open;
pub use refresh::{Recipient, Refresh, UnknownStore};
pub use store::{Lease, Reading, Store, StoreError, Version};
pub use value::{Value, Values};
