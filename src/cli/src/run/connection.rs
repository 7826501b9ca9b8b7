//! What a client needs to connect, and what a person should know before the first refusal.

use anyhow::Context as _;
use cardea_contract::{ClientAuth, Effect, PrincipalMatch};
use cardea_operator::validate::ValidatedServer;
use serde_json::{Value, json};

use super::folder::Folder;
use super::local::Local;

/// Prints the client's `.mcp.json`, and beside it the environment that holds its certificates: the format has no place for
/// them.
#[expect(clippy::print_stdout, reason = "the one thing this command prints")]
pub(crate) fn tell(local: &Local, server: &ValidatedServer, folder: &Folder) -> anyhow::Result<()> {
    let document = document(local, server, folder);
    println!("{}", serde_json::to_string_pretty(&document).context("cannot print .mcp.json")?);
    tracing::info!(url = server.resource, "serving; the client's .mcp.json stands on standard output");
    Ok(())
}

fn document(local: &Local, server: &ValidatedServer, folder: &Folder) -> Value {
    let mut entry = json!({"type": "http", "url": server.resource});
    let tokens = !server.authentication.issuers.is_empty() || server.authentication.static_tokens;
    if let (true, Some(entry)) = (tokens, entry.as_object_mut()) {
        entry.insert("headers".into(), json!({"Authorization": "Bearer ${CARDEA_TOKEN}"}));
    }
    let mut environment = json!({"NODE_EXTRA_CA_CERTS": folder.authority()});
    if let (true, Some(environment)) = (server.client_auth != ClientAuth::None, environment.as_object_mut()) {
        let (certificate, key) = folder.client();
        environment.insert("CLAUDE_CODE_CLIENT_CERT".into(), json!(certificate));
        environment.insert("CLAUDE_CODE_CLIENT_KEY".into(), json!(key));
        tracing::info!("the client's certificate is that of {}", local.client);
    }
    json!({"mcpServers": {server.name.as_str(): entry}, "env": environment})
}

/// Says so when nobody, or not this client, could call anything, and what would change that.
pub(crate) fn hint(local: &Local, server: &ValidatedServer) {
    if let Some(advice) = advice(&local.client.to_string(), server) {
        tracing::warn!("{advice}");
    }
}

fn advice(client: &str, server: &ValidatedServer) -> Option<String> {
    let authentication = &server.authentication;
    let tokens = !authentication.issuers.is_empty() || authentication.static_tokens;
    if !tokens && !authentication.client_certificates {
        return Some(
            "nobody can prove who they are, so every call is refused: `spec.auth: {clientCertificates: {}}` would let the client's certificate speak for it"
                .to_owned(),
        );
    }
    let allows: Vec<_> = server.rules.iter().filter(|rule| rule.effect == Effect::Allow).collect();
    if allows.is_empty() {
        let principal = match authentication.client_certificates {
            true => format!("{{spiffeId: \"{client}\"}}"),
            false => "{anyAuthenticated: true}".to_owned(),
        };
        return Some(format!(
            "no rule permits anything, so every call is refused: `spec.access: {{rules: [{{name: all, principals: [{principal}], tools: [\"*\"]}}]}}` would permit every tool"
        ));
    }
    let by_certificate: Vec<&String> = allows
        .iter()
        .flat_map(|rule| &rule.principals)
        .filter_map(|principal| if let PrincipalMatch::SpiffeId(id) = principal { Some(id) } else { None })
        .collect();
    let anybody = allows.iter().any(|rule| rule.principals.contains(&PrincipalMatch::AnyAuthenticated));
    let (false, Some(first)) = (anybody, by_certificate.first()) else { return None };
    (!by_certificate.iter().any(|id| *id == client)).then(|| {
        format!("no rule permits anything to {client}, whose certificate the client has: --as NAMESPACE/NAME makes it another's, for example {first}")
    })
}
