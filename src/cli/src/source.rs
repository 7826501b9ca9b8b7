//! Where the manifests of a question are taken from.

use std::path::{Path, PathBuf};

use crate::documents;
use crate::manifest::Manifests;

/// Flags that say where an McpServer is.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// File with the McpServer, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// Name of the McpServer, if there are several.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

impl Source {
    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.filename
    }

    /// The server that is meant, if one is named.
    pub(crate) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Reads the manifests.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn manifests(&self) -> anyhow::Result<Manifests> {
        Manifests::read(&documents::text(&self.filename)?)
    }
}
