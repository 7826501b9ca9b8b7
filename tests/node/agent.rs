//! Agents that prove themselves by a client certificate. They call from the node, which reaches every pod, through the
//! Service and in bare HTTP, since the tests want to see statuses and certificates.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cardea_pki::{Authority, LeafRequest, SpiffeId, TrustDomain};
use cardea_tests::cluster::eventually;
use http::header::ACCEPT;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::Api;
use reqwest::tls::TlsInfo;
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::bed::Place;

const SESSION: &str = "mcp-session-id";
/// Pause between two calls under load.
const BEAT: Duration = Duration::from_millis(50);

/// An authority for agents' certificates.
pub(crate) struct Agents(Authority);

/// Certificate and key of an agent (PEM).
pub(crate) struct Evidence(String);

impl Agents {
    pub(crate) fn new(trust_domain: &str) -> anyhow::Result<Self> {
        Ok(Self(Authority::create(&TrustDomain::parse(trust_domain)?, Timestamp::now())?))
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        self.0.certificate_pem()
    }

    /// Signs whatever is asked for, even for another trust domain.
    pub(crate) fn sign(&self, trust_domain: &str, namespace: &str, account: &str) -> anyhow::Result<Evidence> {
        let request = LeafRequest {
            dns_names: vec![],
            spiffe_id: SpiffeId::new(TrustDomain::parse(trust_domain)?, namespace, account),
            lifetime: SignedDuration::from_hours(1),
        };
        let leaf = self.0.issue(&request, Timestamp::now())?;
        Ok(Evidence(leaf.certificate_pem + &leaf.key_pem))
    }

    /// An agent of the domain that rules speak of.
    pub(crate) fn agent(&self, name: &str) -> anyhow::Result<Evidence> {
        self.sign("agents.example", "agents", name)
    }
}

/// Somebody who calls one server.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Client,
    host: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
    session: Option<String>,
    /// Serial number of the certificate that was served, lower-case hex.
    pub(crate) serial: String,
}

/// An MCP session that is open.
pub(crate) struct Session {
    caller: Caller,
    id: Option<String>,
}

impl Caller {
    /// Somebody with this evidence, or none.
    pub(crate) async fn new(place: &Place<'_>, server: &str, evidence: Option<&Evidence>) -> anyhow::Result<Self> {
        let (client, namespace) = (&place.made.client, place.namespace);
        let trust = Api::<ConfigMap>::namespaced(client.clone(), namespace).get(&format!("{server}-trust")).await?;
        let trust = trust.data.and_then(|mut data| data.remove("ca.crt")).context("the trust bundle")?;
        let service = Api::<Service>::namespaced(client.clone(), namespace).get(server).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service's address")?;
        let address = SocketAddr::new(address.parse()?, 443);
        eventually("the node's packet filter knows the pod, a second behind its readiness", async || {
            Ok(TcpStream::connect(address).await.ok().map(drop))
        })
        .await?;
        let host = format!("{server}.{namespace}.svc");
        // No connection is kept: each request meets what is in force then.
        let mut http = Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(trust.as_bytes())?)
            .tls_info(true)
            .resolve(&host, address)
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10));
        if let Some(Evidence(pem)) = evidence {
            http = http.identity(Identity::from_pem(pem.as_bytes())?);
        }
        Ok(Self { http: http.build()?, host })
    }

    /// Opens a session and calls a tool in it. Gives the first reply that is no success, or the tool's answer.
    pub(crate) async fn call(&self, tool: &str) -> anyhow::Result<Reply> {
        let opened = self.initialize().await?;
        if opened.status != 200 {
            return Ok(opened);
        }
        self.session(opened).await?.call(tool).await
    }

    /// Opens a session.
    pub(crate) async fn open(&self) -> anyhow::Result<Session> {
        let opened = self.initialize().await?;
        ensure!(opened.status == 200, "no session: {opened:?}");
        self.session(opened).await
    }

    /// What the server's proxy says of itself, to those who may know.
    pub(crate) async fn report(&self) -> anyhow::Result<Reply> {
        let path = cardea_contract::pod::REPORT_PATH;
        reply(self.http.get(format!("https://{}{path}", self.host)).send().await?).await
    }

    async fn initialize(&self) -> anyhow::Result<Reply> {
        let client = json!({"name": "agent", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        self.post(None, json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})).await
    }

    async fn session(&self, opened: Reply) -> anyhow::Result<Session> {
        let session = Session { caller: self.clone(), id: opened.session };
        let noted = self.post(session.id.as_deref(), json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        let noted = noted.await?;
        ensure!(noted.status == 202, "the notification was not taken: {noted:?}");
        Ok(session)
    }

    async fn post(&self, session: Option<&str>, body: Value) -> anyhow::Result<Reply> {
        let mut request = self.http.post(format!("https://{}/mcp", self.host)).json(&body);
        request = request.header(ACCEPT, "application/json, text/event-stream");
        if let Some(id) = session {
            request = request.header(SESSION, id).header("mcp-protocol-version", "2025-06-18");
        }
        reply(request.send().await?).await
    }
}

impl Session {
    /// Calls a tool.
    pub(crate) async fn call(&self, tool: &str) -> anyhow::Result<Reply> {
        let params = json!({"name": tool, "arguments": {}});
        let body = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
        self.caller.post(self.id.as_deref(), body).await
    }
}

async fn reply(response: reqwest::Response) -> anyhow::Result<Reply> {
    let served = response.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate).context("a certificate")?;
    let (_, certificate) = X509Certificate::from_der(served)?;
    Ok(Reply {
        status: response.status().as_u16(),
        serial: format!("{:x}", certificate.serial),
        session: response.headers().get(SESSION).and_then(|id| Some(id.to_str().ok()?.to_owned())),
        body: response.text().await?,
    })
}

/// Calls that go on while something else happens.
pub(crate) struct Traffic {
    stop: CancellationToken,
    calls: JoinHandle<anyhow::Result<u32>>,
}

impl Traffic {
    /// Calls a tool in a session again and again, and expects every answer to hold a text.
    pub(crate) fn start(session: Session, tool: &'static str, expected: String) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let calls = tokio::spawn(async move {
            let mut beat = tokio::time::interval(BEAT);
            let mut count = 0;
            while !stopped.is_cancelled() {
                beat.tick().await;
                let reply = session.call(tool).await.with_context(|| format!("call {count}"))?;
                ensure!(reply.status == 200 && reply.body.contains(&expected), "call {count}: {reply:?}");
                count += 1;
            }
            Ok(count)
        });
        Self { stop, calls }
    }

    /// Ends them. All must have succeeded.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let count = self.calls.await??;
        ensure!(count > 1, "only {count} calls were made meanwhile");
        Ok(())
    }
}
