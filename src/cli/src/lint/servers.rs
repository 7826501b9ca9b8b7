//! What the operator would say of each server and of each policy, rule by rule, so that one that is wrong hides no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use cardea_api::v1alpha1::{
    Access, AccessRule, AttributeClaim, Auth, Claims, ClientCertificates, Issuer, KubernetesServiceAccounts, LocalRef,
    McpAccessPolicy, McpAuthPolicy, McpAuthPolicySpec, McpSecretStore, McpServer, StaticTokens,
};
use cardea_operator::governance::Governing;
use cardea_operator::observe::SecretStores;
use cardea_operator::users::policy_of;
use cardea_operator::validate::{Rejection, ValidatedServer, policy_rules};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::finding::{Finding, Id};
use super::tools::Listed;
use super::{Manifest, warnings};
use crate::manifest::{Manifests, Policies};
use crate::rules;

/// A server with the policy that says whom it lets in, if it names one, and the stores of its secrets.
struct Asked {
    server: McpServer,
    auth: Option<Arc<McpAuthPolicy>>,
    /// Where its secrets are, if that is known.
    stores: Option<SecretStores>,
}

impl Asked {
    /// Checks it, had it these rules.
    fn with(&self, access: Access) -> Result<ValidatedServer, Rejection> {
        self.governed(access, Governing::default())
    }

    /// Checks it, had it these rules and these policies.
    fn governed(&self, access: Access, governing: Governing) -> Result<ValidatedServer, Rejection> {
        let mut server = self.server.clone();
        server.spec.access = Some(access);
        rules::check(server, Policies { auth: self.auth.clone(), governing, stores: self.stores.clone() })
    }
}

/// Everything about manifests that an API server would take.
pub(super) fn findings(sound: &[Manifest], listed: &Listed, now: Timestamp) -> Vec<Finding> {
    let all: Manifests = sound.iter().map(|manifest| manifest.document.clone()).collect();
    let (mut findings, mut servers) = (Vec::new(), Vec::new());
    for (manifest, mut server) in of_kind::<McpServer>(sound, "McpServer") {
        // What is wrong with a policy or a store is told where it stands.
        let (Ok(auth), Ok(stores)) = (all.auth_policy(&server), all.secret_stores(&server)) else { continue };
        let auth = auth.map(Arc::new);
        let access = server.spec.access.clone().unwrap_or_default();
        let inline = server.spec.auth.as_ref().map(|auth| &auth.inline);
        findings.extend(inline.and_then(|inline| warnings::insecure(manifest, "spec.auth", inline)));
        if let (Some(name), None) = (policy_of(&server), &auth) {
            let message = format!(
                "names the McpAuthPolicy {name:?}, which is not among these files: whom it lets in is not known here"
            );
            findings.push(manifest.finding(Id::Unresolved, "spec.auth.policyRef", message));
            server.spec.auth = Some(Auth { policy_ref: None, inline: whoever(&access) });
        }
        if stores.is_none() {
            let message = "names an McpSecretStore that is not among these files: whether it fits is not known here";
            findings.push(manifest.finding(Id::Unresolved, "spec.secrets", message));
        }
        let asked = Asked { server, auth, stores };
        findings.extend(of_server(manifest, &asked));
        findings.extend(of_access(manifest, &access, &asked, listed));
        findings.extend(warnings::of(manifest, "spec.access", &access, now));
        servers.push((manifest, asked));
    }
    let mut accepted = Vec::new();
    for (manifest, policy) in of_kind::<McpAccessPolicy>(sound, "McpAccessPolicy") {
        findings.extend(of_policy(manifest, &policy, servers.iter().map(|(_, asked)| asked), listed));
        findings.extend(warnings::of(manifest, "spec", &policy.spec.access, now));
        if policy_rules(&policy.name_any(), &policy.spec.access).is_ok() {
            accepted.push(policy);
        }
    }
    for (manifest, asked) in &servers {
        findings.extend(together(manifest, asked, &accepted));
    }
    for (manifest, policy) in of_kind::<McpAuthPolicy>(sound, "McpAuthPolicy") {
        findings.extend(warnings::insecure(manifest, "spec", &policy.spec));
    }
    for (manifest, store) in of_kind::<McpSecretStore>(sound, "McpSecretStore") {
        findings.extend(warnings::in_the_clear(manifest, &store.spec));
    }
    findings
}

