//! What the operator would say of each server and of each policy, rule by rule, so that one that is wrong hides no other.

use std::collections::{BTreeMap, BTreeSet};

use cardea_api::v1alpha1::{
    Access, AccessRule, AttributeClaim, Auth, Claims, ClientCertificates, Issuer, KubernetesServiceAccounts, LocalRef,
    McpAccessPolicy, McpAuthPolicy, McpAuthPolicySpec, McpServer, StaticTokens,
};
use cardea_operator::policy_users::policy_of;
use cardea_operator::validate::{Rejection, ValidatedServer};
use jiff::Timestamp;
use kube::core::{Selector, SelectorExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::finding::{Finding, Id};
use super::{Manifest, warnings};
use crate::manifest::Manifests;
use crate::rules;

/// A server with the policy that it names.
struct Asked {
    server: McpServer,
    evidence: Option<McpAuthPolicy>,
}

impl Asked {
    /// Checks it, had it these rules.
    fn with(&self, access: Access) -> Result<ValidatedServer, Rejection> {
        let mut server = self.server.clone();
        server.spec.access = Some(access);
        rules::check(server, self.evidence.clone())
    }
}

/// Everything about manifests that an API server would take.
pub(super) fn findings(sound: &[Manifest], now: Timestamp) -> Vec<Finding> {
    let all: Manifests = sound.iter().map(|manifest| manifest.document.clone()).collect();
    let (mut findings, mut servers) = (Vec::new(), Vec::new());
    for (manifest, mut server) in of_kind::<McpServer>(sound, "McpServer") {
        // What is wrong with a policy is told where it stands.
        let Ok(evidence) = all.auth_policy(&server) else { continue };
        let access = server.spec.access.clone().unwrap_or_default();
        let inline = server.spec.auth.as_ref().map(|auth| &auth.inline);
        findings.extend(inline.and_then(|inline| warnings::insecure(manifest, "spec.auth", inline)));
        if let (Some(name), None) = (policy_of(&server), &evidence) {
            let message = format!(
                "names the McpAuthPolicy {name:?}, which is not among these files: whom it lets in is not known here"
            );
            findings.push(manifest.finding(Id::Unresolved, "spec.auth.policyRef", message));
            server.spec.auth = Some(Auth { policy_ref: None, inline: whoever(&access) });
        }
        let asked = Asked { server, evidence };
        findings.extend(of_server(manifest, &asked));
        findings.extend(of_access(manifest, "spec.access", &access, &[&asked]));
        findings.extend(warnings::of(manifest, "spec.access", &access, now));
        servers.push(asked);
    }
    for (manifest, policy) in of_kind::<McpAccessPolicy>(sound, "McpAccessPolicy") {
        let access = &policy.spec.access;
        let governed: Vec<&Asked> = servers.iter().filter(|asked| governs(&policy, &asked.server)).collect();
        findings.extend(of_access(manifest, "spec", access, &governed));
        findings.extend(warnings::of(manifest, "spec", access, now));
    }
    for (manifest, policy) in of_kind::<McpAuthPolicy>(sound, "McpAuthPolicy") {
        findings.extend(warnings::insecure(manifest, "spec", &policy.spec));
    }
    findings
}

fn of_kind<'m, K: DeserializeOwned>(sound: &'m [Manifest], kind: &'m str) -> impl Iterator<Item = (&'m Manifest, K)> {
    let of_kind = sound.iter().filter(move |manifest| manifest.document.value.get("kind").is_some_and(|it| it == kind));
    of_kind.filter_map(|manifest| Some((manifest, serde_json::from_value(manifest.document.value.clone()).ok()?)))
}

/// Whether a policy is about a server.
fn governs(policy: &McpAccessPolicy, server: &McpServer) -> bool {
    let labels: BTreeMap<String, String> = server.metadata.labels.clone().unwrap_or_default();
    let selected = policy.spec.selector.clone().and_then(|selector| Selector::try_from(selector).ok());
    let named = |reference: &LocalRef| Some(&reference.name) == server.metadata.name.as_ref();
    let here = match (&policy.metadata.namespace, &server.metadata.namespace) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    here && (policy.spec.target_refs.iter().any(named) || selected.is_some_and(|selector| selector.matches(&labels)))
}

/// What is to say of a server beside its rules.
fn of_server(manifest: &Manifest, asked: &Asked) -> Vec<Finding> {
    match asked.with(Access::default()) {
        Ok(checked) => warnings::openings(manifest, &checked.posture),
        Err(rejection) => {
            let (path, message) = field(&rejection.message);
            let id = if rejection.stalled { Id::Refused } else { Id::Unresolved };
            vec![manifest.finding(id, path, message)]
        }
    }
}

