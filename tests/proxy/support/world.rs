//! One proxy in one temporary folder, with its authority, its issuer's key and the server behind it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cardea_proxy::{AuditSink, Bound, KeyTimes, Patience, Settings, StartError};
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Answer, Authority, Client, Leaf, Server, SigningKey, message, with_header};

pub(crate) const RESOURCE: &str = "https://mcp.test/mcp";
pub(crate) const OPERATOR: &str = "spiffe://cluster.local/ns/cardea/sa/cardea-operator";
/// Begins a session of the legacy era.
pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
const ISSUER: &str = "https://issuer.test";

/// Bytes written by one, read by another.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// All of it. Files vanish and the proxy ends with it.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    pub(crate) key: SigningKey,
    pub(crate) bound: Bound,
    pub(crate) audit: Shared,
    pub(crate) config: Value,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: Option<tokio::task::JoinHandle<Result<(), StartError>>>,
}

impl World {
    /// `alice` of group `dev` may call `echo` and `get_*`, but not `get_secret`.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(edit: impl FnOnce(&mut Value)) -> Self {
        Self::timed(edit, KeyTimes::default()).await
    }

    pub(crate) async fn timed(edit: impl FnOnce(&mut Value), keys: KeyTimes) -> Self {
        Self::set(edit, |settings| settings.keys = keys).await
    }

    /// One that sends spans.
    #[cfg(feature = "otel")]
    pub(crate) async fn traced(edit: impl FnOnce(&mut Value), collector: String) -> Self {
        Self::set(edit, |settings| settings.otlp_endpoint = Some(collector)).await
    }

    /// One that waits for nobody longer than this in any way that `impatient` says.
    pub(crate) async fn hasty(edit: impl FnOnce(&mut Value), impatient: impl FnOnce(&mut Patience)) -> Self {
        Self::set(edit, |settings| {
            settings.patience.look = Duration::from_millis(50);
            impatient(&mut settings.patience);
        })
        .await
    }

    /// One that hears of changed files, and does not look for them.
    pub(crate) async fn watching() -> Self {
        Self::set(|_| {}, |settings| settings.poll = Duration::from_secs(3600)).await
    }

    /// One with other settings.
    pub(crate) async fn set(edit: impl FnOnce(&mut Value), settings: impl FnOnce(&mut Settings)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("cardea-proxy-{}-{number}", std::process::id()));
        for part in ["config", "tls", "trust", "credentials/introspection", "credentials/static"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        let server = Server::start().await;
        let key = SigningKey::new("one");
        let mut config = json!({
            "generation": 1, "namespace": "agents", "name": "double",
            "resource": RESOURCE, "hosts": ["mcp.test", "mcp.test:8443"],
            "trustDomain": "cluster.local", "operator": OPERATOR,
            "upstream": {"listens": {"port": server.port}, "path": "/server"},
            "clientAuth": "Optional",
            "authentication": {"clientCertificates": true, "issuers": [{
                "name": "corp", "url": ISSUER, "audiences": [RESOURCE],
                "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}},
                "keys": {"inline": {"jwks": {"keys": [key.jwk()]}}}
            }]},
            "rules": [
                {"name": "dev", "effect": "Allow", "principals": [{"group": {"name": "dev"}}], "tools": ["echo", "get_*"]},
                {"name": "no-secrets", "effect": "Deny", "principals": ["anyAuthenticated"], "tools": ["get_secret"]}
            ],
            "limits": {"maxBodyBytes": 65536, "requestSeconds": 10, "concurrent": 64},
            "audit": "Decisions"
        });
        edit(&mut config);
        let authority = Authority::new("cluster.local");
        let audit = Shared::default();
        let mut world = Self {
            folder,
            authority,
            server,
            key,
            bound: Bound { proxy: ([127, 0, 0, 1], 0).into(), admin: ([127, 0, 0, 1], 0).into() },
            audit,
            config,
            shutdown: CancellationToken::new(),
            ended: None,
        };
        world.write_config(&world.config.to_string());
        world.write_leaf(&world.authority.sign(0xabc, "proxy", &["mcp.test"]));
        world.write("trust", "ca.crt", &world.authority.pem);
        world.run(settings).await.unwrap();
        world
    }

    async fn run(&mut self, set: impl FnOnce(&mut Settings)) -> Result<(), StartError> {
        let mut settings = Settings {
            config_file: self.folder.join("config/proxy.json"),
            tls_dir: self.folder.join("tls"),
            trust_dir: self.folder.join("trust"),
            credentials_dir: self.folder.join("credentials"),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            drain: Duration::from_secs(5),
            poll: Duration::from_millis(100),
            audit: AuditSink::to(self.audit.clone()),
            ..Settings::default()
        };
        set(&mut settings);
        let (sender, receiver) = oneshot::channel();
        let running = cardea_proxy::run(settings, self.shutdown.clone(), |bound| {
            sender.send(bound).unwrap();
        });
        let task = tokio::spawn(running);
        match receiver.await {
            Ok(bound) => self.bound = bound,
            Err(_) => return task.await.unwrap(),
        }
        self.ended = Some(task);
        Ok(())
    }

    /// Replaces a file whole, as kubelet does.
    pub(crate) fn write(&self, part: &str, name: &str, text: &str) {
        let (file, new) = (self.folder.join(part).join(name), self.folder.join(format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    pub(crate) fn write_config(&self, text: &str) {
        self.write("config", "proxy.json", text);
    }

    pub(crate) fn write_leaf(&self, leaf: &Leaf) {
        self.write("tls", "tls.key", &leaf.key);
        self.write("tls", "tls.crt", &leaf.chain);
    }

    /// A caller without certificate.
    pub(crate) fn anonymous(&self) -> Client {
        Client::new(self.bound.proxy, &[&self.authority], None, "http/1.1")
    }

    /// A caller with a certificate.
    pub(crate) fn bearing(&self, leaf: &Leaf) -> Client {
        Client::new(self.bound.proxy, &[&self.authority], Some(leaf), "http/1.1")
    }

    /// The operator.
    pub(crate) fn operator(&self) -> Client {
        self.bearing(&self.authority.sign(5, "operator", &[OPERATOR]))
    }

    /// A token of alice's, with other claims over hers.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.key.token(ISSUER, claims)
    }

    /// A request with alice's token.
    pub(crate) fn as_alice(&self, request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        with_header(request, "authorization", &format!("Bearer {}", self.token(&json!({}))))
    }

    /// Sends with alice's token.
    pub(crate) async fn alice(&self, request: Request<Full<Bytes>>) -> Answer {
        self.anonymous().send(self.as_alice(request)).await
    }

    /// Sends with this token.
    pub(crate) async fn with_token(&self, token: &str, request: Request<Full<Bytes>>) -> Answer {
        self.anonymous().send(with_header(request, "authorization", &format!("Bearer {token}"))).await
    }

    /// Begins a session with this token where the server calls it `id`, and gives what the caller gets for that.
    pub(crate) async fn session(&self, token: &str, id: &str) -> String {
        self.server.with_session(id);
        let answer = self.with_token(token, message(INITIALIZE)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.server.forget();
        answer.header("mcp-session-id").to_owned()
    }

    /// The report, as the operator reads it.
    pub(crate) async fn report(&self) -> Value {
        let request = Request::get("/.cardea/status").header("host", "10.1.2.3:8443").body(Full::default()).unwrap();
        let answer = self.operator().send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// A GET on the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let stream = tokio::net::TcpStream::connect(self.bound.admin).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "admin").body(Full::<Bytes>::default()).unwrap();
        Answer::of(sender.send_request(request).await.unwrap()).await
    }

    /// These bytes on the admin port, and what comes until the connection ends.
    pub(crate) async fn admin_raw(&self, bytes: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.bound.admin).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// How often this limit was met.
    pub(crate) async fn met(&self, limit: &str) -> u64 {
        let metrics = self.admin("/metrics").await;
        let text = String::from_utf8(metrics.body.to_vec()).unwrap();
        let name = format!("cardea_proxy_limits_met_total{{limit=\"{limit}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }

    /// Audit lines of decisions so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.audit_lines("Decision")
    }

    /// The last of them.
    pub(crate) fn last_line(&self) -> Value {
        self.lines().pop().expect("an audit line")
    }

    /// Audit lines of outcomes, once there are so many: the last byte is on its way before they are written.
    pub(crate) async fn outcomes(&self, count: usize) -> Vec<Value> {
        eventually("outcomes", async || self.audit_lines("Outcome").len() >= count).await;
        self.audit_lines("Outcome")
    }

    fn audit_lines(&self, event: &str) -> Vec<Value> {
        let lines = self.audit.text();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["event"] == event)
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until this holds; fails after ten seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
