//! What is known of the server: what it answered to the last handshake, and whether that still counts. It is asked when
//! somebody wants to know, by one at a time; what it says of its tools in passing makes the answer old.
//!
//! Does not know how a handshake goes ([`crate::handshake`]), nor what follows from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Shared, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use cardea_contract::{Handshake, HandshakeFailure, RuleWarning, ToolFlag, Upstream};
use cardea_policy::{ToolDefinition, rule_warnings};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Proxy;
use crate::config::Snapshot;
use crate::handshake::{self, Tools};

/// A server that answered is not asked again for this long.
const KEEP_SUCCESS: Duration = Duration::from_secs(30);
/// One that did not, for this long.
const KEEP_FAILURE: Duration = Duration::from_secs(1);
/// Until a handshake must be over.
const LIMIT: Duration = Duration::from_secs(3);

/// The method by which a server says that its tools have changed.
pub(crate) const TOOLS_CHANGED: &str = "notifications/tools/list_changed";

/// The last look at the server.
#[derive(Default)]
pub(crate) struct Known {
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
    /// What was made of it last, by the digest of the configuration.
    warnings: Shared<Option<(String, Vec<RuleWarning>)>>,
}

impl Known {
    /// A look that still counts: the last one, or a new one.
    pub(crate) async fn look(&self, proxy: &Proxy, snapshot: &Snapshot) -> Arc<Look> {
        let address = &snapshot.config.upstream;
        if let Some(look) = self.current(address) {
            return look;
        }
        let _turn = self.turn.lock().await;
        if let Some(look) = self.current(address) {
            return look;
        }
        let changes = self.changes.load(Ordering::Relaxed);
        let sign = || proxy.signer.sign_own(&snapshot.config.resource);
        let failed = |message| (Handshake::Failed(HandshakeFailure { message }), Tools::default());
        let (handshake, tools) = match tokio::time::timeout(LIMIT, handshake::perform(address, sign)).await {
            Ok(Ok(met)) => (Handshake::Succeeded(met.info), met.tools),
            Ok(Err(failure)) => failed(failure.to_string()),
            Err(_) => failed("the server took too long to answer".into()),
        };
        let (at, of) = (Instant::now(), address.clone());
        let look = Arc::new(Look { at, of, changes, handshake, tools, warnings: Shared::default() });
        self.last.store(Some(look.clone()));
        look
    }

    /// The last look, if it still counts.
    fn current(&self, address: &Upstream) -> Option<Arc<Look>> {
        self.last(address).filter(|look| {
            let keep = if matches!(look.handshake, Handshake::Succeeded(_)) { KEEP_SUCCESS } else { KEEP_FAILURE };
            look.changes == self.changes.load(Ordering::Relaxed) && look.at.elapsed() < keep
        })
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

impl Look {
    /// The one tool of this name.
    pub(crate) fn tool(&self, name: &str) -> Option<&ToolDefinition> {
        let at = self.tools.all.binary_search_by(|tool| tool.name.as_str().cmp(name)).ok()?;
        self.tools.all.get(at).filter(|tool| !tool.flags.contains(&ToolFlag::NameTwice))
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
