//! Whether anything that a server takes as evidence can prove a principal. A rule that can never match is a mistake, and a Deny
//! that can never match a dangerous one.

use cardea_contract as contract;

/// Name by which rules call the issuer of static tokens.
const STATIC: &str = "static";

/// Why a rule of this can never match, or not in part; `at` is where it is said what counts as evidence.
pub(super) fn problem(rule: &contract::Rule, authentication: &contract::Authentication, at: &str) -> Option<String> {
    let unprovable = rule.principals.iter().find_map(|wanted| unprovable(wanted, authentication, at));
    unprovable.or_else(|| {
        let has_scopes = |wanted: &contract::PrincipalMatch| may_have_scopes(wanted, authentication);
        (!rule.scopes.is_empty() && !rule.principals.iter().any(has_scopes)).then(|| {
            format!("scopes are granted to tokens of {at}.issuers, and this rule is about nobody who has one: remove scopes, or name a subject, a group or anyAuthenticated")
        })
    })
}

/// Certificates and ServiceAccounts have none, so a rule that needs some would never match.
fn may_have_scopes(principal: &contract::PrincipalMatch, authentication: &contract::Authentication) -> bool {
    let of_tokens =
        !matches!(principal, contract::PrincipalMatch::ServiceAccount { .. } | contract::PrincipalMatch::SpiffeId(_));
    of_tokens && authentication.issuers.iter().any(|issuer| matches!(issuer.kind, contract::TokenKind::Oidc { .. }))
}

fn unprovable(
    wanted: &contract::PrincipalMatch,
    authentication: &contract::Authentication,
    at: &str,
) -> Option<String> {
    use contract::PrincipalMatch as Match;
    if let Match::Subject { issuer, .. } | Match::Group { issuer, .. } | Match::Attribute { issuer, .. } = wanted
        && let Some(issuer) = issuer
        && authentication.issuers.iter().all(|known| known.name != *issuer)
        && !(issuer == STATIC && authentication.static_tokens)
    {
        return Some(format!("issuer {issuer:?} is not one of {at}.issuers: add it there or correct the name"));
    }
    let tokens = authentication.static_tokens
        || authentication.issuers.iter().any(|issuer| matches!(issuer.kind, contract::TokenKind::Oidc { .. }));
    let accounts =
        authentication.issuers.iter().any(|issuer| issuer.kind == contract::TokenKind::KubernetesServiceAccount);
    let (provable, member, way) = match wanted {
        Match::Subject { .. } => (tokens, "subject".to_owned(), "issuers or staticTokens"),
        Match::Group { .. } => (tokens, "group".to_owned(), "issuers or staticTokens"),
        Match::Attribute { name, issuer, .. } => (
            maps(authentication, name, issuer.as_deref()),
            format!("claim {name:?}"),
            "issuers[].claims.attributes[] of that name",
        ),
        Match::ServiceAccount { .. } => (accounts, "serviceAccount".to_owned(), "kubernetesServiceAccounts"),
        Match::SpiffeId(_) => (authentication.client_certificates, "spiffeId".to_owned(), "clientCertificates"),
        Match::Anonymous => (authentication.insecure_anonymous, "anonymous".to_owned(), "insecureAnonymous"),
        Match::AnyAuthenticated => return None,
    };
    (!provable).then(|| format!("{member} never matches without {at}.{way}: add it, or remove the entry"))
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
    use serde_json::json;

    use super::*;

    fn of(principal: contract::PrincipalMatch, authentication: &contract::Authentication) -> Option<String> {
        let rule = contract::Rule {
            name: "deploy".into(),
            effect: contract::Effect::Allow,
            principals: vec![principal],
            tools: vec!["deploy".into()],
            prompts: vec![],
            resources: vec![],
            methods: vec![],
            arguments: vec![],
            when: None,
            scopes: vec![],
            broader_scopes: Default::default(),
            not_after: None,
        };
        problem(&rule, authentication, "spec.auth")
    }

    #[test]
    fn a_principal_that_nothing_can_prove_is_named_with_the_remedy() {
        use contract::PrincipalMatch as Match;
        let nothing = contract::Authentication::default();
        let claim = |issuer: Option<&str>| Match::Attribute {
            name: "team".into(),
            values: vec!["a".into()],
            issuer: issuer.map(str::to_owned),
        };
        for (asked, remedy) in [
            (Match::Subject { name: "a".into(), issuer: None }, "spec.auth.issuers"),
            (Match::Group { name: "a".into(), issuer: None }, "spec.auth.issuers"),
            (Match::SpiffeId("a".into()), "spec.auth.clientCertificates"),
            (Match::Anonymous, "spec.auth.insecureAnonymous"),
            (claim(None), "claims.attributes"),
            (Match::ServiceAccount { namespace: "a".into(), name: "b".into() }, "spec.auth.kubernetesServiceAccounts"),
        ] {
            let problem = of(asked, &nothing).unwrap();
            assert!(problem.contains(remedy), "{problem}");
        }
        let statics = contract::Authentication { static_tokens: true, ..Default::default() };
        assert_eq!(of(claim(Some("static")), &statics), None);
        assert!(of(claim(Some("corp")), &statics).is_some());
        assert!(of(claim(Some("static")), &nothing).is_some());
        let certificates = contract::Authentication { client_certificates: true, ..Default::default() };
        assert_eq!(of(Match::SpiffeId("a".into()), &certificates), None);
        assert_eq!(of(Match::AnyAuthenticated, &nothing), None);
    }

    #[test]
    fn scopes_that_nobody_of_the_rule_can_have_are_told() {
        let certificates = contract::Authentication { client_certificates: true, ..Default::default() };
        let tokens: contract::Authentication = serde_json::from_value(json!({
            "clientCertificates": true,
            "issuers": [{
                "name": "corp", "url": "https://login.example", "audiences": ["a"], "keys": "discovery",
                "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}}
            }]
        }))
        .unwrap();
        let outcome = |principal: serde_json::Value, authentication| {
            let rule = json!({
                "name": "deploy", "effect": "Allow", "principals": [principal], "tools": ["deploy"], "scopes": ["deploy:write"],
            });
            problem(&serde_json::from_value(rule).unwrap(), authentication, "spec.auth")
        };
        assert_eq!(outcome(json!("anyAuthenticated"), &tokens), None);
        for (principal, authentication) in
            [(json!("anyAuthenticated"), &certificates), (json!({"spiffeId": "spiffe://a/b"}), &tokens)]
        {
            let message = outcome(principal, authentication).unwrap();
            assert!(message.contains("remove scopes"), "{message}");
        }
    }
}
