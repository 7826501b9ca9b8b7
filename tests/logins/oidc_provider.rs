//! The authorization server of npm `oidc-provider`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::bed::{Bed, SCOPES};
use crate::process::Process;

/// Life of an access token in seconds. The proxy allows for clocks that differ by 30 more.
pub(crate) const TOKEN_SECONDS: u64 = 10;

/// The client that may ask about tokens.
pub(crate) const ASKER: &str = "asker";

/// What access tokens look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// Whoever has the keys can verify them.
    Jwt,
    /// Only the server knows what they are worth.
    Opaque,
}

/// The server, which tells what it was asked.
pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    process: Process,
}

impl OidcProvider {
    /// Starts it for this bed's resource. `node` is the folder with its packages, `secret` that of [`ASKER`].
    pub(crate) async fn start(bed: &Bed, node: &Path, tokens: Tokens, secret: &str) -> anyhow::Result<Self> {
        let leaf = bed.world.authority.sign(7, "issuer", &["localhost"]);
        let (certificate, key) = (bed.world.folder.join("issuer.crt"), bed.world.folder.join("issuer.key"));
        std::fs::write(&certificate, &leaf.chain)?;
        std::fs::write(&key, &leaf.key)?;
        let mut command = Command::new(node.join("node"));
        command
            .arg(node.join("oidc-provider.mjs"))
            .env("TLS_CERT", certificate)
            .env("TLS_KEY", key)
            .env("RESOURCE", &bed.resource)
            .env("SCOPES", SCOPES)
            .env("TOKEN_FORMAT", if tokens == Tokens::Jwt { "jwt" } else { "opaque" })
            .env("ASKER_SECRET", secret)
            .env("TOKEN_SECONDS", TOKEN_SECONDS.to_string())
            .env("NODE_EXTRA_CA_CERTS", &bed.trust);
        let mut process = Process::start(&mut command)?;
        let issuer = process.line().await?;
        Ok(Self { issuer, process })
    }

    /// Requests so far, without secrets. Each is told once.
    pub(crate) fn asked(&mut self) -> Vec<Value> {
        self.process.printed().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
