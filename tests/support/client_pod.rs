//! A pod with the MCP client: what it is given, and what it found. It meets the *restricted* Pod Security Standard, as the
//! pods of agents should.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::kubectl;
use crate::plan::{Outcome, Step, mounted};

/// A pod that carries out steps and ends.
#[derive(Clone, Debug)]
pub struct ClientPod<'a> {
    /// Where it runs.
    pub namespace: &'a str,
    /// Its name, and its label `app`.
    pub name: &'a str,
    /// ServiceAccount that its tokens are for.
    pub account: &'a str,
    /// Image of the client.
    pub image: &'a str,
    /// When to pull that.
    pub pull_policy: &'a str,
    /// ConfigMap with the authorities that it trusts, under `ca.crt`.
    pub trust: &'a str,
    /// Secret with its certificate and key.
    pub certificate: Option<&'a str>,
    /// Its tokens: file name and audience.
    pub tokens: &'a [(&'a str, &'a str)],
}

/// Until the pod has to be done.
const LIMIT: Duration = Duration::from_secs(90);

impl ClientPod<'_> {
    /// Runs the pod to its end, in place of one of that name.
    ///
    /// # Errors
    /// When it does not run, or does not report all of the steps.
    pub fn run(&self, steps: &[Step]) -> anyhow::Result<Vec<Outcome>> {
        let pod = format!("pod/{}", self.name);
        kubectl::kubectl(&["delete", &pod, "--namespace", self.namespace, "--ignore-not-found", "--wait"])?;
        kubectl::apply(&[self.manifest(steps)?])?;
        let ended = "jsonpath={.status.containerStatuses[0].state.terminated}";
        kubectl::wait(self.namespace, &[&pod], ended, LIMIT, || ())?;
        let log = kubectl::kubectl(&["logs", &pod, "--namespace", self.namespace])?;
        let outcomes: Vec<Outcome> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        anyhow::ensure!(outcomes.len() == steps.len(), "the client pod {} did not finish: {log}", self.name);
        Ok(outcomes)
    }

    fn manifest(&self, steps: &[Step]) -> anyhow::Result<Value> {
        let tokens: Vec<Value> = self
            .tokens
            .iter()
            .map(|(file, audience)| {
                json!({"serviceAccountToken": {"path": file, "audience": audience, "expirationSeconds": 600}})
            })
            .collect();
        let mut volumes = vec![
            json!({"name": "trust", "configMap": {"name": self.trust}}),
            json!({"name": "tokens", "projected": {"sources": tokens}}),
        ];
        let mut mounts = vec![
            json!({"name": "trust", "mountPath": folder(mounted::TRUST)?, "readOnly": true}),
            json!({"name": "tokens", "mountPath": mounted::TOKENS, "readOnly": true}),
        ];
        if let Some(secret) = self.certificate {
            volumes.push(json!({"name": "certificate", "secret": {"secretName": secret}}));
            mounts.push(json!({"name": "certificate", "mountPath": folder(mounted::CERTIFICATE)?, "readOnly": true}));
        }
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {"app": self.name}},
            "spec": {
                "serviceAccountName": self.account,
                "automountServiceAccountToken": false,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "client",
                    "image": self.image,
                    "imagePullPolicy": self.pull_policy,
                    "args": ["run", serde_json::to_string(steps)?],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        }))
    }
}

fn folder(file: &str) -> anyhow::Result<&str> {
    Ok(file.rsplit_once('/').context("a mounted file has a folder")?.0)
}
