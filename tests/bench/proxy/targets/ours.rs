//! `cardea-proxy`, as plain as it can be configured and with everything on.

use std::path::Path;

use serde_json::{Value, json};

use super::{Refuses, Target, log_to, plain_way, text};
use crate::material::{HOST, ISSUER, Material, RESOURCE, TRUST_DOMAIN};
use crate::rules;
use crate::running::{Running, free_port};
use crate::work::Way;

/// What cannot be switched off stays on: TLS, an identity (here the certificate's), the strict reading, a decision, the
/// watch for stray lists and the signed identity for the server.
pub(super) fn plain(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    let config = json!({
        "authentication": {"clientCertificates": true, "issuers": []},
        "rules": [{"name": "all", "effect": "Allow", "principals": ["anyAuthenticated"], "tools": ["*"]}],
        "audit": "None",
    });
    let target = start("ours-plain", program, material, upstream, config)?;
    Ok(Target {
        does: "cardea-proxy as plain as it gets: mTLS, identity by certificate, one rule, no audit",
        refuses: Refuses::Strangers,
        shown: rules::all(),
        log: None,
        ..target
    })
}

pub(super) fn everything(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    let rules: Vec<Value> = rules::rules()
        .iter()
        .map(|rule| {
            json!({
                "name": rule.name, "effect": "Allow", "tools": rule.tools,
                "arguments": [{"path": "/text", "size": {"min": 1, "max": 1024}}],
                "principals": [{"group": {"name": rule.group, "issuer": "corp"}}],
            })
        })
        .collect();
    let config = json!({
        "authentication": {"clientCertificates": false, "issuers": [{
            "name": "corp", "url": ISSUER, "audiences": [RESOURCE],
            "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}},
            "keys": {"inline": {"jwks": material.keys}},
        }]},
        "rules": rules,
        "audit": "Decisions",
    });
    let target = start("ours-everything", program, material, upstream, config)?;
    let token = Some(material.token(&[RESOURCE])?);
    Ok(Target { way: Way { token, ..target.way }, ..target })
}

fn start(
    name: &'static str,
    program: &Path,
    material: &Material,
    upstream: u16,
    mut config: Value,
) -> anyhow::Result<Target> {
    let (port, admin) = (free_port()?, free_port()?);
    let common = json!({
        "generation": 1, "namespace": "bench", "name": "upstream", "resource": RESOURCE, "hosts": [HOST],
        "trustDomain": TRUST_DOMAIN, "operator": format!("spiffe://{TRUST_DOMAIN}/ns/cardea-system/sa/cardea-operator"),
        "upstream": {"listens": {"port": upstream}, "path": "/mcp"}, "clientAuth": "Required",
        "limits": {"maxBodyBytes": 1 << 20, "requestSeconds": 60, "concurrent": 4096},
    });
    if let (Some(config), Value::Object(common)) = (config.as_object_mut(), common) {
        config.extend(common);
    }
    let folder = material.path(name);
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("proxy.json");
    std::fs::write(&file, config.to_string())?;
    let log = material.path(&format!("{name}.log"));
    let arguments = [
        "--config-file",
        &text(&file),
        "--tls-dir",
        &text(&material.path("tls")),
        "--trust-dir",
        &text(&material.path("trust")),
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--admin-listen",
        &format!("127.0.0.1:{admin}"),
        "--log",
        "warn",
    ];
    let errors = Some(material.path(&format!("{name}.errors")));
    let mut process = Running::start(program, &arguments, log_to(&log)?, errors)?;
    process.answers(([127, 0, 0, 1], port).into())?;
    Ok(Target {
        name,
        does: "cardea-proxy: mTLS, ES256 token, 50 rules with a condition each, filtered lists, a line of audit for each call",
        process,
        way: Way { tls: Some(material.tls()), ..plain_way(port) },
        refuses: Refuses::ByStatus,
        shown: rules::shown(),
        streams: true,
        log: Some(log),
    })
}
