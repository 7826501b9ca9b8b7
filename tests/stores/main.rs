//! Stores of secrets as the fetcher asks them: a real Vault, a double of 1Password Connect that its official client takes for
//! one, and servers that answer as no store should.

#![expect(clippy::indexing_slicing, reason = "a JSON value without the member gives null")]

#[path = "../proxy/support/authority.rs"]
#[allow(dead_code, reason = "the proxy's own tests use the rest")]
mod authority;
mod bad_answers;
mod bed;
mod connect;
mod identity;
mod names;
mod one_password;
mod scripted;
mod vault;
mod vault_leases;
mod vault_logins;
mod vault_outage;
mod vault_versions;
