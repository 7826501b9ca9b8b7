//! External stores of secrets: one trait, a file for each store, and when to look again.
//!
//! Knows nothing of Kubernetes, of files that values end up in, or of the server that needs them.

mod answer;
mod https;
mod identity;
mod members;
mod open;
mod store;
mod value;

pub use open::open;
pub use store::{Lease, Reading, Store, StoreError, Version};
pub use value::{Value, Values};
