//! Rules, compiled once and asked often.

use std::sync::Arc;

use cardea_contract::{Effect, PrincipalMatch, Rule};
use wildmatch::WildMatch;

use crate::{Action, Denial, DenialReason, Permit, Principal};

/// Compiled rules. Empty means: nothing may be called.
#[derive(Debug, Default)]
pub struct Policy {
    deny: Vec<CompiledRule>,
    allow: Vec<CompiledRule>,
}

#[derive(Debug)]
struct CompiledRule {
    name: Arc<str>,
    principals: Vec<PrincipalMatch>,
    tools: Vec<WildMatch>,
}

/// A rule that cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// A rule without principals would be about nobody, which its author cannot have meant.
    #[error("rule {0:?} names no principal: list at least one, or `anyAuthenticated: true`")]
    NoPrincipal(String),
    /// A rule without tools would be about nothing.
    #[error("rule {0:?} names no tool: list at least one glob, `*` for every tool")]
    NoTool(String),
    /// Not a glob of tool names.
    #[error(
        "rule {rule:?}: {glob:?} is not a glob of tool names: letters, digits, `_`, `-`, `.`, `/`, with `*` for any run and `?` for one character"
    )]
    Glob {
        /// The rule.
        rule: String,
        /// What it says.
        glob: String,
    },
}

impl Policy {
    /// Compiles rules. Their order does not matter.
    ///
    /// # Errors
    /// The first rule that makes no sense, by name: the whole set is refused, since a set with a hole is another set.
    pub fn compile(rules: &[Rule]) -> Result<Self, CompileError> {
        let mut policy = Self::default();
        for rule in rules {
            let compiled = CompiledRule::compile(rule)?;
            match rule.effect {
                Effect::Allow => policy.allow.push(compiled),
                Effect::Deny => policy.deny.push(compiled),
            }
        }
        Ok(policy)
    }

    /// Decides. Deny wins over Allow, nothing matching is a denial, a method that is no [`Action`] of its own is refused.
    ///
    /// # Errors
    /// The denial.
    pub fn decide(&self, principal: &Principal, action: Action<'_>) -> Result<Permit, Denial> {
        match action {
            Action::Session | Action::List(_) => Ok(Permit::by(None)),
            Action::CallTool(tool) => match self.judge(principal, tool) {
                Ok(rule) => Ok(Permit::by(Some(rule))),
                Err(reason) => Err(Denial { reason }),
            },
            Action::Other(_) => Err(Denial { reason: DenialReason::UnknownMethod }),
        }
    }

    /// Whether this caller's list shows the tool: exactly when a call could be permitted.
    pub fn shows_tool(&self, principal: &Principal, tool: &str) -> bool {
        self.judge(principal, tool).is_ok()
    }

    fn judge(&self, principal: &Principal, tool: &str) -> Result<Arc<str>, DenialReason> {
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(principal, tool)) {
            return Err(DenialReason::Rule(rule.name.clone()));
        }
        match self.allow.iter().find(|rule| rule.matches(principal, tool)) {
            Some(rule) => Ok(rule.name.clone()),
            None => Err(DenialReason::NothingAllows),
        }
    }
}

impl CompiledRule {
    fn compile(rule: &Rule) -> Result<Self, CompileError> {
        if rule.principals.is_empty() {
            return Err(CompileError::NoPrincipal(rule.name.clone()));
        }
        if rule.tools.is_empty() {
            return Err(CompileError::NoTool(rule.name.clone()));
        }
        if let Some(glob) = rule.tools.iter().find(|glob| !is_tool_glob(glob)) {
            return Err(CompileError::Glob { rule: rule.name.clone(), glob: glob.clone() });
        }
        Ok(Self {
            name: rule.name.as_str().into(),
            principals: rule.principals.clone(),
            tools: rule.tools.iter().map(|glob| WildMatch::new(glob)).collect(),
        })
    }

    fn matches(&self, principal: &Principal, tool: &str) -> bool {
        self.tools.iter().any(|glob| glob.matches(tool)) && self.principals.iter().any(|wanted| principal.is(wanted))
    }
}

/// The alphabet of tool names (MCP 2025-11-25, tools, "Tool Names") with the two wildcards.
fn is_tool_glob(glob: &str) -> bool {
    (1..=128).contains(&glob.len())
        && glob.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./*?".contains(&byte))
}

#[cfg(test)]
mod tests;
