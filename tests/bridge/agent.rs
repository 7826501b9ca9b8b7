//! The agent as a process: signals, orphans, its log, and a server that needs no bridge.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Caller, LONG, call, eventually, lives, rotate, server};

/// An agent; ended with this.
struct Agent {
    folder: TempDir,
    child: Child,
}

impl Agent {
    fn start(config: &serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        rotate(folder.path(), "token", 1, "TOKEN", "canary-0a/1 b");
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let config = config.to_string().replace("FOLDER", folder.path().to_str().unwrap());
        let child = Command::new(server())
            .args(["--agent", "--socket"])
            .arg(folder.path().join("mcp.sock"))
            .arg("--secrets")
            .arg(folder.path().join("secrets"))
            .env("CARDEA_SERVE", config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    fn bridged(arguments: &[&str]) -> Self {
        let command: Vec<_> = std::iter::once(server()).chain(arguments.iter().copied()).collect();
        let stdio = json!({"path": "/mcp", "isolation": "PerSession", "maxProcesses": 8, "idleSeconds": 600, "maxMessageBytes": 1 << 20});
        Self::start(
            &json!({"command": command, "stdio": stdio, "secrets": [{"name": "token", "env": ["TOKEN"], "onRotation": "Restart"}]}),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(self.path("log")).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    async fn session(&self) -> Caller {
        eventually("the socket is there", async || self.path("mcp.sock").exists()).await;
        let mut caller = Caller::new(self.path("mcp.sock"));
        caller.begin().await;
        caller
    }

    fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap().success()
        );
    }

    async fn ended(&mut self) -> bool {
        let mut status = None;
        eventually("the agent has ended", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().success()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Children of a process, those that have ended and lie there included.
fn children(of: u32) -> Vec<String> {
    let output =
        Command::new("ps").args(["--no-headers", "-o", "pid,stat,comm", "--ppid", &of.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn orphans_are_adopted_and_buried() {
    let agent = Agent::bridged(&[]);
    let session = agent.session().await;
    let orphan: u32 = session.tool("orphan", json!({})).await.parse().unwrap();
    eventually("it has ended and is buried", async || !std::path::Path::new(&format!("/proc/{orphan}")).exists()).await;
    assert_eq!(children(agent.child.id()).len(), 1);
}

#[tokio::test]
async fn sigterm_lets_calls_end_and_leaves_nobody_behind() {
    let mut agent = Agent::bridged(&[]);
    let session = agent.session().await;
    let mut all: Vec<u32> = serde_json::from_str(&session.tool("fork", json!({})).await).unwrap();
    all.push(session.tool("process", json!({})).await.parse().unwrap());
    let gate = agent.path("gate");
    let waiting = crate::support::later(&session, call(1, "gate", json!({"file": gate})));
    eventually("the call is there", async || session.tool("received", json!({})).await.contains("gate")).await;
    agent.signal("TERM");
    eventually("nobody new is let in", async || {
        Caller::new(agent.path("mcp.sock")).post(&crate::support::initialize("2025-06-18")).await.status == 503
    })
    .await;
    assert_eq!(session.tool("echo", json!({"text": "who is in may ask"})).await, "who is in may ask");
    std::fs::write(&gate, "").unwrap();
    assert_eq!(crate::support::text(&waiting.await.unwrap().message()), "open");
    assert!(tokio::time::timeout(LONG, agent.ended()).await.unwrap());
    assert!(!all.iter().any(|id| lives(*id)), "{all:?}");
    assert!(!agent.path("mcp.sock").exists());
}

#[tokio::test]
async fn what_the_server_says_is_logged_without_its_secrets() {
    let agent = Agent::bridged(&[]);
    let session = agent.session().await;
    let secret = "canary-0a/1 b";
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let encoded =
        ["canary-0a%2F1+b".to_owned(), "canary-0a%2F1%20b".to_owned(), STANDARD.encode(secret), hex, secret.to_owned()];
    for (number, form) in encoded.iter().enumerate() {
        session.tool("complain", json!({"text": format!("line {number} {form} password=hunter22")})).await;
        session.tool("raw", json!({"line": format!("junk {number} {form}\n{}", r#"{"jsonrpc":"2.0","id":{id},"result":{"content":[{"text":"x"}]}}"#)})).await;
    }
    eventually("all is logged", async || agent.log().contains("line 4")).await;
    let log = agent.log();
    for form in &encoded {
        assert!(!log.contains(form.as_str()), "{form} in {log}");
    }
    assert!(!log.contains("hunter22"), "{log}");
    assert!(log.contains("line 0 [redacted]") && log.contains("junk 4 [redacted]"), "{log}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }
}

#[tokio::test]
async fn a_server_without_a_bridge_is_started_again_and_told_of_signals() {
    let script = r#"echo "$TOKEN" >> FOLDER/values; echo "said $TOKEN"
        trap 'echo hup >> FOLDER/signals' HUP; trap 'echo term >> FOLDER/signals; exit 0' TERM
        while true; do [ -e FOLDER/fail ] && rm FOLDER/fail && exit 3; sleep 0.02; done"#;
    let config = json!({"command": ["sh", "-c", script], "secrets": [{"name": "token", "env": ["TOKEN"], "onRotation": "Restart"}]});
    let mut agent = Agent::start(&config);
    let read = |agent: &Agent, name: &str| std::fs::read_to_string(agent.path(name)).unwrap_or_default();
    eventually("it is started", async || read(&agent, "values").lines().count() == 1).await;
    eventually("what it says is passed on", async || agent.log().contains("said [redacted]")).await;
    std::fs::write(agent.path("fail"), "").unwrap();
    eventually("it is started again", async || read(&agent, "values").lines().count() == 2).await;
    agent.signal("HUP");
    eventually("it has got the signal", async || read(&agent, "signals") == "hup\n").await;
    rotate(agent.folder.path(), "token", 2, "TOKEN", "value-2");
    eventually("it has the new value", async || read(&agent, "values").ends_with("value-2\n")).await;
    assert_eq!(read(&agent, "signals"), "hup\nterm\n");
    agent.signal("TERM");
    assert!(agent.ended().await);
    assert_eq!(read(&agent, "signals"), "hup\nterm\nterm\n");
    assert!(!agent.log().contains("canary-0a"));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_ends_it() {
    let mut agent = Agent::start(&json!({"command": 1}));
    assert!(!agent.ended().await);
}
