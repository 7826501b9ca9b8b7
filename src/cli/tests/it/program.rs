//! The program, in a folder of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Files that commands are asked about.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    /// A folder with these files.
    pub(crate) fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.put(name, text);
        }
        folder
    }

    /// Writes a file.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `cardea` there.
    pub(crate) fn cardea(&self, words: &[&str]) -> Answer {
        cardea(self.0.path(), words)
    }
}

/// Where it is.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_cardea"))
}

/// Runs `cardea` in a folder.
pub(crate) fn cardea(folder: &Path, words: &[&str]) -> Answer {
    let mut command = Command::new(program());
    // Nothing of who runs the tests, their clusters neither.
    command.current_dir(folder).args(words).env_remove("CARDEA_LOG").env("KUBECONFIG", "/nonexistent");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: status.code(), says: text(stdout), errors: text(stderr) }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    /// On the standard output.
    pub(crate) says: String,
    /// On the standard error.
    pub(crate) errors: String,
}
