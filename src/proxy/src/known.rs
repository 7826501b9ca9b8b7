//! What is known of the server: what it answered to the last handshake, and whether that still counts. It is asked when
//! somebody wants to know, by one at a time; what it says of its tools in passing makes the answer old.
//!
//! Does not know how a handshake goes ([`crate::handshake`]), nor what follows from it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use cardea_contract::{Handshake, HandshakeFailure, Listens, RuleWarning, ToolFlag, Upstream};
use cardea_policy::{Mirror, ToolDefinition, rule_warnings};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Proxy;
use crate::config::Snapshot;
use crate::handshake::{self, Tools};

/// A server that did not answer is not asked again for this long.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
/// Until a handshake must be over, and how long anybody waits for one.
const LIMIT: Duration = Duration::from_secs(3);
/// A look at a stdio server is a process of it: it may take so much longer, and counts for so much longer.
const PROCESSES: u32 = 20;
const TOO_LONG: &str = "the server took too long to answer";

/// The method by which a server says that its tools have changed.
pub(crate) const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

/// The last look at the server.
pub(crate) struct Known {
    /// A server that answered is not asked again for this long.
    keep: Duration,
    last: ArcSwapOption<Look>,
    /// How often the server has shown that its tools are others.
    changes: AtomicU64,
    turn: Mutex<()>,
}

/// What a look at the server found.
pub(crate) struct Look {
    at: Instant,
    of: Upstream,
    /// How many changes there had been when it began.
    changes: u64,
    /// What it answered.
    pub(crate) handshake: Handshake,
    tools: Tools,
    /// Arguments that clients send in headers too, by tool: those of tools that have any.
    mirrors: HashMap<String, Vec<Mirror>>,
    /// What was made of it last, by the digest of the configuration.
    warnings: Shared<Option<(String, Vec<RuleWarning>)>>,
}

impl Known {
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, last: ArcSwapOption::empty(), changes: AtomicU64::new(0), turn: Mutex::new(()) }
    }

    /// A look that still counts: the last one, or a new one.
    pub(crate) async fn look(&self, proxy: &Arc<Proxy>, snapshot: &Arc<Snapshot>) -> Arc<Look> {
        if let Some(look) = self.current(&snapshot.config.upstream) {
            return look;
        }
        let (proxy, of) = (proxy.clone(), snapshot.clone());
        // Whoever waits may leave; a session that was begun is to be ended nevertheless.
        let looking = tokio::spawn(async move { proxy.known.look_again(&proxy, &of).await });
        // Nor does anybody wait for one look after another, of a server that changes all the time.
        match tokio::time::timeout(LIMIT, looking).await {
            Ok(look) => look.unwrap_or_else(|_| Look::failed(snapshot, "the look was broken off")),
            Err(_) => Look::failed(snapshot, TOO_LONG),
        }
    }

    async fn look_again(&self, proxy: &Proxy, snapshot: &Snapshot) -> Arc<Look> {
        let address = &snapshot.config.upstream;
        let _turn = self.turn.lock().await;
        if let Some(look) = self.current(address) {
            return look;
        }
        let changes = self.changes.load(Ordering::Relaxed);
        let sign = || proxy.signer.sign_own(&snapshot.config.resource);
        let limit = if is_process(address) { LIMIT * PROCESSES } else { LIMIT };
        let look = match tokio::time::timeout(limit, handshake::perform(address, sign)).await {
            Ok(Ok(met)) => Look::new(snapshot, changes, Handshake::Succeeded(met.info), met.tools),
            Ok(Err(failure)) => Look::failed(snapshot, &failure.to_string()),
            Err(_) => Look::failed(snapshot, TOO_LONG),
        };
        self.last.store(Some(look.clone()));
        look
    }

    /// The last look, if it still counts.
    fn current(&self, address: &Upstream) -> Option<Arc<Look>> {
        self.last(address).filter(|look| match look.handshake {
            Handshake::Succeeded(_) => {
                look.changes == self.changes.load(Ordering::Relaxed) && look.at.elapsed() < self.keep(address)
            }
            Handshake::Failed(_) => look.at.elapsed() < KEEP_FAILURE,
        })
    }

    fn keep(&self, address: &Upstream) -> Duration {
        if is_process(address) { self.keep * PROCESSES } else { self.keep }
    }

    /// The last look, whether it still counts or not.
    pub(crate) fn last(&self, address: &Upstream) -> Option<Arc<Look>> {
        self.last.load_full().filter(|look| look.of == *address)
    }

    /// The server said that its tools have changed.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// The server lists this for somebody. If it told us otherwise, what it told us counts no more.
    pub(crate) fn listed(&self, address: &Upstream, tool: &ToolDefinition) {
        let known = self.current(address);
        if known.is_some_and(|look| look.tool(&tool.name).is_some_and(|known| known.digest != tool.digest)) {
            self.changed();
        }
    }
}

fn is_process(address: &Upstream) -> bool {
    matches!(address.listens, Listens::Socket(_))
}

impl Look {
    fn new(snapshot: &Snapshot, changes: u64, handshake: Handshake, tools: Tools) -> Arc<Self> {
        let of = snapshot.config.upstream.clone();
        let mirrors = tools.all.iter().map(|tool| (tool.name.clone(), tool.mirrors()));
        let mirrors = mirrors.filter(|(_, mirrors)| !mirrors.is_empty()).collect();
        Arc::new(Self { at: Instant::now(), of, changes, handshake, tools, mirrors, warnings: Shared::default() })
    }

    fn failed(snapshot: &Snapshot, message: &str) -> Arc<Self> {
        let failure = HandshakeFailure { message: message.to_owned() };
        Self::new(snapshot, 0, Handshake::Failed(failure), Tools::default())
    }

    /// The one tool of this name.
    pub(crate) fn tool(&self, name: &str) -> Option<&ToolDefinition> {
        let at = self.tools.all.binary_search_by(|tool| tool.name.as_str().cmp(name)).ok()?;
        self.tools.all.get(at).filter(|tool| !tool.flags.contains(&ToolFlag::NameTwice))
    }

    /// Arguments of the one tool of this name that clients send in headers too.
    pub(crate) fn mirrors(&self, tool: &str) -> &[Mirror] {
        self.mirrors.get(tool).map(Vec::as_slice).unwrap_or_default()
    }

    /// What of the rules does not fit the tools; nothing, if not all of them are known.
    pub(crate) fn rule_warnings(&self, snapshot: &Snapshot) -> Vec<RuleWarning> {
        if self.tools.cut || matches!(self.handshake, Handshake::Failed(_)) {
            return Vec::new();
        }
        let mut made = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((digest, warnings)) if *digest == snapshot.digest => warnings.clone(),
            _ => {
                let warnings = rule_warnings(&snapshot.config.rules, &self.tools.all);
                *made = Some((snapshot.digest.clone(), warnings.clone()));
                warnings
            }
        }
    }
}
