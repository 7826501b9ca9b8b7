//! Programs of others that the logins need. `make test-logins` fetches them into the cache and names their folders in the
//! environment.

use std::path::PathBuf;

use cardea_tests::cluster::setting;

use crate::client::Client;

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    /// Folder with `node`, its packages, and our scripts beside them.
    pub(crate) node: Option<PathBuf>,
    /// Folder of the Python packages.
    pub(crate) python: Option<PathBuf>,
}

impl Tools {
    /// What was fetched.
    pub(crate) fn found() -> Self {
        let folder = |name: &str| setting(name).map(PathBuf::from);
        Self { node: folder("CARDEA_LOGINS_NODE"), python: folder("CARDEA_LOGINS_PYTHON") }
    }

    /// What a client of this SDK lacks here, with the authorization server that runs on Node.
    pub(crate) fn missing_for(&self, client: Client) -> Option<&'static str> {
        match client {
            _ if self.node.is_none() => {
                Some("Node and the npm packages are not there (`make test-logins` fetches them)")
            }
            Client::Python if self.python.is_none() => {
                Some("Python and its packages are not there (`make test-logins` fetches them)")
            }
            Client::Typescript | Client::Python | Client::Rmcp => None,
        }
    }
}

/// A script or client of ours.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/logins").join(name)
}
