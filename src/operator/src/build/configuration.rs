//! The proxy's configuration file.

use cardea_contract::{ProxyConfig, pod};
use cardea_pki::SpiffeId;
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::validate::ValidatedServer;

/// The file, to the byte.
pub(super) fn file(server: &ValidatedServer, installation: &Installation) -> String {
    let hosts = installation.service_names(&server.namespace, &server.name);
    let hosts = hosts.into_iter().flat_map(|host| [format!("{host}:443"), host]).collect();
    json!(configuration(server, hosts, &installation.operator_id())).to_string()
}

pub(super) fn data(file: &str) -> Value {
    let name = pod::CONFIG_FILE.rsplit('/').next().unwrap_or_default();
    json!({"data": {name: file}})
}

/// What the proxy is told of a server that is reached under `hosts`, and which `operator` may ask how it is.
pub fn configuration(server: &ValidatedServer, hosts: Vec<String>, operator: &SpiffeId) -> ProxyConfig {
    ProxyConfig {
        generation: server.generation,
        namespace: server.namespace.clone(),
        name: server.name.clone(),
        resource: server.resource.clone(),
        hosts,
        trust_domain: operator.trust_domain().as_str().to_owned(),
        operator: operator.to_string(),
        upstream: server.upstream.clone(),
        identity_headers: server.identity_headers.clone(),
        client_auth: server.client_auth,
        authentication: server.authentication.clone(),
        rules: server.rules.clone(),
        policies: server.policies.clone(),
        pinning: server.pinning.clone(),
        limits: server.limits,
        audit: server.audit,
        redact: server.redact.clone(),
    }
}
