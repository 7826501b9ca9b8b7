//! Asks the proxies how they are: over mutual TLS, with the operator's own identity, beside the reconciles. A server that
//! does not answer costs a bounded task now and then and holds up nobody; what an answer changes wakes its server.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use cardea_contract::{ProxyReport, pod};
use cardea_pki::{Authority, LeafFacts, LeafRequest};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::time::{DelayQueue, delay_queue};

use crate::children::ServerKey;
use crate::installation::Installation;
use crate::nudge::Behind;

/// What the proxies of a server answered last, by pod.
pub type Answers = BTreeMap<String, Answer>;

/// What one proxy answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its report.
    Report(Box<ProxyReport>),
    /// None: it could not be reached or made no sense.
    Unreachable,
}

/// Whom to ask about a server, and what they should enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Addresses of its proxies, by pod.
    pub proxies: BTreeMap<String, String>,
    /// Digest of the configuration that they should have in force, if it is known. Until they do they are asked more often.
    pub configuration: Option<String>,
    /// Whether what they report decides when the pods are replaced.
    pub rolls: bool,
}

const TIMEOUT: Duration = Duration::from_secs(5);
const LARGEST_REPORT: usize = 1024 * 1024;
/// Servers asked at once.
const AT_ONCE: usize = 32;
/// Pods of one server asked at once.
const PODS_AT_ONCE: usize = 16;
const LONGEST_ROUND: Duration = Duration::from_secs(15);
/// Pause between two rounds with a server that is well.
const WELL: Duration = Duration::from_secs(30);
/// Pause with one that is well and whose pods are replaced by what they report.
const ROLLING: Duration = Duration::from_secs(5);
/// First pause with one that is not; doubles up to [`WELL`].
const UNWELL: Duration = Duration::from_millis(250);
/// Seconds to which it is told when a store last answered.
const REACHED_SECONDS: i64 = 300;
const OWN_LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Where reconciles say whom to ask, and find what was answered.
#[derive(Clone)]
pub struct Inquiry {
    commands: UnboundedSender<(ServerKey, Option<Targets>)>,
    answers: Arc<Mutex<HashMap<ServerKey, Answers>>>,
}

impl Inquiry {
    /// An inquiry and what it runs on.
    pub fn new() -> (Self, UnboundedReceiver<(ServerKey, Option<Targets>)>) {
        let (commands, receiver) = unbounded_channel();
        (Self { commands, answers: Arc::default() }, receiver)
    }

    /// Asks these proxies of a server from now on. Costs nothing if they are the same as before.
    pub fn follow(&self, server: &ServerKey, targets: Targets) {
        let _ = self.commands.send((server.clone(), Some(targets)));
    }

    /// Asks nobody of this server any more.
    pub fn forget(&self, server: &ServerKey) {
        let _ = self.commands.send((server.clone(), None));
    }

