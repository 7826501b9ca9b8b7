//! Who signs ServiceAccount tokens in this cluster. The operator reads it and hands the keys to the proxies, which
//! therefore need neither a right nor a way to the API server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

/// The cluster's issuer of ServiceAccount tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct ClusterIssuer {
    /// What its tokens carry as `iss`.
    pub url: String,
    /// Its keys (RFC 7517).
    pub jwks: Value,
}

const REFRESH: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(5);

/// Reads the issuer again and again and publishes what changed. A failure keeps what was known; if it is the first try,
/// that nothing is known is published too, so that nobody need wait.
pub async fn follow(client: Client, publish: watch::Sender<Option<Arc<ClusterIssuer>>>) {
    let mut tried = false;
    loop {
        let pause = match read(&client).await {
            Ok(issuer) => {
                publish.send_if_modified(|known| {
                    let differs = known.as_deref() != Some(&issuer);
                    if differs {
                        *known = Some(Arc::new(issuer));
                    }
                    differs
                });
                REFRESH
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "cannot read the cluster's token issuer");
                publish.send_if_modified(|_| !tried);
                RETRY
            }
        };
        tried = true;
        tokio::time::sleep(pause).await;
    }
}

async fn read(client: &Client) -> anyhow::Result<ClusterIssuer> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
    }
    let get = |path: &str| http::Request::get(path).body(Vec::new());
    let metadata: Metadata =
        client.request(get("/.well-known/openid-configuration")?).await.context("the issuer's metadata")?;
    // The path is fixed by the API server; `jwks_uri` may name an address that only outsiders reach.
    let jwks = client.request(get("/openid/v1/jwks")?).await.context("the issuer's keys")?;
    Ok(ClusterIssuer { url: metadata.issuer, jwks })
}
