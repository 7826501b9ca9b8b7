//! Nobody is left behind: children are started here, orphans of theirs that have ended are buried, and those that have
//! not are ended with the process that they came from.
//!
//! Does not know what the processes do.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Between the news that a child has ended and the look at all of them.
const SETTLE: Duration = Duration::from_millis(20);

/// The children that somebody waits for. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Children(Arc<Mutex<HashSet<Pid>>>);

impl Children {
    /// Starts a child, at the head of a process group of its own.
    pub(crate) fn start(&self, command: &mut Command) -> std::io::Result<(Child, Pid)> {
        // Held all the while, or it could be taken for an orphan before it is known.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).ok_or(std::io::ErrorKind::NotFound)?;
        known.insert(id);
        Ok((child, id))
    }

    /// A child that was waited for.
    pub(crate) fn ended(&self, id: Pid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Becomes the parent of orphans, and buries them. Runs for ever; for a program that starts children by this alone.
    pub(crate) async fn adopt(self) -> std::io::Result<()> {
        #[cfg(target_os = "linux")]
        if std::process::id() != 1 {
            rustix::process::set_child_subreaper(Pid::from_raw(1))?;
        }
        let mut ended = signal(SignalKind::child())?;
        loop {
            ended.recv().await;
            // Several end in one go.
            tokio::time::sleep(SETTLE).await;
            self.bury();
        }
    }

    fn bury(&self) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in processes().filter(|id| !known.contains(id) && is_ended_child(*id)) {
            let _ = rustix::process::waitpid(Some(id), WaitOptions::NOHANG);
        }
    }
}

/// All processes that can be seen.
fn processes() -> impl Iterator<Item = Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Whether this is a child of this process, has ended and lies there.
fn is_ended_child(id: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.as_raw_pid())).unwrap_or_default();
    // The name before may hold anything.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let parent = |field: &str| field.parse() == Ok(std::process::id());
    fields.next() == Some("Z") && fields.next().is_some_and(parent)
}

/// Signals a process group; nothing if nobody is in it.
pub(crate) fn signal_group(id: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(id, signal)
        && error != Errno::SRCH
    {
        tracing::warn!(%error, "a process group cannot be signalled");
    }
}

/// Signals one process.
pub(crate) fn signal_one(id: Pid, signal: Signal) {
    let _ = rustix::process::kill_process(id, signal);
}

/// Ends whoever was started with this folder for temporary files: a process that has left its group has still that in
/// its environment. Finds nobody where there is no `/proc`.
pub(crate) fn sweep(temporary: &Path) {
    let mut mark = b"TMPDIR=".to_vec();
    mark.extend_from_slice(temporary.as_os_str().as_bytes());
    for id in processes() {
        let environment = std::fs::read(format!("/proc/{}/environ", id.as_raw_pid())).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark) {
            signal_one(id, Signal::KILL);
        }
    }
}
