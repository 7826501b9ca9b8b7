//! The client of the Rust SDK, in this process.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Certificate;
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::auth::{
    AuthClient, AuthorizationCallback, AuthorizationRequest, OAuthState, WWWAuthenticateParams,
};
use rmcp::transport::streamable_http_client::{InsufficientScopeError, StreamableHttpClientTransportConfig};
use serde_json::json;

use crate::bed::Bed;
use crate::browser::REDIRECT;
use crate::client::Story;

type Session = RunningService<RoleClient, ()>;

pub(crate) async fn run(
    bed: &Bed,
    document: Option<&str>,
    before_login: &impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<Story> {
    let trust = Certificate::from_pem_bundle(bed.authorities.as_bytes())?;
    let http = reqwest::Client::builder().tls_certs_only(trust).redirect(reqwest::redirect::Policy::none()).build()?;
    let mut browser = bed.browser()?;
    let config = || StreamableHttpClientTransportConfig::with_uri(bed.resource.as_str());

    let refused = ().serve(StreamableHttpClientTransport::with_client(http.clone(), config())).await;
    let refused = refused.err().context("let in without a token")?;
    let challenge = refused.auth_challenge().context("no challenge")?;

    let mut request = AuthorizationRequest::new(REDIRECT).with_client_name("logins").with_challenge(challenge);
    if let Some(url) = document {
        request = request.with_client_metadata_url(url);
    }
    let mut state = OAuthState::new(bed.resource.as_str(), Some(http.clone())).await?;
    state.start_authorization(request.with_initial_scope_selection()).await?;
    before_login().await?;
    let back = browser.log_in(&state.get_authorization_url().await?).await?;
    state.handle_callback_url(&back).await?;
    let manager = state.into_authorization_manager().context("not logged in")?;
    let client = AuthClient::new(http, manager);
    let session: Session = ().serve(StreamableHttpClientTransport::with_client(client.clone(), config())).await?;

    let mut tools: Vec<_> = session.list_all_tools().await?.iter().map(|tool| tool.name.to_string()).collect();
    tools.sort();
    let echo = call(&session, "echo").await?;
    let short = call(&session, "deploy").await.err().context("a scope was missing")?;
    let wider = missing_scopes(bed, &short).with_context(|| format!("no step-up in {short:?}"))?;
    let manager = client.auth_manager.clone();
    let page = manager.lock().await.request_scope_upgrade(&wider).await?;
    before_login().await?;
    let back = AuthorizationCallback::from_redirect_url(&browser.log_in(&page).await?)?;
    let issuer = back.issuer.as_deref();
    manager.lock().await.exchange_code_for_token_with_issuer(&back.code, &back.csrf_token, issuer).await?;
    let deploy = call(&session, "deploy").await?;
    // Until the token is another one: no call may fail on the way.
    let first = client.get_access_token().await?;
    while client.get_access_token().await? == first {
        call(&session, "deploy").await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let again = call(&session, "deploy").await?;
    session.cancel().await?;
    let done = json!({"tools": tools, "echo": echo, "deploy": deploy, "again": again});
    Ok(Story { saw: Vec::new(), done })
}

async fn call(session: &Session, tool: &'static str) -> Result<String, ServiceError> {
    let answer = session.call_tool(CallToolRequestParams::new(tool)).await?;
    Ok(answer.content.iter().filter_map(|block| Some(block.as_text()?.text.as_str())).collect())
}

/// The scopes of the challenge behind a failed call.
fn missing_scopes(bed: &Bed, error: &ServiceError) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(short) = error.downcast_ref::<InsufficientScopeError>() {
            let base = bed.resource.parse().ok()?;
            return WWWAuthenticateParams::parse(&short.www_authenticate_header, &base).scope;
        }
        cause = error.source();
    }
    None
}