    /// What was answered last.
    pub fn answers(&self, server: &ServerKey) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(server).cloned().unwrap_or_default()
    }

    /// Runs until the last [`Inquiry`] is gone. `nudge` is told of pods whose configuration has not reached them.
    pub async fn run(
        self,
        mut commands: UnboundedReceiver<(ServerKey, Option<Targets>)>,
        identity: Identity,
        wake: UnboundedSender<ServerKey>,
        nudge: UnboundedSender<Behind>,
    ) {
        let mut identity = identity;
        let mut followed: HashMap<ServerKey, Followed> = HashMap::new();
        let mut due: DelayQueue<ServerKey> = DelayQueue::new();
        let mut rounds: JoinSet<Round> = JoinSet::new();
        let mut started = 0_u64;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some((server, None)) => {
                        if let Some(Followed { turn: Turn::Due(key), .. }) = followed.remove(&server) {
                            due.remove(&key);
                        }
                        self.replace(&server, &Answers::new());
                    }
                    Some((server, Some(targets))) => {
                        let known = followed.entry(server.clone()).or_default();
                        if known.targets != targets {
                            known.targets = targets;
                            known.pause = UNWELL;
                            match &known.turn {
                                Turn::Idle => known.turn = Turn::Due(due.insert(server, Duration::ZERO)),
                                Turn::Due(key) => due.reset(key, Duration::ZERO),
                                // Its end sees the new targets.
                                Turn::UnderWay(_) => {}
                            }
                        }
                    }
                },
                Some(expired) = due.next(), if rounds.len() < AT_ONCE && !due.is_empty() => {
                    let server = expired.into_inner();
                    let Some(known) = followed.get_mut(&server) else { continue };
                    if known.targets.proxies.is_empty() {
                        known.turn = Turn::Idle;
                        if self.replace(&server, &Answers::new()) {
                            let _ = wake.send(server);
                        }
                        continue;
                    }
                    let targets = known.targets.clone();
                    match identity.tls() {
                        Ok(tls) => {
                            started += 1;
                            known.turn = Turn::UnderWay(started);
                            let number = started;
                            rounds.spawn(async move {
                                let answers = ask_all(&server, &targets, &tls).await;
                                Round { number, server, targets, answers }
                            });
                        }
                        Err(error) => {
                            tracing::error!(error = format!("{error:#}"), "cannot make the operator's own certificate");
                            known.turn = Turn::Due(due.insert(server, WELL));
                        }
                    }
                }
                Some(Ok(round)) = rounds.join_next(), if !rounds.is_empty() => {
                    let Round { number, server, targets, answers } = round;
                    // A server that was forgotten meanwhile, and perhaps made anew, has no use for this round.
                    let Some(known) = followed.get_mut(&server).filter(|known| known.turn == Turn::UnderWay(number)) else {
                        continue;
                    };
                    let pause = if known.targets != targets {
                        Duration::ZERO
                    } else if answers.values().all(|answer| answer.is_well(targets.configuration.as_deref())) {
                        known.pause = UNWELL;
                        if targets.rolls { ROLLING } else { WELL }
                    } else {
                        let pause = known.pause;
                        known.pause = (pause * 2).min(WELL);
                        pause
                    };
                    known.turn = Turn::Due(due.insert(server.clone(), pause));
                    for (pod, answer) in &answers {
                        if answer.is_behind(targets.configuration.as_deref()) {
                            let _ = nudge.send((server.0.clone(), pod.clone()));
                        }
                    }
                    if self.replace(&server, &answers) {
                        let _ = wake.send(server);
                    }
                }
            }
        }
    }

    fn replace(&self, server: &ServerKey, answers: &Answers) -> bool {
        let mut all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if answers.is_empty() { all.remove(server) } else { all.insert(server.clone(), answers.clone()) };
        before.unwrap_or_default() != *answers
    }
}

/// One server that is asked again and again.
#[derive(Default)]
struct Followed {
    targets: Targets,
    pause: Duration,
    turn: Turn,
}

/// When a server is asked next. It is in one place at a time, however often it is forgotten and made anew.
#[derive(Default, PartialEq)]
enum Turn {
    /// Never: there is nobody to ask.
    #[default]
    Idle,
    /// When its time in the queue has come.
    Due(delay_queue::Key),
    /// The round of this number is under way.
    UnderWay(u64),
}

/// What a round brought.
struct Round {
    number: u64,
    server: ServerKey,
    targets: Targets,
    answers: Answers,
}

impl Answer {
    /// Whether it decides by another configuration, which the kubelet may not have brought yet.
    fn is_behind(&self, configuration: Option<&str>) -> bool {
        match self {
            Self::Report(report) => {
                report.rejected_config.is_none() && configuration.is_some_and(|wanted| report.configuration != wanted)
            }
            Self::Unreachable => false,
        }
    }

    fn is_well(&self, configuration: Option<&str>) -> bool {
        match self {
            Self::Report(report) => {
                matches!(report.handshake, cardea_contract::Handshake::Succeeded(_))
                    && configuration.is_none_or(|wanted| report.configuration == wanted)
                    && report.rejected_config.is_none()
                    && report.issuers_without_keys.is_empty()
            }
            Self::Unreachable => false,
        }
    }
}

/// Asks all proxies of a server, a few at once and all within [`LONGEST_ROUND`]: hundreds that do not answer keep no other
/// server waiting.
async fn ask_all(server: &ServerKey, targets: &Targets, tls: &TlsConnector) -> Answers {
    let mut answers: Answers = targets.proxies.keys().map(|pod| (pod.clone(), Answer::Unreachable)).collect();
    let asking = targets.proxies.clone().into_iter().map(|(pod, address)| {
        let (server, tls) = (server.clone(), tls.clone());
        async move {
            let answer = match tokio::time::timeout(TIMEOUT, ask(&server, &address, &tls)).await {
                Ok(Ok(report)) => Answer::Report(Box::new(report)),
                Ok(Err(error)) => {
                    let error = format!("{error:#}");
                    tracing::debug!(namespace = server.0, server = server.1, pod, error, "no report");
                    Answer::Unreachable
                }
                Err(_) => Answer::Unreachable,
            };
            (pod, answer)
        }
    });
    let mut asked = futures::stream::iter(asking).buffer_unordered(PODS_AT_ONCE);
    let all = async {
        while let Some((pod, answer)) = asked.next().await {
            answers.insert(pod, answer);
        }
    };
    // Whoever was not reached by then stands as unreachable.
    let _ = tokio::time::timeout(LONGEST_ROUND, all).await;
    answers
}

