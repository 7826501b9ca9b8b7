//! Who may use what of a server: its own rules and those of the policies that govern it.

use std::collections::BTreeMap;

use cardea_api::v1alpha1::{Access, RuleWarning};
use cardea_contract as contract;
use cardea_policy::Policy;

use super::{Rejection, provable, words};
use crate::governance::Governing;
use crate::observe::Observed;

/// The rules of a server.
pub(super) struct Ruled {
    /// All of them, known to compile together.
    pub(super) rules: Vec<contract::Rule>,
    /// How many of these are the server's own: the first.
    pub(super) own_rules: usize,
    /// Policies that some of them come from, each with the generation that counts.
    pub(super) policies: BTreeMap<String, i64>,
    /// What of a policy has no effect on this server, by the policy's name.
    pub(super) warnings: BTreeMap<String, Vec<RuleWarning>>,
}

/// The rules of a server whose evidence is this.
pub(super) fn rules(observed: &Observed, authentication: &contract::Authentication) -> Result<Ruled, Rejection> {
    if let Some((policy, problem)) = observed.governing.unknown.first() {
        return Err(Rejection::unaccepted_policy(policy, problem));
    }
    let at = observed.auth_at();
    let mut rules = match &observed.server.spec.access {
        Some(access) => {
            words::rules(access, "").map_err(|problem| Rejection::invalid(format!("spec.access.{problem}")))?
        }
        None => Vec::new(),
    };
    for rule in &rules {
        if let Some(problem) = provable::problem(rule, authentication, &at) {
            return Err(Rejection::invalid(format!("spec.access.rules: rule {:?}: {problem}", rule.name)));
        }
    }
    let own_rules = rules.len();
    let mut warnings = BTreeMap::new();
    for version in &observed.governing.policies {
        let problems = version.rules.iter().filter_map(|rule| {
            let message = provable::problem(rule, authentication, &at)?;
            let rule = rule.name.strip_prefix(&format!("{}/", version.policy)).unwrap_or(&rule.name);
            Some(RuleWarning { server: Some(observed.name.clone()), rule: Some(rule.to_owned()), message })
        });
        warnings.insert(version.policy.clone(), problems.collect());
    }
    let policies = govern(&mut rules, &observed.governing)?;
    Ok(Ruled { rules, own_rules, policies, warnings })
}

/// Adds the rules of policies to a server's own. Gives the generations that count, by policy.
pub(super) fn govern(
    rules: &mut Vec<contract::Rule>,
    governing: &Governing,
) -> Result<BTreeMap<String, i64>, Rejection> {
    rules.extend(governing.policies.iter().flat_map(|version| version.rules.iter().cloned()));
    let together = |problem: String| {
        Rejection::invalid(format!("spec.access.rules, with those of the policies that govern the server: {problem}"))
    };
    if !governing.policies.is_empty() {
        Policy::compile(rules).map_err(|error| together(error.to_string()))?;
    }
    let bytes = rules.iter().map(words::size).sum::<usize>();
    if bytes > words::MAX_BYTES {
        let most = words::MAX_BYTES;
        return Err(together(format!("{bytes} bytes, of which {most} fit: take fewer, or wider globs")));
    }
    Ok(governing.policies.iter().map(|version| (version.policy.clone(), version.generation)).collect())
}

/// The rules of a policy, whichever servers it governs, each called by the policy's name and its own.
///
/// # Errors
/// What is wrong, with its field.
pub fn policy_rules(policy: &str, access: &Access) -> Result<Vec<contract::Rule>, String> {
    words::rules(access, &format!("{policy}/")).map_err(|problem| format!("spec.{problem}"))
}
