//! What a login needs around it: the proxy at an address that its clients can reach, the MCP server behind it, and one
//! authority for every certificate. The proxy is that of the proxy's own tests.

use std::path::PathBuf;

use serde_json::json;

use crate::browser::{Browser, REDIRECT};
use crate::server::Server;
use crate::support::{Issuer, World, eventually};

/// The rules: `echo` needs one scope, `deploy` both, nobody may call `hidden`.
pub(crate) const SCOPES: &str = "mcp:read mcp:write";

/// All of it.
pub(crate) struct Bed {
    pub(crate) world: World,
    pub(crate) server: Server,
    /// The MCP endpoint, its audience and resource indicator.
    pub(crate) resource: String,
    /// Authorities that everybody trusts.
    pub(crate) trust: PathBuf,
    /// Where clients publish what they are.
    pages: Issuer,
}

impl Bed {
    /// Starts the proxy, which trusts no issuer yet.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let world = World::start().await;
        let resource = format!("https://localhost:{}/mcp", world.bound.proxy.port());
        let pages = Issuer::start().await;
        let leaf = world.authority.sign(7, "issuer", &["localhost", "127.0.0.1"]);
        let trust = world.folder.join("authorities.pem");
        std::fs::write(&trust, format!("{}{}", world.authority.pem, pages.authority.pem))?;
        std::fs::write(world.folder.join("issuer.crt"), &leaf.chain)?;
        std::fs::write(world.folder.join("issuer.key"), &leaf.key)?;
        world.write_leaf(&world.authority.sign(0xabd, "proxy", &["mcp.test", "localhost"]));
        Ok(Self { world, server, resource, trust, pages })
    }

    /// Puts the configuration in force that trusts this issuer.
    pub(crate) async fn trust_issuer(&self, url: &str) {
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
            ("upstream", json!({"port": self.server.port, "path": "/mcp"})),
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
        issuer["caBundle"] = json!(self.world.authority.pem);
        self.world.write_config(&config.to_string());
        eventually("the configuration is in force", || async {
            let report = self.world.report().await;
            report["generation"] == 2 && report["leaf"]["serial"] == "0abd"
        })
        .await;
    }

    /// A client id metadata document that describes the clients of these tests: its URL, which is their client id.
    pub(crate) fn client_document(&self) -> String {
        let url = format!("{}/client.json", self.pages.url);
        let document = json!({
            "client_id": url, "client_name": "logins", "redirect_uris": [REDIRECT], "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none"
        });
        self.pages.page("/client.json", &document.to_string());
        url
    }

    /// Where the challenges say that the resource's metadata is.
    pub(crate) fn metadata_url(&self) -> String {
        self.resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.world.folder.join(name)
    }

    pub(crate) fn browser(&self) -> anyhow::Result<Browser> {
        Browser::new(&self.world.authority.pem)
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