async fn ask(server: &ServerKey, address: &str, tls: &TlsConnector) -> anyhow::Result<ProxyReport> {
    let host = format!("{}.{}.svc", server.1, server.0);
    let address: IpAddr = address.parse().context("the pod's address")?;
    let stream = TcpStream::connect((address, pod::PROXY_PORT)).await.context("connecting")?;
    let stream = tls.connect(ServerName::try_from(host.clone())?, stream).await.context("TLS handshake")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request =
        http::Request::get(pod::REPORT_PATH).header(http::header::HOST, host).body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await.context("asking")?;
    anyhow::ensure!(response.status() == http::StatusCode::OK, "answered {}", response.status());
    let body = Limited::new(response.into_body(), LARGEST_REPORT).collect().await.map_err(anyhow::Error::from_boxed)?;
    let report = serde_json::from_slice(&body.to_bytes()).context("reading the report")?;
    Ok(coarse(report))
}

/// A report as it is compared with the one before: that a store answered once more is no news each time.
fn coarse(mut report: ProxyReport) -> ProxyReport {
    for store in report.secrets.iter_mut().flat_map(|secrets| &mut secrets.stores) {
        store.reached_at = store.reached_at.map(|second| second - second.rem_euclid(REACHED_SECONDS));
    }
    report
}

/// The operator's own certificate, kept in memory and renewed in time.
pub struct Identity {
    authority: Arc<Authority>,
    request: LeafRequest,
    current: Option<(LeafFacts, TlsConnector)>,
}

impl Identity {
    /// An identity that this authority vouches for.
    pub fn new(authority: Arc<Authority>, installation: &Installation) -> Self {
        let request =
            LeafRequest { dns_names: vec![], spiffe_id: installation.operator_id(), lifetime: OWN_LEAF_LIFETIME };
        Self { authority, request, current: None }
    }

    fn tls(&mut self) -> anyhow::Result<TlsConnector> {
        let now = Timestamp::now();
        let digest = self.request.digest(self.authority.id());
        if let Some((facts, tls)) = &self.current
            && matches!(cardea_pki::decide(Some(facts), &digest, now), cardea_pki::Renewal::KeepUntil(_))
        {
            return Ok(tls.clone());
        }
        let leaf = self.authority.issue(&self.request, now)?;
        let facts =
            LeafFacts { serial: leaf.serial, not_before: leaf.not_before, not_after: leaf.not_after, request: digest };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority.trust_bundle().as_bytes()) {
            roots.add(certificate?)?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(leaf.certificate_pem.as_bytes())?],
            PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes())?,
        )?;
        let tls = TlsConnector::from(Arc::new(config));
        self.current = Some((facts, tls.clone()));
        Ok(tls)
    }
}

#[cfg(test)]
mod tests {
    use cardea_pki::TrustDomain;

    use super::*;

    /// A pod at which nobody listens.
    fn pod(name: &str) -> Targets {
        Targets { proxies: [(name.to_owned(), "127.0.0.254".to_owned())].into(), configuration: None, rolls: false }
    }

    #[tokio::test]
    async fn new_pods_are_asked_at_once_and_so_is_a_server_made_anew() {
        let installation = Installation {
            namespace: "cardea-system".into(),
            service_account: "cardea-operator".into(),
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            cluster_domain: "cluster.local".into(),
            proxy_image: String::new(),
            proxy_pull_policy: String::new(),
            agent_image: String::new(),
            agent_pull_policy: String::new(),
        };
        let authority = Authority::create(&installation.trust_domain, Timestamp::now()).unwrap();
        let (inquiry, commands) = Inquiry::new();
        let (wake, mut wakes) = unbounded_channel();
        let identity = Identity::new(Arc::new(authority), &installation);
        let (nudge, _) = unbounded_channel();
        let running = tokio::spawn(inquiry.clone().run(commands, identity, wake, nudge));
        let server = ("demo".to_owned(), "web".to_owned());
        let soon = Duration::from_millis(900);

        for name in ["first", "second", "third"] {
            inquiry.follow(&server, pod(name));
            assert_eq!(tokio::time::timeout(soon, wakes.recv()).await.unwrap(), Some(server.clone()), "{name}");
            assert_eq!(inquiry.answers(&server), Answers::from([(name.to_owned(), Answer::Unreachable)]));
        }
        for _ in 0..3 {
            inquiry.forget(&server);
            inquiry.follow(&server, pod("third"));
            tokio::time::timeout(soon, wakes.recv()).await.unwrap();
        }
        inquiry.follow(&server, Targets::default());
        tokio::time::timeout(soon, wakes.recv()).await.unwrap();
        assert!(inquiry.answers(&server).is_empty());
        running.abort();
    }
}
