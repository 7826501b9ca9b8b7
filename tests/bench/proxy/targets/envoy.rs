//! Envoy, plain and with all it has for MCP.
//!
//! Its RBAC filter reads what the MCP filter found under `envoy.filters.http.mcp`. Under any other name it lets everything
//! through in silence, which is why each target is asked for what it must refuse before it is measured.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{Refuses, Target, plain_way, text};
use crate::material::{ISSUER, Material, RESOURCE};
use crate::rules;
use crate::running::{Running, free_port};
use crate::work::Way;

const MCP: &str = "envoy.filters.http.mcp";
const JWT: &str = "envoy.filters.http.jwt_authn";
/// Worker threads: as many as ours has.
const THREADS: &str = "2";

pub(super) fn plain(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    let target = start("envoy-plain", program, material, upstream, None, vec![], None)?;
    Ok(Target {
        does: "Envoy, pass-through, plain HTTP, no access log",
        refuses: Refuses::Nothing,
        shown: rules::all(),
        ..target
    })
}

pub(super) fn everything(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    let log = material.path("envoy-everything.log");
    let file = |name: &str| json!({"filename": text(&material.path(name))});
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{"certificate_chain": file("tls/tls.crt"), "private_key": file("tls/tls.key")}],
                "validation_context": {"trusted_ca": file("trust/ca.crt")},
            },
        },
    });
    let filters = vec![jwt(material), mcp(), rbac()];
    let target =
        start("envoy-everything", program, material, upstream, Some(tls), filters, Some(access_log(&text(&log))))?;
    let token = Some(material.token(&[RESOURCE])?);
    Ok(Target {
        does: "Envoy: mTLS, JWT filter, MCP filter, RBAC by tool name with 50 rules, access log",
        way: Way { tls: Some(material.tls()), token, ..target.way },
        refuses: Refuses::ByStatus,
        log: Some(log),
        ..target
    })
}

fn jwt(material: &Material) -> Value {
    json!({"name": JWT, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"corp": {
            "issuer": ISSUER, "audiences": [RESOURCE], "local_jwks": {"inline_string": material.keys.to_string()},
            "payload_in_metadata": "payload",
            // Ours remembers what it has verified, so this one may too.
            "jwt_cache_config": {"jwt_cache_size": 1000},
        }},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "corp"}}],
    }})
}

fn mcp() -> Value {
    json!({"name": MCP, "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.mcp.v3.Mcp",
        "traffic_mode": "REJECT_NO_MCP",
    }})
}

fn rbac() -> Value {
    let mut policies = serde_json::Map::new();
    let asks = |method: &[&str]| found_by_mcp(&["method"], method);
    policies.insert(
        "a-session".into(),
        json!({
            "permissions": [asks(&["initialize", "notifications/initialized", "tools/list"])],
            "principals": [{"any": true}],
        }),
    );
    for rule in rules::rules() {
        let tools: Vec<&str> = rule.tools.iter().map(String::as_str).collect();
        let member = json!({"list_match": {"one_of": {"string_match": {"exact": rule.group}}}});
        let groups = json!({"filter": JWT, "path": [{"key": "payload"}, {"key": "groups"}], "value": member});
        policies.insert(
            rule.name,
            json!({
                "permissions": [{"and_rules": {"rules": [asks(&["tools/call"]), found_by_mcp(&["params", "name"], &tools)]}}],
                "principals": [{"sourced_metadata": {"metadata_matcher": groups}}],
            }),
        );
    }
    json!({"name": "envoy.filters.http.rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"action": "ALLOW", "policies": policies},
    }})
}

fn found_by_mcp(path: &[&str], values: &[&str]) -> Value {
    let path: Vec<_> = path.iter().map(|key| json!({"key": key})).collect();
    let values: Vec<_> = values.iter().map(|value| json!({"string_match": {"exact": value}})).collect();
    // It takes no choice of one.
    let value = match values.as_slice() {
        [only] => only.clone(),
        _ => json!({"or_match": {"value_matchers": values}}),
    };
    let matcher = json!({"filter": MCP, "path": path, "value": value});
    json!({"sourced_metadata": {"metadata_matcher": matcher}})
}

fn access_log(path: &str) -> Value {
    json!({"name": "envoy.access_loggers.file", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": path,
        "log_format": {"json_format": {
            "time": "%START_TIME%", "status": "%RESPONSE_CODE%", "details": "%RESPONSE_CODE_DETAILS%",
            "subject": format!("%DYNAMIC_METADATA({JWT}:payload:sub)%"),
            "method": format!("%DYNAMIC_METADATA({MCP}:method)%"),
            "tool": format!("%DYNAMIC_METADATA({MCP}:params:name)%"),
            "peer": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "request": "%REQ(X-REQUEST-ID)%",
        }},
    }})
}

fn start(
    name: &'static str,
    program: &Path,
    material: &Material,
    upstream: u16,
    tls: Option<Value>,
    mut filters: Vec<Value>,
    access_log: Option<Value>,
) -> anyhow::Result<Target> {
    let port = free_port()?;
    let at = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": {"@type": router}}));
    // Streams must not be cut, nor a thousand of them be refused.
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}});
    let enough = json!({"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096});
    let mut chain = json!({"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "mcp",
            "http_filters": filters,
            "access_log": access_log.into_iter().collect::<Vec<_>>(),
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        },
    }]});
    if let (Some(tls), Some(chain)) = (tls, chain.as_object_mut()) {
        chain.insert("transport_socket".into(), tls);
    }
    let endpoint = json!({"endpoint": {"address": at(upstream)}});
    let config = json!({"static_resources": {
        "listeners": [{"name": "mcp", "address": at(port), "filter_chains": [chain]}],
        "clusters": [{
            "name": "upstream", "connect_timeout": "2s", "type": "STATIC",
            "circuit_breakers": {"thresholds": [enough]},
            "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }],
    }});
    let file = material.write(&format!("{name}.json"), &config.to_string())?;
    let arguments = ["-c", &text(&file), "--concurrency", THREADS, "--disable-hot-restart", "-l", "warning"];
    let errors = Some(material.path(&format!("{name}.errors")));
    let mut process = Running::start(program, &arguments, Stdio::null(), errors)?;
    process.answers(([127, 0, 0, 1], port).into())?;
    Ok(Target {
        name,
        does: "",
        process,
        way: plain_way(port),
        refuses: Refuses::Nothing,
        shown: rules::all(),
        streams: true,
        log: None,
    })
}
