//! What several test binaries share: the operator as a process, waiting for a condition, reading the API server's audit
//! log, giving images to a node, saying by name what could not run, and what a process costs.

pub mod audit;
pub mod client_pod;
pub mod cluster;
pub mod images;
pub mod kubectl;
pub mod operator;
pub mod others;
pub mod plan;
pub mod process;
pub mod refused;
pub mod trials;
