//! Keycloak, started once for all its tests; each has a realm of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use crate::bed::Bed;
use crate::oidc_provider::TOKEN_SECONDS;
use crate::process::Process;
use crate::support::{Authority, Issuer};

/// Until it must be ready: half a minute where it is alone.
const START: Duration = Duration::from_secs(300);

/// The running server.
pub(crate) struct Keycloak {
    _process: Process,
    url: String,
    http: Client,
    /// Authorities of its certificate and of the documents beside it.
    pub(crate) authorities: String,
    /// Where its clients publish what they are.
    pub(crate) pages: Issuer,
    folder: PathBuf,
}

/// One issuer of it.
pub(crate) struct Realm<'a> {
    keycloak: &'a Keycloak,
    name: String,
    pub(crate) issuer: String,
}

impl Keycloak {
    /// Starts what was built in this folder.
    pub(crate) async fn start(built: &Path) -> anyhow::Result<Self> {
        let authority = Authority::new("keycloak authority");
        let pages = Issuer::start().await;
        let leaf = authority.sign(1, "keycloak", &["localhost"]);
        let folder = std::env::temp_dir().join(format!("cardea-keycloak-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let authorities = format!("{}{}", authority.pem, pages.authority.pem);
        for (name, text) in [("tls.crt", &leaf.chain), ("tls.key", &leaf.key), ("trust.pem", &authorities)] {
            std::fs::write(folder.join(name), text)?;
        }
        let (port, management) = (free_port()?, free_port()?);
        let file = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(built.join("bin/kc.sh"));
        command
            .args(["start", "--optimized", "--cache=local", "--hostname-strict=false"])
            .args(["--http-enabled=false", "--http-host=127.0.0.1", "--http-management-scheme=http"])
            .args([format!("--https-port={port}"), format!("--http-management-port={management}")])
            .args([format!("--https-certificate-file={}", file("tls.crt"))])
            .args([format!("--https-certificate-key-file={}", file("tls.key"))])
            .args([format!("--truststore-paths={}", file("trust.pem"))])
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")
            .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx384m");
        let mut process = Process::start(&mut command)?;
        let trust = Certificate::from_pem_bundle(authorities.as_bytes())?;
        let http = Client::builder().tls_certs_only(trust).build()?;
        let ready = format!("http://127.0.0.1:{management}/health/ready");
        let started = async {
            loop {
                if http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        if tokio::time::timeout(START, started).await.is_err() {
            bail!("Keycloak is not ready: {:#?}", process.printed());
        }
        Ok(Self { _process: process, url: format!("https://localhost:{port}"), http, authorities, pages, folder })
    }

    /// A realm that knows this bed's resource and its scopes, and lets clients register and publish documents.
    pub(crate) async fn realm(&self, bed: &Bed, name: &str) -> anyhow::Result<Realm<'_>> {
        let realm = Realm { keycloak: self, name: name.to_owned(), issuer: format!("{}/realms/{name}", self.url) };
        realm.create(&bed.resource).await?;
        Ok(realm)
    }

    /// A request of the administrator's, who logs in anew each time: a token of its own lives for a minute.
    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let form = "grant_type=password&client_id=admin-cli&username=admin&password=admin";
        let token = self.http.post(format!("{}/realms/master/protocol/openid-connect/token", self.url));
        let token = token.header("content-type", "application/x-www-form-urlencoded").body(form).send().await?;
        let token: Value = token.error_for_status()?.json().await?;
        let token = token["access_token"].as_str().context("no token for the administrator")?;
        let mut request = self.http.request(method, format!("{}/admin/realms{path}", self.url)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Realm<'_> {
    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.keycloak.admin(method, &format!("/{}{path}", self.name), body).await
    }

    async fn create(&self, resource: &str) -> anyhow::Result<()> {
        let alice = json!({
            "username": "alice", "enabled": true, "email": "alice@example.test", "emailVerified": true,
            "firstName": "Alice", "lastName": "A", "credentials": [{"type": "password", "value": "alice"}]
        });
        // The client that stands for the MCP server. Its id is the resource too: that is the audience of a refreshed
        // token.
        let server = json!({
            "clientId": resource, "bearerOnly": true, "attributes": {"resource_url": resource}
        });
        let realm = json!({
            "realm": self.name, "enabled": true, "accessTokenLifespan": TOKEN_SECONDS, "eventsEnabled": true,
            // Refreshes are not kept unless they are named.
            "enabledEventTypes": ["CLIENT_REGISTER", "LOGIN", "CODE_TO_TOKEN", "REFRESH_TOKEN"],
            "clients": [server]
        });
        self.keycloak.admin(Method::POST, "", Some(&realm)).await?;
        // After the realm, not with it: only so has she its default roles, and with them offline access.
        self.admin(Method::POST, "/users", Some(&alice)).await?;
        for scope in ["mcp:read", "mcp:write"] {
            let audience = json!({
                "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
                "config": {"included.client.audience": resource, "access.token.claim": "true"}
            });
            let scope = json!({
                "name": scope, "protocol": "openid-connect", "protocolMappers": [audience],
                "attributes": {"include.in.token.scope": "true"}
            });
            self.admin(Method::POST, "/client-scopes", Some(&scope)).await?;
        }
        for (_, id) in self.scopes().await? {
            self.admin(Method::PUT, &format!("/default-optional-client-scopes/{id}"), None).await?;
        }
        self.let_clients_register().await?;
        self.let_clients_have_documents().await
    }

    /// Our scopes and their ids.
    async fn scopes(&self) -> anyhow::Result<Vec<(String, String)>> {
        let scopes = self.admin(Method::GET, "/client-scopes", None).await?;
        let text = |scope: &Value, name: &str| scope[name].as_str().unwrap_or_default().to_owned();
        let ours = scopes.as_array().into_iter().flatten().map(|scope| (text(scope, "name"), text(scope, "id")));
        Ok(ours.filter(|(name, _)| name.starts_with("mcp:")).collect())
    }

    async fn let_clients_register(&self) -> anyhow::Result<()> {
        let kind = "org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy";
        let policies = self.admin(Method::GET, &format!("/components?type={kind}"), None).await?;
        let of_hosts = |policy: &&Value| policy["providerId"] == "trusted-hosts";
        let mut policy = policies.as_array().into_iter().flatten().find(of_hosts).context("no such policy")?.clone();
        policy["config"] = json!({
            "trusted-hosts": ["127.0.0.1", "localhost"],
            "host-sending-registration-request-must-match": ["true"],
            "client-uris-must-match": ["false"]
        });
        let id = policy["id"].as_str().context("no id")?.to_owned();
        self.admin(Method::PUT, &format!("/components/{id}"), Some(&policy)).await.map(drop)
    }

    async fn let_clients_have_documents(&self) -> anyhow::Result<()> {
        let executor = json!({
            "executor": "client-id-metadata-document",
            "configuration": {
                "cimd-allow-http-scheme": "false", "cimd-allow-permitted-domains": ["127.0.0.1", "client.test"],
                "cimd-restrict-same-domain": "false", "only-allow-confidential-client": "false"
            }
        });
        let profiles = json!({"profiles": [{"name": "documents", "executors": [executor]}]});
        self.admin(Method::PUT, "/client-policies/profiles", Some(&profiles)).await?;
        let condition = json!({
            "condition": "client-id-uri",
            "configuration": {"client-id-uri-scheme": ["https"], "client-id-uri-allow-permitted-domains": ["127.0.0.1"]}
        });
        let policies = json!({"policies": [
            {"name": "documents", "enabled": true, "conditions": [condition], "profiles": ["documents"]}
        ]});
        self.admin(Method::PUT, "/client-policies/policies", Some(&policies)).await.map(drop)
    }

    /// What has happened in it and at whose hands: `CLIENT_REGISTER`, `LOGIN`, `CODE_TO_TOKEN`, …
    pub(crate) async fn events(&self) -> anyhow::Result<Vec<(String, String)>> {
        let events = self.admin(Method::GET, "/events?max=1000", None).await?;
        let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
        Ok(events
            .as_array()
            .into_iter()
            .flatten()
            .map(|event| (text(event, "type"), text(event, "clientId")))
            .collect())
    }

    /// What an administrator does for clients that register with the scopes of their first challenge: Keycloak holds them to
    /// those, and no token could be widened.
    pub(crate) async fn widen_registered_clients(&self) -> anyhow::Result<()> {
        let clients = self.admin(Method::GET, "/clients", None).await?;
        for client in clients.as_array().into_iter().flatten().filter(|client| client["name"] == "logins") {
            let id = client["id"].as_str().context("no id")?;
            for (_, scope) in self.scopes().await? {
                self.admin(Method::PUT, &format!("/clients/{id}/optional-client-scopes/{scope}"), None).await?;
            }
        }
        Ok(())
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
