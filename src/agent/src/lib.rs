//! Beside the server: its secrets fetched from their stores (a sidecar of its own, so that the identity for a store never
//! is where the server is), the server started and watched over, its stdio bridged.
//!
//! Knows nothing of Kubernetes: what it is told stands in its environment, and it holds no rights there.

pub mod check;
pub mod fetch;
pub mod harden;
pub mod install;
pub mod serve;
