//! The CRDs, as the API server takes them.

use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpSecretStore, McpServer};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// Every CRD of Cardea, with the name of its file under `crds/`.
pub fn crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("cardea.dev_mcpservers.yaml", McpServer::crd()),
        ("cardea.dev_mcpauthpolicies.yaml", McpAuthPolicy::crd()),
        ("cardea.dev_mcpaccesspolicies.yaml", McpAccessPolicy::crd()),
        ("cardea.dev_mcpsecretstores.yaml", McpSecretStore::crd()),
    ]
}

/// A CRD as YAML.
///
/// # Errors
/// Never in practice: every CRD is plain data.
pub fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(crd)
}
