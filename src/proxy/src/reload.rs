//! Notices that mounted files have changed: watches their folders (kubelet swaps a `..data` symlink in them) and looks
//! again every few seconds in any case, since a watch can be lost or refused.
//!
//! Does not know what is in the files.

use std::io::{Error, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher;
use tokio::sync::{Notify, watch};

use crate::config::{self, ConfigStore};
use crate::metrics::{Metrics, Outcome};
use crate::tls::TlsStore;

/// Several files change in one go; a short pause spares loading half of them.
const SETTLE: Duration = Duration::from_millis(20);

/// What is kept up to date.
pub(crate) struct Watch {
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) tls: Arc<TlsStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) poll: Duration,
    /// Told when anything else is in force than before.
    pub(crate) changes: watch::Sender<()>,
}

impl Watch {
    /// Runs for ever.
    pub(crate) async fn run(self) {
        let changed = Arc::new(Notify::new());
        let _watcher = self.watch(&changed);
        loop {
            let pause = self.config.until_an_end().map_or(self.poll, |left| left.clamp(SETTLE, self.poll));
            let heard = tokio::time::timeout(pause, changed.notified()).await.is_ok();
            if heard {
                tokio::time::sleep(SETTLE).await;
            }
            self.look();
        }
    }

    fn watch(&self, changed: &Arc<Notify>) -> Option<notify::RecommendedWatcher> {
        let notifier = changed.clone();
        let heard = move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too; taking it for a change would make every look cause the next.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                notifier.notify_one();
            }
        };
        let attempt = notify::recommended_watcher(heard).and_then(|mut watcher| {
            for folder in [self.config.folder(), self.tls.tls_dir().into(), self.tls.trust_dir().into()] {
                watcher.watch(&folder, notify::RecursiveMode::NonRecursive)?;
            }
            // Mounted with the pod, or never.
            if let Some(folder) = self.config.static_tokens_folder().filter(|folder| folder.exists()) {
                watcher.watch(&folder, notify::RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match attempt {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "cannot watch the mounted folders; looking at them every {:?} instead", self.poll);
                None
            }
        }
    }

    fn look(&self) {
        match self.config.reload() {
            Reload::Unchanged => {}
            Reload::InForce => {
                self.metrics.config_reload(Outcome::Ok);
                self.changes.send_replace(());
                tracing::info!(generation = self.config.current().config.generation, "configuration in force");
            }
            Reload::Rejected(reason) => {
                self.metrics.config_reload(Outcome::Failed);
                tracing::error!(reason, "configuration rejected; the former stays in force");
            }
        }
        if self.config.end_rules() {
            self.changes.send_replace(());
            tracing::info!("a rule has come to its end, or is again since the clock was set back");
        }
        match self.config.current().static_tokens.as_ref().map(|tokens| tokens.reload()) {
            None | Some(Reload::Unchanged) => {}
            Some(Reload::InForce) => {
                self.metrics.static_token_reload(Outcome::Ok);
                self.changes.send_replace(());
                tracing::info!("static tokens in force");
            }
            Some(Reload::Rejected(reason)) => {
                self.metrics.static_token_reload(Outcome::Failed);
                tracing::error!(reason, "static tokens rejected; the former stay in force");
            }
        }
        match self.tls.reload(self.config.current().config.client_auth) {
            Ok(false) => {}
            Ok(true) => {
                self.metrics.tls_reload(Outcome::Ok);
                self.changes.send_replace(());
                let leaf = &self.tls.current().leaf;
                tracing::info!(
                    serial = leaf.serial,
                    not_after = leaf.not_after,
                    "certificate and trust bundle in force"
                );
            }
            Err(reason) => {
                self.metrics.tls_reload(Outcome::Failed);
                tracing::error!(reason, "certificate or trust bundle rejected; the former stays in force");
            }
        }
    }
}

/// What a look at a file found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    Unchanged,
    InForce,
    Rejected(String),
}

/// A mounted file as it was seen last, and why it is not in force, if it is not.
#[derive(Default)]
pub(crate) struct Seen {
    bytes: Option<Vec<u8>>,
    rejected: Option<String>,
}

impl Seen {
    /// One that was read and is in force.
    pub(crate) fn in_force(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes), rejected: None }
    }

    /// Why the file is not in force, if it is not.
    pub(crate) fn rejected(&self) -> Option<String> {
        self.rejected.clone()
    }

    /// Takes what was read, if it is news, and puts it in force.
    pub(crate) fn look<E: std::error::Error>(
        &mut self,
        read: Result<Vec<u8>, E>,
        put_in_force: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Reload {
        let bytes = match read {
            Ok(bytes) if self.bytes.as_ref() == Some(&bytes) => return Reload::Unchanged,
            Ok(bytes) => bytes,
            Err(error) => {
                // Forget the bytes, so that the same file counts as news when it is back.
                self.bytes = None;
                return self.reject(&error);
            }
        };
        let outcome = put_in_force(&bytes);
        self.bytes = Some(bytes);
        match outcome {
            Ok(()) => {
                self.rejected = None;
                Reload::InForce
            }
            Err(error) => self.reject(&error),
        }
    }

    fn reject(&mut self, error: &dyn std::error::Error) -> Reload {
        let reason = config::reason(error);
        if self.rejected.as_ref() == Some(&reason) {
            return Reload::Unchanged;
        }
        self.rejected = Some(reason.clone());
        Reload::Rejected(reason)
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(ErrorKind::FileTooLarge, "the file is too large"));
    }
    Ok(bytes)
}
