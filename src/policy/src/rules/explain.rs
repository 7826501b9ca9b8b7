//! Why a decision is what it is, rule by rule. For people who ask: a request is decided by [`Policy::decide`], which this
//! agrees with.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{About, CompiledRule, Given, Policy, Rules};
use crate::conditions::Truth;
use crate::when::Facts;
use crate::{Action, Arguments, DenialReason, Principal};

/// A decision, and what every rule has to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that permits it, none if none is needed; or why it is refused.
    pub decision: Result<Option<Arc<str>>, DenialReason>,
    /// Rules that would permit it, but for something.
    pub allow: Vec<Look>,
    /// Rules that would refuse it, but for something.
    pub deny: Vec<Look>,
}

/// What one rule has to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its name.
    pub rule: Arc<str>,
    /// What keeps it from matching; nothing, if it matches.
    pub but_for: Vec<ButFor>,
}

/// What keeps a rule from matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ButFor {
    /// It is not about this caller.
    Principal,
    /// It is not about this name.
    Name,
    /// Its condition of this number does not hold, or cannot be told.
    Argument {
        /// From 0.
        index: usize,
        /// Whether it can be told that it does not.
        certain: bool,
    },
    /// Its expression does not hold, or cannot be told.
    When {
        /// Whether it can be told that it does not.
        certain: bool,
    },
    /// The caller's token lacks these scopes.
    Scopes(Vec<String>),
}

impl Policy {
    /// Decides, and looks at each rule.
    pub fn explain(&self, principal: &Principal, action: Action<'_>, arguments: &dyn Arguments) -> Explanation {
        let facts = Facts::new(principal, action, arguments);
        let decision = self.judge(principal, action, Given::Now(&facts));
        let (about, name): (About, _) = match action {
            Action::CallTool(name) => (|rules| &rules.tools, name),
            Action::GetPrompt(name) => (|rules| &rules.prompts, name),
            Action::ReadResource(name) | Action::ReadTemplate(name) => (|rules| &rules.resources, name),
            Action::Method(name) => (|rules| &rules.methods, name),
            Action::Session | Action::List(_) | Action::Listen { .. } | Action::Unknown(_) => {
                return Explanation { decision, allow: Vec::new(), deny: Vec::new() };
            }
        };
        let look = |rules: &Rules, open: fn(Truth) -> bool| {
            let named: BTreeSet<usize> = about(rules).about(name).collect();
            let all = rules.all.iter().enumerate();
            all.map(|(number, rule)| Look {
                rule: rule.name.clone(),
                but_for: rule.but_for(principal, named.contains(&number), &facts, open),
            })
            .collect()
        };
        // Of an Allow everything must hold; a Deny matches while nothing is known not to.
        let allow = look(&self.allow, |truth| truth == Truth::Yes);
        let deny = look(&self.deny, |truth| truth != Truth::No);
        Explanation { decision, allow, deny }
    }
}

impl Explanation {
    /// The Allow that comes nearest: the one that a challenge is about, or the one that the fewest things keep from matching,
    /// its name being right if any's is.
    pub fn nearest(&self) -> Option<&Look> {
        let challenged = |look: &&Look| match &self.decision {
            Err(DenialReason::MissingScopes { rule, .. }) => {
                look.rule == *rule && matches!(look.but_for[..], [ButFor::Scopes(_)])
            }
            _ => false,
        };
        let fewest = || self.allow.iter().min_by_key(|look| (look.but_for.contains(&ButFor::Name), look.but_for.len()));
        self.allow.iter().find(challenged).or_else(fewest)
    }
}

impl CompiledRule {
    fn but_for(&self, principal: &Principal, named: bool, facts: &Facts<'_>, open: fn(Truth) -> bool) -> Vec<ButFor> {
        let mut all = Vec::new();
        if !self.is_about(principal) {
            all.push(ButFor::Principal);
        }
        if !named {
            all.push(ButFor::Name);
        }
        let arguments = self.arguments.iter().map(|condition| condition.judge(facts.arguments())).enumerate();
        let closed = arguments.filter(|(_, truth)| !open(*truth));
        all.extend(closed.map(|(index, truth)| ButFor::Argument { index, certain: truth == Truth::No }));
        let when = self.when.iter().map(|when| when.judge(facts)).filter(|truth| !open(*truth));
        all.extend(when.map(|truth| ButFor::When { certain: truth == Truth::No }));
        let missing: Vec<String> = self.missing_scopes(principal).cloned().collect();
        if !missing.is_empty() {
            all.push(ButFor::Scopes(missing));
        }
        all
    }
}
