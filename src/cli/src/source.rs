//! Where the manifests of a question are taken from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::cluster::Cluster;
use crate::documents;
use crate::manifest::Manifests;

/// Flags that say which McpServer.
#[derive(clap::Args)]
pub(crate) struct Source {
    /// File with the McpServer, `-` for standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Name of the McpServer, if the file holds several or it is one of a cluster.
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
}

impl Source {
    /// The file.
    ///
    /// # Errors
    /// When none is named.
    pub(crate) fn file(&self) -> anyhow::Result<&Path> {
        self.filename.as_deref().context("say which manifest: -f FILE")
    }

    /// The server that is meant, if one is named.
    pub(crate) fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Reads the manifests: from the file, or else from the cluster.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn manifests(&self, cluster: &Cluster) -> anyhow::Result<Manifests> {
        match (&self.filename, &self.server) {
            (Some(file), _) => Manifests::read(&documents::text(file)?),
            (None, Some(server)) => cluster.manifests(server),
            (None, None) => bail!("say which McpServer: -f FILE, or --server NAME of a cluster"),
        }
    }
}
