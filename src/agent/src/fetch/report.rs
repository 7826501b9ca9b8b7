//! The report's file: written whole or not at all, and only when it says something else. Knows nothing of what it says.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cardea_contract::SecretsReport;

/// Largest report that is read.
const MAX_REPORT: u64 = 16 << 20;

/// The file.
pub(super) struct ReportFile {
    path: PathBuf,
    written: Option<SecretsReport>,
}

impl ReportFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, written: None }
    }

    /// Writes it, unless the file says so already.
    pub(super) fn write(&mut self, report: SecretsReport) -> io::Result<()> {
        if self.written.as_ref() == Some(&report) {
            return Ok(());
        }
        let half = self.path.with_extension("half");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&half)?;
        file.write_all(&serde_json::to_vec(&report)?)?;
        fs::rename(&half, &self.path)?;
        self.written = Some(report);
        Ok(())
    }
}

/// The report of a run, this one or an earlier one; none if there is none that can be read.
pub(super) fn read(path: &Path) -> Option<SecretsReport> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(MAX_REPORT).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
