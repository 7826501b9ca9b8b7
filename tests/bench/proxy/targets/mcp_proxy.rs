//! The `mcp-proxy` crate. It has no TLS, keeps sessions of its own and reads each answer whole, so no stream is measured.

use std::path::Path;
use std::process::Stdio;

use super::{Refuses, Target, plain_way, text};
use crate::material::{ISSUER, Material};
use crate::rules;
use crate::running::{Running, free_port};
use crate::work::Way;

/// Audience of its tokens.
const AUDIENCE: &str = "mcp-proxy";

pub(super) fn plain(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    start("mcp-proxy-plain", program, material, upstream, "")
}

/// One role stands for the fifty rules: a caller has one role there.
pub(super) fn token(program: &Path, material: &Material, upstream: u16) -> anyhow::Result<Target> {
    let own = rules::rules().pop().map(|rule| rule.tools).unwrap_or_default();
    let tools: Vec<_> = own.iter().map(|tool| format!("\"up/{tool}\"")).collect();
    let auth = format!(
        r#"
[auth]
type = "jwt"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks_uri = "http://127.0.0.1:{upstream}/keys"
[[auth.roles]]
name = "callers"
allow_tools = [{}]
[auth.role_mapping]
claim = "scope"
default_deny = true
mapping = {{ "mcp:callers" = "callers" }}
[security]
admin_token = "nobody-uses-this-one"
"#,
        tools.join(", ")
    );
    let target = start("mcp-proxy-token", program, material, upstream, &auth)?;
    // It wants its own address among the audiences too.
    let address = format!("http://{}", target.way.address);
    let token = Some(material.token(&[AUDIENCE, &address, &format!("{address}/")])?);
    Ok(Target {
        does: "mcp-proxy, plain HTTP: token checked, one role with its tools",
        way: Way { token, ..target.way },
        refuses: Refuses::InAnswer,
        shown: own.len(),
        ..target
    })
}

fn start(name: &'static str, program: &Path, material: &Material, upstream: u16, auth: &str) -> anyhow::Result<Target> {
    let port = free_port()?;
    let config = format!(
        r#"
[proxy]
name = "bench"
version = "1.0.0"
separator = "/"
[proxy.listen]
host = "127.0.0.1"
port = {port}
[[backends]]
name = "up"
transport = "http"
url = "http://127.0.0.1:{upstream}/mcp"
[observability]
log_level = "warn"
{auth}"#
    );
    let file = material.write(&format!("{name}.toml"), &config)?;
    let errors = Some(material.path(&format!("{name}.errors")));
    let mut process = Running::start(program, &["--config", &text(&file)], Stdio::null(), errors)?;
    process.answers(([127, 0, 0, 1], port).into())?;
    Ok(Target {
        name,
        does: "mcp-proxy, pass-through, plain HTTP",
        process,
        way: Way { host: format!("127.0.0.1:{port}"), path: "/".into(), prefix: "up/".into(), ..plain_way(port) },
        refuses: Refuses::Nothing,
        shown: rules::all(),
        streams: false,
        log: None,
    })
}
