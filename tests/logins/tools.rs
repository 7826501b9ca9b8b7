//! Programs of others that the logins need. `make test-logins` and `make test-keycloak` fetch them into the cache and
//! name their folders in the environment.

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
    /// Folder of a built Keycloak.
    pub(crate) keycloak: Option<PathBuf>,
}

impl Tools {
    /// What was fetched.
    pub(crate) fn found() -> Self {
        let folder = |name: &str| setting(name).map(PathBuf::from);
        Self {
            node: folder("CARDEA_LOGINS_NODE"),
            python: folder("CARDEA_LOGINS_PYTHON"),
            keycloak: folder("CARDEA_LOGINS_KEYCLOAK"),
        }
    }

    /// Why a client of this SDK cannot run here.
    pub(crate) fn missing_for(&self, client: Client) -> Option<&'static str> {
        match client {
            Client::Typescript => self.missing_oidc_provider(),
            Client::Python if self.python.is_none() => Some("the Python packages are not there (`make test-logins`)"),
            Client::Python | Client::Rmcp => None,
        }
    }

    pub(crate) fn missing_oidc_provider(&self) -> Option<&'static str> {
        self.node.is_none().then_some("Node and the npm packages are not there (`make test-logins`)")
    }

    pub(crate) fn missing_keycloak(&self) -> Option<&'static str> {
        self.keycloak.is_none().then_some("Keycloak is not there (`make test-keycloak`)")
    }
}

/// A script or client of ours.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/logins").join(name)
}
