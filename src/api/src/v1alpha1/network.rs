//! Who reaches the proxy, and what the pod reaches.

use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who reaches the proxy over the network, and what the pod reaches. All else is denied both ways.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Who reaches the proxy's port. The server's own port is open to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,

    /// What the pod reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<Egress>,
}

/// Who reaches the proxy's port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Pods, namespaces or address blocks that may connect. Default: the operator alone.
    #[schemars(length(max = 64))]
    pub from: Vec<NetworkPolicyPeer>,
}

/// What the pod reaches, beyond cluster DNS and the issuers in `spec.auth`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Egress {
    /// Destinations that may be connected to. Default: none.
    #[schemars(length(max = 64))]
    pub to: Vec<EgressDestination>,
}

/// Where the pod may connect to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressDestination {
    /// Pods, namespaces or address blocks: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub peers: Vec<NetworkPolicyPeer>,

    /// Ports there: any of these.
    #[schemars(length(min = 1, max = 32))]
    pub ports: Vec<NetworkPolicyPort>,
}
