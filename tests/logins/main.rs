//! Whole logins, without a browser but with everything else: authorization servers of others, MCP clients of others, the
//! proxy between, and a real MCP server behind it.
//!
//! 401 → metadata of the resource → metadata of the authorization server → registration → code, PKCE, resource → call →
//! 403 that asks for more → wider token → call → the token ends → refresh → call.

#![expect(clippy::indexing_slicing, reason = "a JSON value without the member gives null")]

mod bed;
mod browser;
mod client;
mod flow;
mod keycloak;
mod oidc_provider;
mod process;
mod rmcp;
mod server;
#[path = "../proxy/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the proxy's own tests use the rest")]
mod support;
mod tools;

use std::process::ExitCode;
use std::sync::Arc;

use cardea_tests::trials;
use client::Client;
use oidc_provider::Tokens;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tools::Tools;

fn main() -> ExitCode {
    let Ok(runtime) = Runtime::new().map(Arc::new) else { return ExitCode::FAILURE };
    // Another may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let tools = Tools::found();
    let keycloak = Arc::new(OnceCell::new());
    let mut trials = Vec::new();
    for client in [Client::Typescript, Client::Python, Client::Rmcp] {
        for (with_document, means) in [(false, "registers"), (true, "has_a_document")] {
            let name = |issuer: &str| format!("{issuer}::{client:?}_{means}").to_lowercase();
            let missing = tools.missing_for(client);
            let own = tools.clone();
            let trial = trials::trial(&name("oidc_provider"), &runtime, async move || {
                flow::with_oidc_provider(&own, client, with_document, Tokens::Jwt).await
            });
            trials.push(trials::unless(trial, missing.or(tools.missing_oidc_provider())));
            let (own, shared) = (tools.clone(), keycloak.clone());
            let trial = trials::trial(&name("keycloak"), &runtime, async move || {
                flow::with_keycloak(&own, &shared, client, with_document).await
            });
            trials.push(trials::unless(trial, missing.or(tools.missing_keycloak())));
        }
    }
    let own = tools.clone();
    let opaque = trials::trial("oidc_provider::opaque_tokens", &runtime, async move || {
        flow::with_oidc_provider(&own, Client::Rmcp, false, Tokens::Opaque).await
    });
    trials.push(trials::unless(opaque, tools.missing_oidc_provider()));
    trials::conclude(trials, None)
}
