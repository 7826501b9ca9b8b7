//! The cluster that the launcher started for this run.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Config};

/// What the launcher put into the environment.
#[expect(clippy::disallowed_methods, reason = "the launcher speaks to the tests through the environment")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The tier that runs, if any.
pub fn tier() -> Option<String> {
    setting("CARDEA_CLUSTER_TIER")
}

/// A client with every right.
///
/// # Errors
/// When there is no cluster.
pub async fn client() -> anyhow::Result<Client> {
    // Both are told apart only by an error, which means that somebody was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = Config::infer().await.context("no cluster: run under the cluster launcher")?;
    config.read_timeout = Some(Duration::from_secs(300));
    Ok(Client::try_from(config)?)
}

/// Makes a namespace.
///
/// # Errors
/// When it exists.
pub async fn namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    Ok(())
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// When there is none within a minute, naming what was awaited, or when asking fails.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            beat.tick().await;
            if let Some(answer) = ask().await? {
                return anyhow::Ok(answer);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asking).await.with_context(|| format!("waited in vain: {what}"))?
}

/// What an HTTP server says to a GET, head and body.
///
/// # Errors
/// When it cannot be reached.
pub async fn http_get(address: &str, path: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
