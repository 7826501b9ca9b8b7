//! Notices that the manifest has changed: by watching its folder (editors replace files), and by looking now and then.
//!
//! Does not know what is in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::Watcher as _;
use tokio::sync::Notify;

use crate::documents;

/// Editors write a file in steps; a short pause spares reading half of it.
const SETTLE: Duration = Duration::from_millis(50);
/// How often it is looked at in any case.
const POLL: Duration = Duration::from_secs(2);

/// The watched file.
pub(crate) struct Watch {
    file: PathBuf,
    seen: Option<String>,
    heard: Arc<Notify>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Watches `file`, which was read as `text`.
    pub(crate) fn new(file: &Path, text: String) -> Self {
        let heard = Arc::new(Notify::new());
        let notifier = heard.clone();
        let tell = move |event: notify::Result<notify::Event>| {
            if !event.is_ok_and(|event| event.kind.is_access()) {
                notifier.notify_one();
            }
        };
        let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let watcher = notify::recommended_watcher(tell)
            .and_then(|mut watcher| watcher.watch(folder, notify::RecursiveMode::NonRecursive).map(|()| watcher));
        Self { file: file.to_owned(), seen: Some(text), heard, _watcher: watcher.ok() }
    }

    /// Waits for other text than was seen last, or for a file that cannot be read any more. Standard input never changes.
    pub(crate) async fn changed(&mut self) -> anyhow::Result<String> {
        if self.file == Path::new("-") {
            return std::future::pending().await;
        }
        loop {
            if tokio::time::timeout(POLL, self.heard.notified()).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
            match (documents::text(&self.file), &self.seen) {
                (Ok(text), Some(seen)) if text == *seen => {}
                (Err(_), None) => {}
                (Ok(text), _) => {
                    self.seen = Some(text.clone());
                    return Ok(text);
                }
                (Err(problem), Some(_)) => {
                    self.seen = None;
                    return Err(problem);
                }
            }
        }
    }
}
