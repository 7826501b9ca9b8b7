//! The proxy's configuration file.

use cardea_contract::{ProxyConfig, pod};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::validate::ValidatedServer;

pub(super) fn data(server: &ValidatedServer, installation: &Installation) -> Value {
    let file = pod::CONFIG_FILE.rsplit('/').next().unwrap_or_default();
    json!({"data": {file: json!(configuration(server, installation)).to_string()}})
}

fn configuration(server: &ValidatedServer, installation: &Installation) -> ProxyConfig {
    ProxyConfig {
        generation: server.generation,
        namespace: server.namespace.clone(),
        name: server.name.clone(),
        resource: server.resource.clone(),
        hosts: installation
            .service_names(&server.namespace, &server.name)
            .into_iter()
            .flat_map(|host| [format!("{host}:443"), host])
            .collect(),
        trust_domain: installation.trust_domain.as_str().to_owned(),
        operator: installation.operator_id().to_string(),
        upstream: server.upstream.clone(),
        identity_headers: server.identity_headers.clone(),
        client_auth: server.client_auth,
        authentication: server.authentication.clone(),
        rules: server.rules.clone(),
        limits: server.limits,
        audit: server.audit,
        redact: server.redact.clone(),
    }
}