/// What is to say of rules that these servers have. `at` is where they stand.
fn of_access(manifest: &Manifest, at: &str, access: &Access, servers: &[&Asked]) -> Vec<Finding> {
    let without = |asked: &Asked| asked.with(Access::default()).ok();
    let mut sound: Vec<_> = servers.iter().filter_map(|asked| Some((*asked, without(asked)?))).collect();
    // What is wrong with all of them beside their rules, or that there is none, hides nothing of the rules.
    let unknown = somebodys(access);
    if sound.is_empty() {
        sound.extend(unknown.as_ref().and_then(|asked| Some((asked, without(asked)?))));
    }
    let mut findings = Vec::new();
    for (asked, without) in sound {
        let mut refused = false;
        for (number, rule) in access.rules.iter().enumerate() {
            let path = format!("{at}.rules[{number}]");
            match asked.with(Access { rules: vec![rule.clone()], ..access.clone() }) {
                Ok(checked) => {
                    let opened = checked.posture.iter().filter(|word| !without.posture.contains(word));
                    findings.extend(opened.filter_map(|word| warnings::opened_by_rule(manifest, &path, word)));
                }
                Err(rejection) => {
                    let (inner, message) = of_rule(&rejection.message, rule);
                    findings.push(manifest.finding(Id::Refused, &format!("{path}{inner}"), message));
                    refused = true;
                }
            }
        }
        // Each may be right, and all together not.
        if let (false, Err(rejection)) = (refused, asked.with(access.clone())) {
            let (_, message) = field(&rejection.message);
            findings.push(manifest.finding(Id::Refused, &format!("{at}.rules"), message));
        }
    }
    findings
}

/// The field that a message begins with, and what it says of it.
fn field(message: &str) -> (&str, &str) {
    let named = message.split([' ', ':']).next().unwrap_or_default();
    let rest = message.get(named.len()..).unwrap_or_default();
    match rest.strip_prefix(": ") {
        _ if !named.starts_with("spec.") => ("", message),
        Some(rest) => (named, rest),
        None => (named, message),
    }
}

/// The field within a rule that a message about the rule names, with its dot, and what it says of it.
fn of_rule(message: &str, rule: &AccessRule) -> (String, String) {
    let name = format!("rule {:?}", rule.name);
    let Some((_, said)) = message.split_once(&name) else { return (String::new(), message.to_owned()) };
    let said = said.trim_start_matches([':', ' ']);
    let path = said.split(": ").next().unwrap_or_default();
    let is_path = path.bytes().all(|letter| letter.is_ascii_alphanumeric() || b".[]".contains(&letter));
    match said.get(path.len()..).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) if is_path => (format!(".{path}"), rest.to_owned()),
        _ => (String::new(), said.to_owned()),
    }
}

/// A server of which nothing is known but that it has these rules.
fn somebodys(access: &Access) -> Option<Asked> {
    let spec = json!({"source": {"image": {"ref": "server"}}, "auth": whoever(access)});
    Some(Asked { server: McpServer::new("server", serde_json::from_value(spec).ok()?), evidence: None })
}

/// Evidence that lets in whoever these rules name: what is wrong with them, and not with what is not known, is left.
fn whoever(access: &Access) -> McpAuthPolicySpec {
    let principals = || access.rules.iter().flat_map(|rule| &rule.principals);
    let names: BTreeSet<&str> = principals().filter_map(|principal| principal.issuer.as_deref()).collect();
    let names = if names.is_empty() { BTreeSet::from(["any"]) } else { names };
    let claims: BTreeSet<&str> =
        principals().filter_map(|principal| Some(principal.claim.as_ref()?.name.as_str())).collect();
    let attributes = claims.iter().map(|name| AttributeClaim { name: (*name).to_owned(), claim: (*name).to_owned() });
    let claims = Claims { attributes: attributes.collect(), ..Claims::default() };
    let issuers = names.iter().map(|name| Issuer {
        name: (*name).to_owned(),
        url: format!("https://{name}.invalid"),
        audiences: Vec::new(),
        jwks_url: None,
        ca_ref: None,
        claims: Some(claims.clone()),
        introspection: None,
    });
    McpAuthPolicySpec {
        issuers: issuers.collect(),
        static_tokens: Some(StaticTokens { secret_ref: LocalRef { name: "tokens".into() } }),
        kubernetes_service_accounts: Some(KubernetesServiceAccounts::default()),
        client_certificates: Some(ClientCertificates::default()),
        insecure_anonymous: Some(true),
    }
}
