//! A real Vault with an audit log, which tells how often it was asked for what.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cardea_contract::pod;
use cardea_contract::secrets::{Store, StoreKind, VaultLogin};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Name of the store.
pub(crate) const STORE: &str = "vault";
/// Where the secrets are.
pub(crate) const MOUNT: &str = "secret";
/// The only key of each.
pub(crate) const KEY: &str = "token";

const POLICY: &str = r#"path "secret/*" { capabilities = ["read"] }"#;
const AUDIENCE: &str = "vault";
/// Longest wait for the engine after it was mounted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Path of a secret.
pub(crate) fn path(secret: usize) -> String {
    format!("bench/secret-{secret}")
}

/// The process, which ends when this does.
pub(crate) struct Vault {
    process: Child,
    input: Option<ChildStdin>,
    address: String,
    root: String,
    client: reqwest::Client,
    folder: TempDir,
}

/// What its audit log tells.
#[derive(Clone, Default)]
pub(crate) struct Audited {
    /// Questions for versions.
    pub(crate) probes: usize,
    /// Reads of values, by path and the version that was read (as a code of Vault's own, since it logs no values).
    pub(crate) reads: BTreeMap<String, usize>,
}

impl Audited {
    /// What came after an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |read: &String| earlier.reads.get(read).copied().unwrap_or(0);
        let reads = self.reads.iter().map(|(read, count)| (read.clone(), count - before(read)));
        Self { probes: self.probes - earlier.probes, reads: reads.filter(|(_, count)| *count > 0).collect() }
    }
}

impl Vault {
    pub(crate) async fn start(program: &Path) -> anyhow::Result<Self> {
        let mut process =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("Vault")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("stdout")?).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line).context("Vault has not started")?;
        let told =
            |member: &str| Ok::<_, anyhow::Error>(ready.get(member).and_then(Value::as_str).context("ready")?.into());
        let vault = Self {
            input: process.stdin.take(),
            process,
            address: told("address")?,
            root: told("rootToken")?,
            client: reqwest::Client::new(),
            folder: tempfile::tempdir()?,
        };
        vault.set_up().await?;
        Ok(vault)
    }

    async fn set_up(&self) -> anyhow::Result<()> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let public = STANDARD.encode(key.public_key().as_der()?.as_ref());
        let public = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        let claims = json!({"sub": "bench", "aud": AUDIENCE, "exp": 4_000_000_000_u64});
        let key = EncodingKey::from_ec_der(key.to_pkcs8v1()?.as_ref());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, &key)?;
        let store = self.stores().join(STORE);
        std::fs::create_dir(&store)?;
        std::fs::write(store.join(pod::STORE_TOKEN), token)?;

        self.post("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "2"}})).await?;
        self.post("sys/policies/acl/bench", &json!({"policy": POLICY})).await?;
        self.post("sys/auth/jwt", &json!({"type": "jwt"})).await?;
        self.post("auth/jwt/config", &json!({"jwt_validation_pubkeys": [public]})).await?;
        let role = json!({"role_type": "jwt", "bound_audiences": [AUDIENCE], "user_claim": "sub", "token_policies": ["bench"]});
        self.post("auth/jwt/role/bench", &role).await?;
        // A mount of KV version 2 is upgraded for a moment before it takes anything.
        let mounted = async {
            while self.post("secret/data/first", &json!({"data": {}})).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, mounted).await.context("the mount")?;
        let log = json!({"type": "file", "options": {"file_path": self.folder.path().join("audit.log")}});
        self.post("sys/audit/file", &log).await
    }

    /// The folder with the identity for it.
    pub(crate) fn stores(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn contract(&self) -> Store {
        let kind = StoreKind::Vault {
            address: self.address.clone(),
            namespace: None,
            login: VaultLogin::Jwt,
            login_mount: "jwt".to_owned(),
            role: "bench".to_owned(),
        };
        Store { kind, ca_bundle: false }
    }

    /// Writes a version of a secret.
    pub(crate) async fn put(&self, secret: usize, value: &str) -> anyhow::Result<()> {
        self.post(&format!("secret/data/{}", path(secret)), &json!({"data": {KEY: value}})).await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let request = self.client.post(format!("{}/v1/{path}", self.address)).header("x-vault-token", &self.root);
        let answer = request.json(body).send().await?;
        anyhow::ensure!(answer.status().is_success(), "{path}: {}", answer.status());
        Ok(())
    }

    /// What it was asked so far.
    pub(crate) fn audited(&self) -> anyhow::Result<Audited> {
        let mut audited = Audited::default();
        for line in BufReader::new(std::fs::File::open(self.folder.path().join("audit.log"))?).lines() {
            let entry: Value = serde_json::from_str(&line?)?;
            let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if text("/type") != "response" || text("/request/operation") != "read" {
                continue;
            }
            let path = text("/request/path");
            if path.starts_with("secret/metadata/") {
                audited.probes += 1;
            } else if path.starts_with("secret/data/") {
                let version = text("/response/data/metadata/created_time");
                *audited.reads.entry(format!("{path} {version}")).or_default() += 1;
            }
        }
        Ok(audited)
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
