//! Who may use what, from the manifest's words to the proxy's.

use cardea_api::v1alpha1::{ArgumentCondition, Effect, Elements, McpServerSpec, PrincipalMatch, Size, ValueType};
use cardea_contract as contract;
use cardea_policy::Policy;

use super::Rejection;

/// Name by which rules call the issuer of static tokens.
const STATIC: &str = "static";

/// The rules, known to compile.
pub(super) fn rules(
    spec: &McpServerSpec,
    authentication: &contract::Authentication,
    at: &str,
) -> Result<Vec<contract::Rule>, Rejection> {
    let asked = spec.access.as_ref().map(|access| access.rules.as_slice()).unwrap_or_default();
    let mut rules = Vec::with_capacity(asked.len());
    for rule in asked {
        let principals = rule
            .principals
            .iter()
            .map(|principal| {
                principal_match(principal, authentication, at).map_err(|problem| {
                    Rejection::invalid(format!("spec.access.rules: rule {:?}: {problem}", rule.name))
                })
            })
            .collect::<Result<_, _>>()?;
        if !rule.scopes.is_empty()
            && !rule.principals.iter().any(|principal| may_have_scopes(principal, authentication))
        {
            return Err(Rejection::invalid(format!(
                "spec.access.rules: rule {:?}: scopes are granted to tokens of spec.auth.issuers, and this rule is about nobody who has one: remove scopes, or name a subject, a group or anyAuthenticated",
                rule.name
            )));
        }
        let effect = match rule.effect.unwrap_or_default() {
            Effect::Allow => contract::Effect::Allow,
            Effect::Deny => contract::Effect::Deny,
        };
        rules.push(contract::Rule {
            name: rule.name.clone(),
            effect,
            principals,
            tools: rule.tools.clone(),
            prompts: rule.prompts.clone(),
            resources: rule.resources.clone(),
            methods: rule.methods.clone(),
            arguments: rule.arguments.iter().map(|asked| condition(asked, effect)).collect(),
            when: rule.when.clone(),
            scopes: rule.scopes.clone(),
            broader_scopes: Default::default(),
            not_after: rule.not_after.as_ref().map(|end| end.0.as_second()),
        });
    }
    Policy::compile(&rules).map_err(|error| Rejection::invalid(format!("spec.access.rules: {error}")))?;
    Ok(rules)
}

fn condition(asked: &ArgumentCondition, effect: contract::Effect) -> contract::ArgumentCondition {
    let ArgumentCondition {
        path,
        elements,
        equals,
        one_of,
        prefix,
        suffix,
        glob,
        regex,
        min,
        max,
        cidr,
        path_under,
        absent,
        kind,
        size,
    } = asked.clone();
    contract::ArgumentCondition {
        path,
        elements: match (elements, effect) {
            // One good element lifts no Deny, and one is not enough for an Allow.
            (Some(Elements::Any), _) | (None, contract::Effect::Deny) => contract::Elements::Any,
            (Some(Elements::Every), _) | (None, contract::Effect::Allow) => contract::Elements::Every,
        },
        equals,
        one_of,
        prefix,
        suffix,
        glob,
        regex,
        min,
        max,
        cidr,
        path_under,
        absent,
        kind: kind.map(|kind| match kind {
            ValueType::String => contract::ValueKind::String,
            ValueType::Number => contract::ValueKind::Number,
            ValueType::Integer => contract::ValueKind::Integer,
            ValueType::Boolean => contract::ValueKind::Boolean,
            ValueType::Array => contract::ValueKind::Array,
            ValueType::Object => contract::ValueKind::Object,
            ValueType::Null => contract::ValueKind::Null,
        }),
        size: size.map(|Size { min, max }| contract::Size { min: min.map(count), max: max.map(count) }),
    }
}

/// The schema has no negative ones.
fn count(asked: i64) -> u64 {
    u64::try_from(asked).unwrap_or_default()
}

