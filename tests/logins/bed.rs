//! What a login needs around it: the proxy at an address that its clients can reach, and the MCP server behind it. The proxy
//! is that of its own tests.
//!
//! Does not know whose authorization server it trusts.

use std::path::PathBuf;

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;
use crate::support::{World, eventually};

/// The rules: `echo` needs one scope, `deploy` both, nobody may call `hidden`.
pub(crate) const SCOPES: &str = "mcp:read mcp:write";

/// All of it.
pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) server: Server,
    /// The MCP endpoint, its audience and resource indicator.
    pub(crate) resource: String,
    /// Authorities that everybody trusts, and the file with them.
    pub(crate) authorities: String,
    pub(crate) trust: PathBuf,
}

impl Bed {
    /// Starts the proxy, which trusts no issuer yet. `others` are authorities beside its own.
    pub(crate) async fn start(others: &str) -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let world = World::start().await;
        let resource = format!("https://localhost:{}/mcp", world.bound.proxy.port());
        let authorities = format!("{}{others}", world.authority.pem);
        let trust = world.folder.join("authorities.pem");
        std::fs::write(&trust, &authorities)?;
        world.write_leaf(&world.authority.sign(0xabd, "proxy", &["mcp.test", "localhost"]));
        Ok(Self { world, server, resource, authorities, trust })
    }

    /// Puts the configuration in force that trusts this issuer. Its tokens are asked about by this client, if any.
    pub(crate) async fn trust_issuer(&self, url: &str, asker: Option<(&str, &str)>) {
        let mut config = self.world.config.clone();
        let rule = |name: &str, tool: &str, scopes: &[&str]| {
            json!({
                "name": name, "effect": "Allow", "principals": ["anyAuthenticated"], "tools": [tool], "scopes": scopes
            })
        };
        for (member, value) in [
            ("generation", json!(2)),
            ("resource", json!(self.resource)),
            ("hosts", json!([self.resource.trim_start_matches("https://").trim_end_matches("/mcp")])),
            ("upstream", json!({"listens": {"port": self.server.port}, "path": "/mcp"})),
            (
                "rules",
                json!([rule("read", "echo", &["mcp:read"]), rule("write", "deploy", &["mcp:read", "mcp:write"])]),
            ),
        ] {
            config[member] = value;
        }
        let issuer = &mut config["authentication"]["issuers"][0];
        issuer["url"] = json!(url);
        issuer["audiences"] = json!([self.resource]);
        issuer["keys"] = json!("discovery");
        issuer["caBundle"] = json!(self.authorities);
        if let Some((id, secret)) = asker {
            issuer["introspection"] = json!({"clientId": id});
            self.world.write("credentials/introspection", "client-secret", secret);
        }
        self.world.write_config(&config.to_string());
        eventually("the configuration is in force", || async {
            let report = self.world.report().await;
            report["generation"] == 2 && report["leaf"]["serial"] == "0abd"
        })
        .await;
    }

    /// Where the challenges say that the resource's metadata is.
    pub(crate) fn metadata_url(&self) -> String {
        self.resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    }

    pub(crate) fn browser(&self) -> anyhow::Result<Browser> {
        Browser::new(&self.authorities)
    }

    /// Decisions in their order, as `decision method tool reason`, repeated ones once.
    pub(crate) fn decisions(&self) -> Vec<String> {
        let mut decisions: Vec<String> = Vec::new();
        for line in self.world.lines() {
            let words = ["decision", "method", "tool", "reason"].map(|name| line[name].as_str());
            let text = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
            if decisions.last() != Some(&text) {
                decisions.push(text);
            }
        }
        decisions
    }
}

/// Whether nothing that a client sent as proof has reached the server.
pub(crate) fn saw_no_token(server: &Server) -> bool {
    let forbidden = ["authorization", "cookie", "dpop", "proxy-authorization"];
    let seen = server.seen();
    !seen.is_empty() && seen.iter().all(|headers| forbidden.iter().all(|name| !headers.contains_key(*name)))
}
