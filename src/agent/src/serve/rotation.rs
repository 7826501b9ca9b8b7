//! Notices that a secret has a new version, and says what the manifest wants to follow. Watches the secrets' folders, and
//! looks again every few seconds in any case, since a watch can be lost or refused.
//!
//! Does not read secrets: a version is where the link `..data` leads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cardea_contract::pod;
use cardea_contract::{GivenSecret, OnRotation};
use notify::Watcher as _;
use tokio::sync::{Notify, mpsc};

use super::environment::Environment;

/// Several secrets change in one go; a short pause spares starting a server for each.
const SETTLE: Duration = Duration::from_millis(50);

/// Tells what follows each change, until nobody listens.
pub(crate) async fn watch(environment: Arc<Environment>, poll: Duration, tell: mpsc::Sender<OnRotation>) {
    let watched: Vec<_> = environment.secrets().iter().filter(|one| one.on_rotation != OnRotation::None).collect();
    if watched.is_empty() {
        return;
    }
    let changed = Arc::new(Notify::new());
    let _watcher = watcher(&environment, &watched, &changed);
    let version = |secret: &GivenSecret| -> Option<PathBuf> {
        std::fs::read_link(environment.folder_of(secret).join(pod::SECRETS_IN_FORCE)).ok()
    };
    let mut seen: Vec<_> = watched.iter().map(|secret| version(secret)).collect();
    loop {
        if tokio::time::timeout(poll, changed.notified()).await.is_ok() {
            tokio::time::sleep(SETTLE).await;
        }
        let mut wanted = None;
        for (secret, seen) in watched.iter().zip(&mut seen) {
            // A link that cannot be read is no version.
            let Some(now) = version(secret) else { continue };
            if seen.as_ref() == Some(&now) {
                continue;
            }
            let before = seen.replace(now);
            if before.is_some() && (secret.on_rotation == OnRotation::Restart || wanted.is_none()) {
                wanted = Some(secret.on_rotation);
            }
            tracing::info!(secret = secret.name, "a secret has another version");
        }
        if let Some(wanted) = wanted
            && tell.send(wanted).await.is_err()
        {
            return;
        }
    }
}

fn watcher(
    environment: &Environment,
    watched: &[&GivenSecret],
    changed: &Arc<Notify>,
) -> Option<notify::RecommendedWatcher> {
    let notifier = changed.clone();
    let heard = move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            notifier.notify_one();
        }
    };
    let attempt = notify::recommended_watcher(heard).and_then(|mut watcher| {
        for secret in watched {
            watcher.watch(&environment.folder_of(secret), notify::RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    });
    attempt.inspect_err(|error| tracing::warn!(%error, "cannot watch the secrets; looking at them now and then")).ok()
}