/// Certificates and ServiceAccounts have none, so a rule that needs some would never match.
fn may_have_scopes(principal: &PrincipalMatch, authentication: &contract::Authentication) -> bool {
    let of_tokens = principal.service_account.is_none() && principal.spiffe_id.is_none();
    of_tokens && authentication.issuers.iter().any(|issuer| matches!(issuer.kind, contract::TokenKind::Oidc { .. }))
}

fn principal_match(
    asked: &PrincipalMatch,
    authentication: &contract::Authentication,
    at: &str,
) -> Result<contract::PrincipalMatch, String> {
    if let Some(issuer) = &asked.issuer
        && authentication.issuers.iter().all(|known| known.name != *issuer)
        && !(issuer == STATIC && authentication.static_tokens)
    {
        return Err(format!("issuer {issuer:?} is not one of {at}.issuers: add it there or correct the name"));
    }
    let tokens = authentication.static_tokens
        || authentication.issuers.iter().any(|issuer| matches!(issuer.kind, contract::TokenKind::Oidc { .. }));
    let accounts =
        authentication.issuers.iter().any(|issuer| issuer.kind == contract::TokenKind::KubernetesServiceAccount);
    // A rule that can never match is a mistake, and a Deny that can never match a dangerous one.
    let needs = |member: &str, way: &str| {
        Err(format!("{member} never matches without {at}.{way}: add it, or remove the entry"))
    };
    match asked {
        PrincipalMatch { subject: Some(_), .. } if !tokens => {
            return needs("subject", "issuers or staticTokens");
        }
        PrincipalMatch { group: Some(_), .. } if !tokens => {
            return needs("group", "issuers or staticTokens");
        }
        PrincipalMatch { claim: Some(claim), issuer, .. } if !maps(authentication, &claim.name, issuer.as_deref()) => {
            return needs(&format!("claim {:?}", claim.name), "issuers[].claims.attributes[] of that name");
        }
        PrincipalMatch { service_account: Some(_), .. } if !accounts => {
            return needs("serviceAccount", "kubernetesServiceAccounts");
        }
        PrincipalMatch { spiffe_id: Some(_), .. } if !authentication.client_certificates => {
            return needs("spiffeId", "clientCertificates");
        }
        PrincipalMatch { anonymous: Some(_), .. } if !authentication.insecure_anonymous => {
            return needs("anonymous", "insecureAnonymous");
        }
        _ => {}
    }
    match asked {
        PrincipalMatch { subject: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Subject { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { group: Some(name), issuer, .. } => {
            Ok(contract::PrincipalMatch::Group { name: name.clone(), issuer: issuer.clone() })
        }
        PrincipalMatch { claim: Some(claim), issuer, .. } => Ok(contract::PrincipalMatch::Attribute {
            name: claim.name.clone(),
            values: claim.values.clone(),
            issuer: issuer.clone(),
        }),
        PrincipalMatch { service_account: Some(account), .. } => Ok(contract::PrincipalMatch::ServiceAccount {
            namespace: account.namespace.clone(),
            name: account.name.clone(),
        }),
        PrincipalMatch { spiffe_id: Some(id), .. } => Ok(contract::PrincipalMatch::SpiffeId(id.clone())),
        PrincipalMatch { any_authenticated: Some(true), .. } => Ok(contract::PrincipalMatch::AnyAuthenticated),
        PrincipalMatch { anonymous: Some(true), .. } => Ok(contract::PrincipalMatch::Anonymous),
        _ => {
            Err("a principal needs exactly one of subject, group, claim, serviceAccount, spiffeId, anyAuthenticated and anonymous"
                .into())
        }
    }
}

/// Whether the issuer, or any if none is named, makes an attribute of this name out of a claim. Which attributes static
/// tokens have is known to their file alone.
fn maps(authentication: &contract::Authentication, attribute: &str, issuer: Option<&str>) -> bool {
    if authentication.static_tokens && issuer.is_none_or(|issuer| issuer == STATIC) {
        return true;
    }
    authentication.issuers.iter().filter(|known| issuer.is_none_or(|wanted| wanted == known.name)).any(|known| {
        match &known.kind {
            contract::TokenKind::Oidc { attributes, .. } => attributes.iter().any(|mapped| mapped.name == attribute),
            contract::TokenKind::KubernetesServiceAccount => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use cardea_api::v1alpha1::{ClaimMatch, ServiceAccountName};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_principal_that_nothing_can_prove_is_named_with_the_remedy() {
        let nothing = contract::Authentication::default();
        for (asked, remedy) in [
            (PrincipalMatch { subject: Some("a".into()), ..Default::default() }, "spec.auth.issuers"),
            (PrincipalMatch { group: Some("a".into()), ..Default::default() }, "spec.auth.issuers"),
            (PrincipalMatch { spiffe_id: Some("a".into()), ..Default::default() }, "spec.auth.clientCertificates"),
            (PrincipalMatch { anonymous: Some(true), ..Default::default() }, "spec.auth.insecureAnonymous"),
            (
                PrincipalMatch {
                    claim: Some(ClaimMatch { name: "team".into(), values: vec!["a".into()] }),
                    ..Default::default()
                },
                "claims.attributes",
            ),
            (
                PrincipalMatch {
                    service_account: Some(ServiceAccountName { namespace: "a".into(), name: "b".into() }),
                    ..Default::default()
                },
                "spec.auth.kubernetesServiceAccounts",
            ),
        ] {
            let problem = principal_match(&asked, &nothing, "spec.auth").unwrap_err();
            assert!(problem.contains(remedy), "{problem}");
        }
        let statics = contract::Authentication { static_tokens: true, ..Default::default() };
        let of = |issuer: &str| PrincipalMatch {
            claim: Some(ClaimMatch { name: "team".into(), values: vec!["a".into()] }),
            issuer: Some(issuer.into()),
            ..Default::default()
        };
        assert!(principal_match(&of("static"), &statics, "spec.auth").is_ok());
        assert!(principal_match(&of("corp"), &statics, "spec.auth").is_err());
        assert!(principal_match(&of("static"), &nothing, "spec.auth").is_err());
        let certificates = contract::Authentication { client_certificates: true, ..Default::default() };
        let asked = PrincipalMatch { spiffe_id: Some("a".into()), ..Default::default() };
        assert_eq!(
            principal_match(&asked, &certificates, "spec.auth"),
            Ok(contract::PrincipalMatch::SpiffeId("a".into()))
        );
    }

    #[test]
    fn scopes_that_nobody_of_the_rule_can_have_are_refused() {
        let anybody = PrincipalMatch { any_authenticated: Some(true), ..Default::default() };
        let agent = PrincipalMatch { spiffe_id: Some("spiffe://a/b".into()), ..Default::default() };
        let certificates = contract::Authentication { client_certificates: true, ..Default::default() };
        let tokens: contract::Authentication = serde_json::from_value(json!({
            "clientCertificates": true,
            "issuers": [{
                "name": "corp", "url": "https://login.example", "audiences": ["a"], "keys": "discovery",
                "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}}
            }]
        }))
        .unwrap();
        let outcome = |principal: &PrincipalMatch, authentication| {
            let rule =
                json!({"name": "deploy", "principals": [principal], "tools": ["deploy"], "scopes": ["deploy:write"]});
            let spec = json!({"source": {"image": {"ref": "a"}}, "access": {"rules": [rule]}});
            rules(&serde_json::from_value(spec).unwrap(), authentication, "spec.auth")
        };
        assert_eq!(outcome(&anybody, &tokens).unwrap()[0].scopes, ["deploy:write"]);
        for (principal, authentication) in [(&anybody, &certificates), (&agent, &tokens)] {
            let message = outcome(principal, authentication).unwrap_err().message;
            assert!(message.contains("\"deploy\"") && message.contains("remove scopes"), "{message}");
        }
    }
}
