//! What a server opens, one word each. Nothing is refused here.

use std::collections::BTreeMap;

use cardea_api::v1alpha1::{AuditLevel, McpServerSpec};
use cardea_contract as contract;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Fetched, urls};

/// What a reviewer would want to be told. Nothing here is forbidden, all of it was spelled out in a manifest: `rules` are those
/// of the policies too.
pub(super) fn of(
    spec: &McpServerSpec,
    authentication: &contract::Authentication,
    fetched: Option<&Fetched>,
    rules: &[contract::Rule],
) -> Vec<String> {
    let network = spec.network.clone().unwrap_or_default();
    // However it is spelled, and whatever little is taken out of it.
    let everywhere = |block: &IPBlock| block.cidr.rsplit('/').next().is_some_and(|prefix| prefix.parse() == Ok(0));
    let all = |selector: &LabelSelector| {
        selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
    };
    let open = |peers: &[NetworkPolicyPeer]| {
        peers.iter().any(|peer| match peer {
            NetworkPolicyPeer { ip_block: Some(block), .. } => everywhere(block),
            NetworkPolicyPeer { namespace_selector: Some(namespaces), pod_selector, .. } => {
                all(namespaces) && pod_selector.as_ref().is_none_or(all)
            }
            _ => false,
        })
    };
    let every_name = |glob: &str| glob.contains('*') && glob.chars().all(|letter| matches!(letter, '*' | '?'));
    let anybody = |principal: &contract::PrincipalMatch| {
        matches!(principal, contract::PrincipalMatch::AnyAuthenticated | contract::PrincipalMatch::Anonymous)
    };
    let all_to_all = |globs: fn(&contract::Rule) -> &[String]| {
        rules.iter().any(|rule| {
            rule.effect == contract::Effect::Allow
                && rule.arguments.is_empty()
                && rule.when.is_none()
                && globs(rule).iter().any(|glob| every_name(glob))
                && rule.principals.iter().any(anybody)
        })
    };
    let fetches_keys = |issuer: &contract::Issuer| !matches!(issuer.keys, contract::KeySource::Inline { .. });
    [
        (spec.audit.as_ref().is_some_and(|audit| audit.level == Some(AuditLevel::None)), "AuditOff"),
        (network.ingress.is_some_and(|ingress| open(&ingress.from)), "IngressFromAnywhere"),
        (network.egress.is_some_and(|egress| egress.to.iter().any(|to| open(&to.peers))), "EgressToAnywhere"),
        (authentication.issuers.iter().any(fetches_keys), "EgressToIssuers"),
        (fetched.is_some(), "EgressToStores"),
        (fetched.is_some_and(in_the_clear), "InsecureStore"),
        (all_to_all(|rule| &rule.tools), "EveryToolToAll"),
        (all_to_all(|rule| &rule.prompts), "EveryPromptToAll"),
        (all_to_all(|rule| &rule.resources), "EveryResourceToAll"),
        (all_to_all(|rule| &rule.methods), "EveryMethodToAll"),
        (authentication.insecure_anonymous, "InsecureAnonymous"),
    ]
    .into_iter()
    .filter(|(opened, _)| *opened)
    .map(|(_, word)| word.to_owned())
    .collect()
}

/// Whether somebody on the way to a store reads the secrets.
fn in_the_clear(fetched: &Fetched) -> bool {
    fetched.config.stores.values().flat_map(|store| urls(&store.kind)).any(|url| !url.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of_spec(mut spec: Value) -> Vec<String> {
        if let Some(members) = spec.as_object_mut() {
            members.insert("source".into(), json!({"image": {"ref": "registry.example/server:1"}}));
        }
        let spec: McpServerSpec = serde_json::from_value(spec).unwrap();
        let rules = spec.access.as_ref().map(|access| super::super::words::rules(access, "").unwrap());
        of(&spec, &contract::Authentication::default(), None, &rules.unwrap_or_default())
    }

    #[test]
    fn anywhere_is_anywhere_however_it_is_spelled() {
        for peer in [
            json!({"ipBlock": {"cidr": "0.0.0.0/0"}}),
            json!({"ipBlock": {"cidr": "10.1.2.3/0"}}),
            json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["203.0.113.1/32"]}}),
            json!({"ipBlock": {"cidr": "0::0/0"}}),
            json!({"namespaceSelector": {}}),
            json!({"namespaceSelector": {"matchLabels": {}, "matchExpressions": []}}),
            json!({"namespaceSelector": {}, "podSelector": {}}),
        ] {
            let posture = of_spec(json!({"network": {"ingress": {"from": [peer]}}}));
            assert_eq!(posture, ["IngressFromAnywhere"], "{peer}");
            let to = json!([{"peers": [peer], "ports": [{"port": 443}]}]);
            assert_eq!(of_spec(json!({"network": {"egress": {"to": to}}})), ["EgressToAnywhere"], "{peer}");
        }
        for peer in [
            json!({"ipBlock": {"cidr": "10.0.0.0/8"}}),
            json!({"podSelector": {}}),
            json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}),
            json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "agent"}}}),
        ] {
            assert!(of_spec(json!({"network": {"ingress": {"from": [peer]}}})).is_empty(), "{peer}");
        }
    }

    #[test]
    fn a_store_is_an_opening_and_one_in_the_clear_is_another() {
        let of_store = |url: &str| {
            let store = json!({"kind": {"onePasswordConnect": {"url": url}}});
            let config = json!({"stores": {"connect": store}, "secrets": []});
            let config = serde_json::from_value(config).unwrap();
            let fetched = Fetched { config, stores: BTreeMap::new(), rolls: Default::default() };
            let spec = serde_json::from_value(json!({"source": {}})).unwrap();
            of(&spec, &contract::Authentication::default(), Some(&fetched), &[])
        };
        assert_eq!(of_store("https://connect.example"), ["EgressToStores"]);
        assert_eq!(of_store("http://connect.tools.svc:8080"), ["EgressToStores", "InsecureStore"]);
    }

    #[test]
    fn all_is_all_however_it_is_spelled() {
        let rule = |list: &str, glob: &str, effect: &str| {
            let principals = [json!({"anyAuthenticated": true})];
            json!({"access": {"rules": [{"name": "r", "effect": effect, "principals": principals, list: [glob]}]}})
        };
        for (list, word) in [
            ("tools", "EveryToolToAll"),
            ("prompts", "EveryPromptToAll"),
            ("resources", "EveryResourceToAll"),
            ("methods", "EveryMethodToAll"),
        ] {
            for glob in ["*", "**", "?*"] {
                assert_eq!(of_spec(rule(list, glob, "Allow")), [word], "{glob}");
                assert!(of_spec(rule(list, glob, "Deny")).is_empty(), "{glob}");
            }
            assert!(of_spec(rule(list, "get-*", "Allow")).is_empty());
        }
    }
}
