//! What nobody refuses, and an author may not have meant.

use cardea_api::v1alpha1::{Access, AccessRule, Effect, McpAuthPolicySpec, McpSecretStoreSpec, PrincipalMatch};
use jiff::Timestamp;

use super::Manifest;
use super::finding::{Finding, Id};

/// What rules say of themselves. `at` is where they stand.
pub(super) fn of(manifest: &Manifest, at: &str, access: &Access, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, rule) in access.rules.iter().enumerate() {
        let path = format!("{at}.rules[{number}]");
        if let Some(end) = rule.not_after.as_ref().filter(|end| end.0 <= now) {
            let message = format!("the rule is no more since {}: remove it, or give it a later end", end.0);
            findings.push(manifest.finding(Id::RuleEnded, &format!("{path}.notAfter"), message));
        }
        if let Some(deny) = access.rules.iter().find(|deny| shadows(deny, rule)) {
            let message =
                format!("the rule permits nothing: {:?} refuses all that it is about: remove one of them", deny.name);
            findings.push(manifest.finding(Id::RuleShadowed, &path, message));
        }
    }
    findings
}

/// Whether a Deny certainly refuses all that a rule allows. It may also where it is not certain.
fn shadows(deny: &AccessRule, rule: &AccessRule) -> bool {
    let effect = |rule: &AccessRule| rule.effect.unwrap_or_default();
    let always = deny.arguments.is_empty() && deny.when.is_none() && deny.not_after.is_none();
    let everybody = deny.principals.iter().any(|principal| principal.any_authenticated == Some(true));
    let who = |principal: &PrincipalMatch| everybody || deny.principals.contains(principal);
    let what = |deny: &[String], rule: &[String]| rule.iter().all(|glob| deny.iter().any(|it| it == glob || it == "*"));
    (effect(deny), effect(rule)) == (Effect::Deny, Effect::Allow)
        && always
        && rule.scope_bundles.is_empty()
        && rule.principals.iter().all(who)
        && what(&deny.tools, &rule.tools)
        && what(&deny.prompts, &rule.prompts)
        && what(&deny.resources, &rule.resources)
        && what(&deny.methods, &rule.methods)
}

/// What a rule opens, by the word that stands for it in a server's posture.
pub(super) fn opened_by_rule(manifest: &Manifest, path: &str, word: &str) -> Option<Finding> {
    let (list, what) = match word {
        "EveryToolToAll" => ("tools", "tool"),
        "EveryPromptToAll" => ("prompts", "prompt"),
        "EveryResourceToAll" => ("resources", "resource"),
        "EveryMethodToAll" => ("methods", "method"),
        _ => return None,
    };
    let message =
        format!("every caller may use every {what}: name some of them, some callers, or conditions on the arguments");
    Some(manifest.finding(Id::OpenToAll, &format!("{path}.{list}"), message))
}

/// What a server opens beside its rules and its evidence, by the words of its posture.
pub(super) fn openings(manifest: &Manifest, posture: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for word in posture {
        let (path, message) = match word.as_str() {
            "AuditOff" => ("spec.audit.level", "nothing is audited: remove it, or set it to Decisions"),
            "IngressFromAnywhere" => {
                ("spec.network.ingress", "whoever reaches the cluster reaches the proxy: name the callers' pods")
            }
            "EgressToAnywhere" => ("spec.network.egress", "the server reaches every address: name those that it needs"),
            _ => continue,
        };
        findings.push(manifest.finding(Id::Opening, path, message));
    }
    findings
}

/// What evidence opens.
pub(super) fn insecure(manifest: &Manifest, at: &str, evidence: &McpAuthPolicySpec) -> Option<Finding> {
    let message = "callers without any credential are let in: remove it, unless what they may use is for everybody";
    let opens = evidence.insecure_anonymous == Some(true);
    opens.then(|| manifest.finding(Id::Opening, &format!("{at}.insecureAnonymous"), message))
}

/// What a store opens.
pub(super) fn in_the_clear(manifest: &Manifest, store: &McpSecretStoreSpec) -> Option<Finding> {
    let message = "over http:// whoever is on the way reads the secrets: remove it, and write https://";
    let opens = store.insecure_http == Some(true);
    opens.then(|| manifest.finding(Id::Opening, "spec.insecureHttp", message))
}
