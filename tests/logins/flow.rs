//! One login, and what must have happened, told by four witnesses: the client, the authorization server, the proxy's audit
//! lines and the MCP server.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::bed::{Bed, saw_no_token};
use crate::client::{self, Client, Story};
use crate::keycloak::Keycloak;
use crate::oidc_provider::{ASKER, OidcProvider, Tokens};
use crate::support::Issuer;
use crate::tools::Tools;

/// A client against the authorization server of npm `oidc-provider`, with a metadata document or registered.
pub(crate) async fn with_oidc_provider(
    tools: &Tools,
    client: Client,
    with_document: bool,
    tokens: Tokens,
) -> anyhow::Result<()> {
    let pages = Issuer::start().await;
    let bed = Bed::start(&pages.authority.pem).await?;
    let (node, secret) = (tools.node.as_deref().context("no Node")?, "a secret of the asker's own");
    let mut issuer = OidcProvider::start(&bed, node, tokens, secret).await?;
    let opaque = tokens == Tokens::Opaque;
    bed.trust_issuer(&issuer.issuer, opaque.then_some((ASKER, secret))).await;
    let document = with_document.then(|| client::document(&pages));
    let story = client.run(&bed, tools, document.as_deref(), &async || Ok(())).await;
    let asked = issuer.asked();
    let told = || format!("{asked:#?}");
    let story = story.with_context(|| format!("{}\n{:#?}", told(), bed.decisions()))?;
    check(&bed, &story)?;

    let registered = asked.iter().any(|request| request["path"] == "/reg" && request["status"] == 201);
    ensure!(registered != with_document, "{}", told());
    let pages: Vec<_> = asked.iter().filter(|request| request["path"] == "/auth").collect();
    ensure!(pages.len() >= 2, "{}", told());
    for page in &pages {
        ensure!(page["code_challenge_method"] == "S256" && page["resource"] == bed.resource, "{}", told());
        ensure!(document.as_ref().is_none_or(|url| page["client_id"] == url.as_str()), "{}", told());
    }
    let has = |page: &Value, scope| page["scope"].as_str().unwrap_or_default().split(' ').any(|s| s == scope);
    ensure!(has(pages[0], "mcp:read") && !has(pages[0], "mcp:write"), "the least first: {}", told());
    ensure!(pages.iter().any(|page| has(page, "mcp:read") && has(page, "mcp:write")), "{}", told());
    let answered = |path: &'static str| asked.iter().filter(move |it| it["path"] == path && it["status"] == 200);
    let grants = |name: &str| answered("/token").filter(|request| request["grant_type"] == name).count();
    ensure!(grants("authorization_code") == 2 && grants("refresh_token") >= 1, "{}", told());
    // Of opaque tokens nobody else can say anything; those of the other kind are nobody else's business.
    let questions = answered("/token/introspection").count();
    let known = |line: &&Value| line["event"] == "Decision" && line["subject"].is_string();
    let decided = bed.world.lines().iter().filter(known).count();
    ensure!(if opaque { questions >= decided } else { questions == 0 }, "{questions} for {decided}: {}", told());
    Ok(())
}

/// A client against a realm of Keycloak's, likewise.
pub(crate) async fn with_keycloak(
    tools: &Tools,
    keycloak: &OnceCell<Keycloak>,
    client: Client,
    with_document: bool,
) -> anyhow::Result<()> {
    let built = tools.keycloak.as_deref().context("no Keycloak")?;
    let keycloak = keycloak.get_or_try_init(|| Keycloak::start(built)).await?;
    let bed = Bed::start(&keycloak.authorities).await?;
    let name = format!("{client:?}{}", if with_document { "-document" } else { "" }).to_lowercase();
    let realm = keycloak.realm(&bed, &name).await?;
    bed.trust_issuer(&realm.issuer, None).await;
    let document = with_document.then(|| client::document(&keycloak.pages));
    let story = client.run(&bed, tools, document.as_deref(), &async || realm.widen_registered_clients().await).await;
    let events = realm.events().await?;
    let told = || format!("{events:#?}");
    let story = story.with_context(|| format!("{}\n{:#?}", told(), bed.decisions()))?;
    check(&bed, &story)?;

    let count = |kind: &str| events.iter().filter(|(happened, _)| happened == kind).count();
    // A client with a document is taken in as one that registers, under its URL.
    ensure!(count("CLIENT_REGISTER") == 1, "{}", told());
    ensure!(count("CODE_TO_TOKEN") == 2 && count("REFRESH_TOKEN") >= 1, "{}", told());
    let tokens = events.iter().filter(|(happened, _)| happened == "CODE_TO_TOKEN");
    let ours = |client: &str| document.as_deref().is_none_or(|url| client == url);
    ensure!(tokens.clone().all(|(_, client)| ours(client)), "{}", told());
    Ok(())
}

/// What holds for every client and every authorization server.
fn check(bed: &Bed, story: &Story) -> anyhow::Result<()> {
    let expected =
        json!({"tools": ["deploy", "echo"], "echo": "echo done", "deploy": "deploy done", "again": "deploy done"});
    ensure!(story.done == expected, "{}", story.done);

    let decisions = bed.decisions();
    let steps = [
        "Unauthenticated",
        "Allow tools/list",
        "Allow tools/call echo",
        "Deny tools/call deploy insufficient-scope",
        "Allow tools/call deploy",
    ];
    let mut rest = decisions.iter();
    for step in steps {
        ensure!(rest.any(|decision| decision.starts_with(step)), "{step:?} is missing in {decisions:#?}");
    }
    let denied = decisions.iter().filter(|decision| decision.starts_with("Deny")).count();
    ensure!(denied == 1, "one step, one challenge: {decisions:#?}");

    let saw = &story.saw;
    if !saw.is_empty() {
        let metadata = format!("resource_metadata=\"{}\"", bed.metadata_url());
        ensure!(
            saw[0]["status"] == 401 && saw[0]["challenge"] == format!("Bearer scope=\"mcp:read\", {metadata}"),
            "{saw:#?}"
        );
        let read = |step: &Value| step["path"] == "/.well-known/oauth-protected-resource/mcp" && step["status"] == 200;
        ensure!(saw.iter().any(read), "the metadata was never read: {saw:#?}");
        let step_up = format!("Bearer error=\"insufficient_scope\", scope=\"mcp:read mcp:write\", {metadata}");
        ensure!(saw.iter().any(|step| step["status"] == 403 && step["challenge"] == step_up), "{saw:#?}");
    }
    ensure!(saw_no_token(&bed.server), "the server saw a client's token");
    Ok(())
}
