//! What proves an identity, from the manifest's words to the proxy's.

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{Introspection, Issuer, McpAuthPolicySpec, SecretKeyRef};
use cardea_contract as contract;
use cardea_contract::pod;

use super::{ProxySecret, Rejection};
use crate::cluster_issuer::ClusterIssuer;
use crate::observe::Observed;
use crate::users::policy_of;

pub(super) fn authentication(observed: &Observed, resource: &str) -> Result<contract::Authentication, Rejection> {
    if let (Some(policy), None) = (policy_of(&observed.server), &observed.auth_policy) {
        return Err(Rejection::missing_policy(&policy));
    }
    let at = observed.auth_at();
    let Some(auth) = observed.auth() else {
        return Ok(contract::Authentication::default());
    };
    let or_resource = |audiences: &[String]| match audiences {
        [] => vec![resource.to_owned()],
        audiences => audiences.to_vec(),
    };
    let mut issuers = Vec::with_capacity(auth.issuers.len() + 1);
    for issuer in &auth.issuers {
        issuers.push(oidc_issuer(issuer, or_resource(&issuer.audiences), observed, &at)?);
    }
    if let Some(accounts) = &auth.kubernetes_service_accounts {
        let cluster = observed.cluster_issuer.as_deref().ok_or_else(|| Rejection {
            condition: condition::POLICY_READY,
            reason: reasons::CLUSTER_ISSUER_UNKNOWN,
            message: format!(
                "{at}.kubernetesServiceAccounts: the operator cannot read the cluster's own token issuer yet"
            ),
            stalled: false,
        })?;
        if let Some(same) = issuers.iter().find(|issuer| issuer.url == cluster.url) {
            // Whose keys count for a token would be a matter of order.
            return Err(Rejection::invalid(format!(
                "{at}.issuers: {:?} has the url of this cluster's own issuer, which {at}.kubernetesServiceAccounts names already: remove one of the two",
                same.name
            )));
        }
        issuers.push(cluster_issuer(cluster, or_resource(&accounts.audiences)));
    }
    Ok(contract::Authentication {
        issuers,
        client_certificates: auth.client_certificates.is_some(),
        static_tokens: auth.static_tokens.is_some(),
        insecure_anonymous: auth.insecure_anonymous == Some(true),
    })
}

/// The Secrets that the proxy checks credentials with.
pub(super) fn proxy_secrets(auth: &McpAuthPolicySpec) -> Vec<ProxySecret> {
    let introspection = auth.issuers.iter().filter_map(|issuer| issuer.introspection.as_ref());
    let client_secrets =
        introspection.map(|Introspection { client_secret_ref: SecretKeyRef { name, key }, .. }| ProxySecret {
            secret: name.clone(),
            key: key.clone(),
            file: pod::INTROSPECTION_SECRET,
        });
    let tokens = auth.static_tokens.iter().map(|tokens| ProxySecret {
        secret: tokens.secret_ref.name.clone(),
        key: "tokens.json".to_owned(),
        file: pod::STATIC_TOKENS,
    });
    client_secrets.chain(tokens).collect()
}

fn oidc_issuer(
    issuer: &Issuer,
    audiences: Vec<String>,
    observed: &Observed,
    at: &str,
) -> Result<contract::Issuer, Rejection> {
    let ca_bundle = match &issuer.ca_ref {
        None => None,
        Some(reference) => Some(observed.authorities.get(&reference.name).cloned().flatten().ok_or_else(|| {
            Rejection::missing_ca(condition::POLICY_READY, &format!("{at}.issuers[].caRef"), &reference.name)
        })?),
    };
    let claims = issuer.claims.clone().unwrap_or_default();
    Ok(contract::Issuer {
        name: issuer.name.clone(),
        url: issuer.url.clone(),
        kind: contract::TokenKind::Oidc {
            subject_claim: claims.subject.unwrap_or_else(|| "sub".to_owned()),
            groups_claim: claims.groups.unwrap_or_else(|| "groups".to_owned()),
            attributes: claims
                .attributes
                .into_iter()
                .map(|attribute| contract::AttributeClaim { name: attribute.name, claim: attribute.claim })
                .collect(),
        },
        audiences,
        keys: match &issuer.jwks_url {
            None => contract::KeySource::Discovery,
            Some(url) => contract::KeySource::Url { jwks_url: url.clone() },
        },
        ca_bundle,
        introspection: issuer.introspection.as_ref().map(|introspection| contract::Introspection {
            url: introspection.url.clone(),
            client_id: introspection.client_id.clone(),
            cache_seconds: introspection.cache_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        }),
    })
}

fn cluster_issuer(cluster: &ClusterIssuer, audiences: Vec<String>) -> contract::Issuer {
    contract::Issuer {
        name: "kubernetes".to_owned(),
        url: cluster.url.clone(),
        kind: contract::TokenKind::KubernetesServiceAccount,
        audiences,
        keys: contract::KeySource::Inline { jwks: cluster.jwks.clone() },
        ca_bundle: None,
        introspection: None,
    }
}
