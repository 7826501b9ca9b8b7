//! Who may call what, from the manifest's words to the proxy's.

use cardea_api::v1alpha1::{Effect, McpServerSpec, PrincipalMatch};
use cardea_contract as contract;
use cardea_policy::Policy;

use super::Rejection;

/// The rules, known to compile.
pub(super) fn rules(
    spec: &McpServerSpec,
    authentication: &contract::Authentication,
) -> Result<Vec<contract::Rule>, Rejection> {
    let asked = spec.access.as_ref().map(|access| access.rules.as_slice()).unwrap_or_default();
    let mut rules = Vec::with_capacity(asked.len());
    for rule in asked {
        let principals = rule
            .principals
            .iter()
            .map(|principal| {
                principal_match(principal, authentication).map_err(|problem| {
                    Rejection::invalid(format!("spec.access.rules: rule {:?}: {problem}", rule.name))
                })
            })
            .collect::<Result<_, _>>()?;
        rules.push(contract::Rule {
            name: rule.name.clone(),
            effect: match rule.effect.unwrap_or_default() {
                Effect::Allow => contract::Effect::Allow,
                Effect::Deny => contract::Effect::Deny,
            },
            principals,
            tools: rule.tools.clone(),
        });
    }
    Policy::compile(&rules).map_err(|error| Rejection::invalid(format!("spec.access.rules: {error}")))?;
    Ok(rules)
}

fn principal_match(
    asked: &PrincipalMatch,
    authentication: &contract::Authentication,
) -> Result<contract::PrincipalMatch, String> {
    if let Some(issuer) = &asked.issuer
        && authentication.issuers.iter().all(|known| known.name != *issuer)
    {
        return Err(format!("issuer {issuer:?} is not one of spec.auth.issuers: add it there or correct the name"));
    }
    match asked {
        PrincipalMatch { subject: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Subject { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { group: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Group { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { service_account: Some(account), .. } => Ok(contract::PrincipalMatch::ServiceAccount {
            namespace: account.namespace.clone(),
            name: account.name.clone(),
        }),
        PrincipalMatch { spiffe_id: Some(id), .. } => Ok(contract::PrincipalMatch::SpiffeId(id.clone())),
        PrincipalMatch { any_authenticated: Some(true), .. } => Ok(contract::PrincipalMatch::AnyAuthenticated),
        _ => {
            Err("a principal needs exactly one of subject, group, serviceAccount, spiffeId and anyAuthenticated".into())
        }
    }
}
