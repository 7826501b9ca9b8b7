//! The MCP clients that log in: those of three SDKs, each as its documents say a client is written. All do the same: list,
//! call, call what needs a wider token, and go on until the token is another one.

use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::browser::REDIRECT;
use crate::process::Process;
use crate::rmcp;
use crate::support::Issuer;
use crate::tools::{Tools, fixture};

/// A client id metadata document that describes these clients, published there: its URL, which is their client id. It names
/// no scopes, so it holds nobody to those of a first challenge.
pub(crate) fn document(pages: &Issuer) -> String {
    let url = format!("{}/client.json", pages.url);
    let document = json!({
        "client_id": url, "client_name": "logins", "redirect_uris": [REDIRECT], "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none"
    });
    pages.page("/client.json", &document.to_string());
    url
}

/// What a client saw.
pub(crate) struct Story {
    /// Answers of the MCP server's side, as far as the SDK lets them be seen.
    pub(crate) saw: Vec<Value>,
    /// The final results.
    pub(crate) done: Value,
}

/// Whose client it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    Typescript,
    Python,
    Rmcp,
}

impl Client {
    /// Does all that a client does. Without a document it registers. `before_login` comes before each page that it opens.
    pub(crate) async fn run(
        self,
        bed: &Bed,
        tools: &Tools,
        document: Option<&str>,
        before_login: &impl AsyncFn() -> anyhow::Result<()>,
    ) -> anyhow::Result<Story> {
        match self {
            Self::Typescript => program(bed, typescript(bed, tools)?, document, before_login).await,
            Self::Python => program(bed, python(bed, tools)?, document, before_login).await,
            Self::Rmcp => rmcp::run(bed, document, before_login).await,
        }
    }
}

fn typescript(bed: &Bed, tools: &Tools) -> anyhow::Result<Command> {
    let node = tools.node.as_deref().context("no Node")?;
    let mut command = Command::new(node.join("node"));
    command.arg(node.join("typescript.mjs")).env("NODE_EXTRA_CA_CERTS", &bed.trust);
    Ok(command)
}

fn python(bed: &Bed, tools: &Tools) -> anyhow::Result<Command> {
    let packages = tools.python.as_deref().context("no Python")?;
    let mut command = Command::new("python3");
    command.arg(fixture("python.py")).env("PYTHONPATH", packages).env("SSL_CERT_FILE", &bed.trust);
    Ok(command)
}

async fn program(
    bed: &Bed,
    mut command: Command,
    document: Option<&str>,
    before_login: &impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Story> {
    command.env("SERVER", &bed.resource).env("REDIRECT", REDIRECT);
    if let Some(url) = document {
        command.env("CLIENT_METADATA_URL", url);
    }
    let mut browser = bed.browser()?;
    let mut process = Process::start(&mut command)?;
    let mut saw = Vec::new();
    loop {
        let line = process.line().await.with_context(|| format!("after {saw:?}"))?;
        let told: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        if let Some(url) = told["open"].as_str() {
            before_login().await?;
            process.answer(&browser.log_in(url).await?)?;
        } else if told["done"].is_object() {
            return Ok(Story { saw, done: told["done"].clone() });
        } else {
            saw.push(told);
        }
    }
}
