//! What is the same for every server of this installation. Comes from flags, never from the environment mid-way.

use cardea_pki::{SpiffeId, TrustDomain};

/// This installation of Cardea.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Namespace that the operator runs in; the authority's key stays there.
    pub namespace: String,
    /// ServiceAccount that the operator runs under.
    pub service_account: String,
    /// Trust domain of the built-in authority.
    pub trust_domain: TrustDomain,
    /// DNS domain of the cluster.
    pub cluster_domain: String,
    /// Image of the proxy.
    pub proxy_image: String,
    /// When to pull it, as a container spells it.
    pub proxy_pull_policy: String,
    /// Image of the agent: what fetches secrets, and what starts a server and bridges its stdio.
    pub agent_image: String,
    /// When to pull it, as a container spells it.
    pub agent_pull_policy: String,
}

impl Installation {
    /// Names under which the Service of a server is reached. Shorter ones would be names of somebody else outside the
    /// cluster: `go.dev` is a server `go` in a namespace `dev` as well.
    pub fn service_names(&self, namespace: &str, server: &str) -> [String; 2] {
        [format!("{server}.{namespace}.svc"), format!("{server}.{namespace}.svc.{}", self.cluster_domain)]
    }

    /// The operator's own identity, which may read the proxies' reports.
    pub fn operator_id(&self) -> SpiffeId {
        SpiffeId::new(self.trust_domain.clone(), &self.namespace, &self.service_account)
    }
}
