//! A real operator under the chart's ServiceAccount, and what the API server wrote down about it.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::tools::{SYSTEM, kubectl, succeed, variable};

/// Length of the audit log.
pub(crate) fn audited() -> u64 {
    std::fs::metadata(audit_log()).unwrap().len()
}

/// A request of the operator, from the API server's audit log.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) code: u64,
}

fn audit_log() -> String {
    variable("CARDEA_CLUSTER_AUDIT_LOG").unwrap()
}

/// What the operator asked for since the audit log had this length.
pub(crate) fn asked(after: u64) -> Vec<Asked> {
    let account = format!("system:serviceaccount:{SYSTEM}:cardea-operator");
    let log = std::fs::read(audit_log()).unwrap();
    let log = String::from_utf8_lossy(&log[usize::try_from(after).unwrap()..]).into_owned();
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["user"]["username"] == account.as_str())
        .map(|event| {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let resource = match (text("/objectRef/resource"), text("/objectRef/subresource")) {
                (resource, _) if resource.is_empty() => text("/requestURI"),
                (resource, part) if part.is_empty() => resource,
                (resource, part) => format!("{resource}/{part}"),
            };
            Asked {
                verb: text("/verb"),
                resource,
                namespace: text("/objectRef/namespace"),
                code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
            }
        })
        .collect()
}

/// A running operator with the rights of the chart's ServiceAccount and no others.
pub(crate) struct Operator {
    process: Child,
    log: String,
}

impl Operator {
    /// Starts it as the chart's Deployment does.
    pub(crate) fn start(program: &str) -> Self {
        let folder = env!("CARGO_TARGET_TMPDIR");
        let token = kubectl(&["create", "token", "cardea-operator", "--namespace", SYSTEM]);
        let mut kubeconfig: Value =
            serde_json::from_str(&kubectl(&["config", "view", "--raw", "--output", "json"])).unwrap();
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        let (file, log) = (format!("{folder}/operator.kubeconfig"), format!("{folder}/operator.log"));
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let process = Command::new(program)
            .args(["run", "--admin-listen", "127.0.0.1:0"])
            .env("KUBECONFIG", file)
            .env("CARDEA_NAMESPACE", SYSTEM)
            .env("CARDEA_SERVICE_ACCOUNT", "cardea-operator")
            .env("CARDEA_INSTANCE", "test")
            .env("CARDEA_PROXY_IMAGE", "cardea/proxy:test")
            .env("CARDEA_AGENT_IMAGE", "cardea/agent:test")
            .stdin(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { process, log }
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it as a kubelet does, so that it gives the lease back.
    pub(crate) fn stop(&mut self) {
        succeed(Command::new("kill").args(["-TERM", &self.process.id().to_string()]), None);
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It has ended already, but for a test that failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
