//! The proxy from outside: real TLS, real tokens, a server double behind it that tells what it saw.
//!
//! Knows the proxy by its ports and files only.

#![cfg(test)]

mod support;

mod admin;
mod allowances;
mod anonymous;
mod attacks;
mod audit;
mod canaries;
mod certificates;
mod challenges;
mod claims;
mod conditions;
mod doors;
mod ends;
mod examples;
mod identity;
mod introspection;
mod keys;
mod laggards;
mod leases;
mod limits;
mod lists;
mod logins;
mod messages;
mod mirrors;
mod pinning;
mod reload;
mod report;
mod requests;
mod resources;
mod sessions;
#[cfg(feature = "otel")]
mod spans;
mod static_tokens;
mod streams;
mod tokens;
mod two_endpoints;