fn of_kind<'m, K: DeserializeOwned>(sound: &'m [Manifest], kind: &'m str) -> impl Iterator<Item = (&'m Manifest, K)> {
    let of_kind = sound.iter().filter(move |manifest| manifest.document.value.get("kind").is_some_and(|it| it == kind));
    of_kind.filter_map(|manifest| Some((manifest, serde_json::from_value(manifest.document.value.clone()).ok()?)))
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

/// What is to say of the rules that a server has itself.
fn of_access(manifest: &Manifest, access: &Access, asked: &Asked, listed: &Listed) -> Vec<Finding> {
    // What is wrong with it beside its rules hides nothing of these.
    let unknown = somebodys(access);
    let sound = |asked: &Asked| asked.with(Access::default()).ok();
    let known = sound(asked).map(|without| (asked, without));
    let Some((asked, without)) = known.or_else(|| unknown.as_ref().and_then(|asked| Some((asked, sound(asked)?))))
    else {
        return Vec::new();
    };
    let (mut findings, mut refused) = (Vec::new(), false);
    for (number, rule) in access.rules.iter().enumerate() {
        let path = format!("spec.access.rules[{number}]");
        match asked.with(Access { rules: vec![rule.clone()], ..access.clone() }) {
            Ok(checked) => findings.extend(opened(manifest, &path, &checked, &without)),
            Err(rejection) => {
                findings.push(of_rule(manifest, &path, &rejection.message));
                refused = true;
            }
        }
    }
    // Each may be right, and all together not.
    match asked.with(access.clone()) {
        _ if refused => {}
        Err(rejection) => {
            let (_, message) = field(&rejection.message);
            findings.push(manifest.finding(Id::Refused, "spec.access.rules", message));
        }
        Ok(checked) => {
            let unfit = listed.unfit(&checked.name, &checked.rules).into_iter();
            findings.extend(unfit.map(|(rule, said)| doubt(manifest, "spec.access", access, Id::Unfit, &rule, &said)));
        }
    }
    findings
}

/// What is to say of a server's rules with those of all policies that govern it: each may be right, and all together not.
fn together(manifest: &Manifest, asked: &Asked, policies: &[McpAccessPolicy]) -> Option<Finding> {
    let access = asked.server.spec.access.clone().unwrap_or_default();
    asked.with(access.clone()).ok()?;
    let governing = Governing::among(policies.to_vec(), &asked.server);
    let rejection = asked.governed(access, governing).err()?;
    let (_, message) = field(&rejection.message);
    Some(manifest.finding(Id::Refused, "spec.access.rules", message))
}

/// What is to say of a policy, whichever of these servers it governs.
fn of_policy<'s>(
    manifest: &Manifest,
    policy: &McpAccessPolicy,
    servers: impl Iterator<Item = &'s Asked>,
    listed: &Listed,
) -> Vec<Finding> {
    let (name, access) = (policy.name_any(), &policy.spec.access);
    let (mut findings, mut refused) = (Vec::new(), false);
    for (number, rule) in access.rules.iter().enumerate() {
        let alone = Access { rules: vec![rule.clone()], ..access.clone() };
        if let Err(problem) = policy_rules(&name, &alone) {
            findings.push(of_rule(manifest, &format!("spec.rules[{number}]"), &problem));
            refused = true;
        }
    }
    // Each may be right, and all together not.
    if let (false, Err(problem)) = (refused, policy_rules(&name, access)) {
        let (_, message) = field(&problem);
        findings.push(manifest.finding(Id::Refused, "spec.rules", message));
        refused = true;
    }
    if refused {
        return findings;
    }
    for asked in servers {
        let governing = Governing::among(vec![policy.clone()], &asked.server);
        let both = (asked.with(Access::default()), asked.governed(Access::default(), governing));
        let (Ok(without), Ok(checked)) = both else { continue };
        findings.extend(opened(manifest, "spec.rules", &checked, &without));
        for warning in checked.policy_warnings.get(&name).into_iter().flatten() {
            let said = format!("has no effect on the McpServer {:?}: {}", checked.name, warning.message);
            let rule = warning.rule.as_deref().unwrap_or_default();
            findings.push(doubt(manifest, "spec", access, Id::NoEffect, rule, &said));
        }
        for (rule, said) in listed.unfit(&checked.name, &checked.rules) {
            let rule = rule.split_once('/').map_or(rule.as_str(), |(_, rule)| rule);
            findings.push(doubt(manifest, "spec", access, Id::Unfit, rule, &said));
        }
    }
    findings
}

/// What is said of the rule of this name, or of one that a bundle of it became.
fn doubt(manifest: &Manifest, at: &str, access: &Access, id: Id, rule: &str, said: &str) -> Finding {
    let named = |asked: &AccessRule| {
        rule.strip_prefix(&asked.name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
    };
    match access.rules.iter().position(named) {
        Some(number) => located(manifest, id, &format!("{at}.rules[{number}]"), said),
        None => manifest.finding(id, &format!("{at}.rules"), said),
    }
}

/// What a server opens that it does not open without these rules.
fn opened(manifest: &Manifest, path: &str, with: &ValidatedServer, without: &ValidatedServer) -> Vec<Finding> {
    let opened = with.posture.iter().filter(|word| !without.posture.contains(word));
    opened.filter_map(|word| warnings::opened_by_rule(manifest, path, word)).collect()
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

/// What is said of the rule at this path, by the field within it that the message names.
fn of_rule(manifest: &Manifest, path: &str, message: &str) -> Finding {
    let named = message.split_once("rule \"").and_then(|(_, rest)| rest.split_once('"'));
    located(manifest, Id::Refused, path, named.map_or(message, |(_, said)| said).trim_start_matches([':', ' ']))
}

/// What is said of the rule at this path, at the field within it that this begins with.
fn located(manifest: &Manifest, id: Id, path: &str, said: &str) -> Finding {
    let inner = said.split(": ").next().unwrap_or_default();
    let is_path = inner.bytes().all(|letter| letter.is_ascii_alphanumeric() || b".[]".contains(&letter));
    match said.get(inner.len()..).and_then(|rest| rest.strip_prefix(": ")) {
        Some(rest) if is_path => manifest.finding(id, &format!("{path}.{inner}"), rest),
        _ => manifest.finding(id, path, said),
    }
}

/// A server of which nothing is known but that it has these rules.
fn somebodys(access: &Access) -> Option<Asked> {
    let spec = json!({"source": {"image": {"ref": "server"}}, "auth": whoever(access)});
    let server = McpServer::new("server", serde_json::from_value(spec).ok()?);
    Some(Asked { server, auth: None, stores: None })
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
