//! A real Vault, set up through its own API: the JWT login with the role `app`, whose policy lets it read what is its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use cardea_tests::cluster::setting;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bed::{Bed, vault_at};
use crate::identity::{AUDIENCE, Issuer, SUBJECT};

/// What the role may do.
const POLICY: &str = r#"
path "secret/data/app/*" { capabilities = ["read"] }
path "secret/metadata/app/*" { capabilities = ["read"] }
path "secret/data/unlisted/*" { capabilities = ["read"] }
path "kv1/app/*" { capabilities = ["read"] }
path "database/creds/app" { capabilities = ["read"] }
"#;

/// The process, which ends when this does.
pub(crate) struct Vault {
    process: Child,
    input: Option<ChildStdin>,
    pub(crate) address: String,
    root: String,
    key: String,
    admin: reqwest::Client,
    folder: TempDir,
    pub(crate) issuer: Issuer,
}

impl Vault {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[], client()).await
    }

    /// Behind this certificate, which `authority` (PEM) signed.
    pub(crate) async fn start_with_tls(chain: &str, key: &str, authority: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (chain_file, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        std::fs::write(&chain_file, chain).unwrap();
        std::fs::write(&key_file, key).unwrap();
        // Another test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        let admin = builder().tls_certs_only([authority]).build().unwrap();
        Self::start_with(&["--certificate".as_ref(), &chain_file, "--key".as_ref(), &key_file], admin).await
    }

    async fn start_with(arguments: &[&Path], admin: reqwest::Client) -> Self {
        let program = setting("CARDEA_VAULT").expect("CARDEA_VAULT says where Vault is: run `make test-stores`");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("Vault has not started: its errors stand above");
        let told = |member: &str| ready[member].as_str().unwrap().to_owned();
        let vault = Self {
            input: process.stdin.take(),
            process,
            address: told("address"),
            root: told("rootToken"),
            key: told("unsealKey"),
            admin,
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(),
        };
        vault.set_up().await;
        vault
    }

    async fn set_up(&self) {
        let log = json!({"file_path": self.log()});
        self.post("sys/audit/file", json!({"type": "file", "options": log})).await;
        self.post("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}})).await;
        self.post("sys/mounts/kv1", json!({"type": "kv", "options": {"version": "1"}})).await;
        self.post("sys/mounts/database", json!({"type": "leases"})).await;
        self.post("sys/policies/acl/app", json!({"policy": POLICY})).await;
        self.post("sys/auth/jwt", json!({"type": "jwt"})).await;
        self.post("auth/jwt/config", json!({"jwt_validation_pubkeys": [self.issuer.public()]})).await;
        self.role(json!({})).await;
        // A mount of KV version 2 is upgraded for a moment before it takes anything.
        crate::bed::eventually("the mount is there", async || {
            self.asked("secret/data/app/first", Some(json!({"data": {}}))).await.0 == 200
        })
        .await;
    }

    /// The role `app`, with these settings beside its own.
    pub(crate) async fn role(&self, further: Value) {
        let mut role = json!({
            "role_type": "jwt", "bound_audiences": [AUDIENCE], "bound_subject": SUBJECT, "user_claim": "sub", "token_policies": ["app"],
        });
        role.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        self.post("auth/jwt/role/app", role).await;
    }

    /// The folders of a fetcher with the identity that this Vault lets in.
    pub(crate) fn bed(&self) -> Bed {
        Bed::new(&self.issuer.token())
    }

    /// The store, opened with that identity.
    pub(crate) async fn store(&self) -> Box<dyn cardea_secrets::Store> {
        crate::bed::given(self.bed().open(&vault_at(&self.address)).await)
    }

    /// Asks as its administrator.
    pub(crate) async fn asked(&self, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.address);
        let request = match body {
            Some(body) => self.admin.post(url).json(&body),
            None => self.admin.get(url),
        };
        let answer = request.header("x-vault-token", &self.root).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.asked(path, Some(body)).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }

    pub(crate) async fn delete(&self, path: &str) {
        let request = self.admin.delete(format!("{}/v1/{path}", self.address)).header("x-vault-token", &self.root);
        assert!(request.send().await.unwrap().status().is_success(), "{path}");
    }

    /// Writes a version of a secret of KV version 2.
    pub(crate) async fn put(&self, path: &str, data: Value) {
        self.post(&format!("secret/data/{path}"), json!({"data": data})).await;
    }

    pub(crate) async fn seal(&self) {
        self.post("sys/seal", json!({})).await;
    }

    pub(crate) async fn unseal(&self) {
        self.post("sys/unseal", json!({"key": self.key})).await;
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    /// Every request that it has taken, as its audit log has them: operation and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap();
        let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let request = |entry: Value| {
            let request = &entry["request"];
            format!("{} {}", request["operation"].as_str().unwrap_or(""), request["path"].as_str().unwrap_or(""))
        };
        entries.filter(|entry| entry["type"] == "request").map(request).collect()
    }

    /// How often this was asked.
    pub(crate) fn count(&self, request: &str) -> usize {
        self.requests().iter().filter(|asked| *asked == request).count()
    }

    /// The tokens that the role has been given are worth nothing any more.
    pub(crate) async fn revoke_tokens(&self) {
        self.post("sys/leases/revoke-prefix/auth/jwt", json!({})).await;
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

fn client() -> reqwest::Client {
    builder().build().unwrap()
}

/// Of the provider that the product links; an error tells only that somebody was first.
fn builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
}
