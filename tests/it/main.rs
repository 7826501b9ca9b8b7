//! Tests that need no cluster: what is generated, what is built, and what the house promises of itself.

#![cfg(test)]

mod architecture;
mod crds;
mod golden;
mod refused;
