//! External stores of secrets: one trait, a file for each store, and when to look again.
//!
//! Knows nothing of Kubernetes, of files that values end up in, or of the server that needs them.

mod codes;
mod refresh;
mod selection;
mod store;
mod value;

pub use codes::{Code, Codes};
pub use refresh::{Recipient, Refresh, UnknownStore};
pub use selection::{MAX_VALUE, Unfit};
pub use store::{Lease, Reading, Store, StoreError, Version};
pub use value::{Value, Values};
