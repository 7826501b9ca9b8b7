//! The servers of `deploy/examples/identity`, as a person would run them, behind the proxy: what the proxy has let through
//! they judge again, by the identity that it has signed, and they believe nobody else.
//!
//! Their packages are fetched once and kept in the user's cache folder, by what their lock files say.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::support::{Answer, RESOURCE, SigningKey, World, tool_call, with_header};

const PYTHON: &str = "python";
const TYPESCRIPT: &str = "typescript";

fn folder(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/identity").join(language)
}

/// The folder of what these files ask for, made by `install` if it is not there.
fn cached(language: &str, files: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    files.iter().for_each(|file| digest.update(std::fs::read(folder(language).join(file)).unwrap()));
    let key: String = digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let cache = ["CARDEA_CACHE", "XDG_CACHE_HOME"]
        .iter()
        .find_map(|name| std::env::var_os(name).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/cardea"));
    let ready = cache.join("examples").join(format!("{language}-{key}"));
    if !ready.exists() {
        let partial = ready.with_extension(format!("partial-{}", std::process::id()));
        std::fs::create_dir_all(&partial).unwrap();
        install(&partial);
        // Another run may have been faster.
        let _ = std::fs::rename(&partial, &ready);
    }
    ready
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn python() -> Command {
    let packages = cached(PYTHON, &["requirements.txt"], |partial| {
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"];
        let requirements = folder(PYTHON).join("requirements.txt");
        succeed(Command::new("python3").args(install).arg(partial).arg("--requirement").arg(requirements));
    });
    let mut command = Command::new("python3");
    command.arg(folder(PYTHON).join("server.py")).env("PYTHONPATH", packages);
    command
}

fn typescript() -> Command {
    let packages = cached(TYPESCRIPT, &["package.json", "package-lock.json"], |partial| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(folder(TYPESCRIPT).join(file), partial.join(file)).unwrap();
        }
        let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"];
        succeed(Command::new("npm").args(install).arg(partial));
    });
    // Beside its packages, where Node looks for them.
    let server = packages.join("server.ts");
    std::fs::copy(folder(TYPESCRIPT).join("server.ts"), &server).unwrap();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let mut command = Command::new(packages.join(format!("node_modules/node-linux-{architecture}/bin/node")));
    command.arg(server);
    command
}

/// A server of the examples; it ends with the test.
struct Example {
    world: World,
    port: u16,
    process: Child,
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Example {
    async fn start(command: impl FnOnce() -> Command + Send + 'static) -> Self {
        let mut command = tokio::task::spawn_blocking(command).await.unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let world = World::with(|config| {
            config["upstream"] = json!({"listens": {"port": port}, "path": "/mcp"});
            config["limits"]["requestSeconds"] = json!(60);
            config["rules"] = json!([{
                "name": "deployers", "effect": "Allow", "tools": ["deploy"],
                "principals": [{"group": {"name": "dev"}}, {"group": {"name": "ops"}}]
            }]);
        })
        .await;
        let keys = format!("http://{}/identity/jwks.json", world.bound.admin);
        let process = command
            .env("PORT", port.to_string())
            .env("CARDEA_AUDIENCE", RESOURCE)
            .env("CARDEA_IDENTITY_KEYS", keys)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut this = Self { world, port, process };
        while this.world.admin("/readyz").await.status != 200 {
            assert!(this.process.try_wait().unwrap().is_none(), "the server ended");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        this
    }

    /// What `deploy` says to a member of this group: the text, and whether it is an error.
    async fn deploy(&self, group: &str, env: &str) -> (String, bool) {
        let token = self.world.token(&json!({"groups": [group]}));
        said(&self.world.with_token(&token, deploy(env)).await)
    }

    /// The same, past the proxy.
    async fn deploy_directly(&self, identity: Option<&str>) -> (String, bool) {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = deploy("production");
        *request.uri_mut() = "/mcp".parse().unwrap();
        request.headers_mut().insert("host", format!("127.0.0.1:{}", self.port).parse().unwrap());
        if let Some(identity) = identity {
            request = with_header(request, "x-cardea-identity", identity);
        }
        said(&Answer::of(sender.send_request(request).await.unwrap()).await)
    }
}

fn deploy(env: &str) -> Request<Full<Bytes>> {
    with_header(tool_call("deploy", json!({ "env": env })), "mcp-protocol-version", "2025-11-25")
}

/// The result of a call, which comes as JSON or as an event.
fn said(answer: &Answer) -> (String, bool) {
    let text = String::from_utf8_lossy(&answer.body);
    let message = text.lines().find_map(|line| line.strip_prefix("data: ").filter(|data| data.starts_with('{')));
    let message: Value = serde_json::from_str(message.unwrap_or(&text)).unwrap_or_else(|_| panic!("{answer:?}"));
    let result = &message["result"];
    let text = result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    (text.to_owned(), result["isError"] == true)
}

async fn judges_again(command: impl FnOnce() -> Command + Send + 'static) {
    let example = Example::start(command).await;
    assert_eq!(example.deploy("ops", "production").await, ("alice deployed to production".into(), false));
    assert_eq!(example.deploy("dev", "staging").await, ("alice deployed to staging".into(), false));
    let (text, is_error) = example.deploy("dev", "production").await;
    assert!(is_error && text.ends_with("a deployment to production needs the group ops"), "{text}");
    // The proxy let all three through, and tells how they went.
    assert!(example.world.lines().iter().all(|line| line["decision"] == "Allow"));
    assert_eq!(example.world.outcomes(3).await[2]["toolError"], true);
    // Who is in neither group never got there.
    let token = example.world.token(&json!({"groups": ["sales"]}));
    assert_eq!(example.world.with_token(&token, deploy("staging")).await.status, 403);

    // Whoever gets past the proxy is nobody: without an identity, with one of another key, with a client's token.
    let claims = json!({"iss": "cardea-proxy", "groups": ["ops"], "issuer": "corp"});
    let forged = SigningKey::new("forged").token("cardea-proxy", &claims);
    let client = example.world.token(&json!({"groups": ["ops"]}));
    for identity in [None, Some(forged.as_str()), Some(client.as_str()), Some("x")] {
        let (text, is_error) = example.deploy_directly(identity).await;
        assert!(is_error && text.ends_with("who calls is not known"), "{identity:?}: {text}");
    }
}

#[tokio::test]
async fn the_server_in_python_judges_again_by_the_signed_identity() {
    judges_again(python).await;
}

#[tokio::test]
async fn the_server_in_typescript_judges_again_by_the_signed_identity() {
    judges_again(typescript).await;
}
