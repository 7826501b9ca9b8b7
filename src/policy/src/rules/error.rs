//! What is wrong with a rule: which one, where in it, what would be right.

use crate::conditions::ConditionError;
use crate::when::WhenError;

/// A rule that cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// A rule without principals would be about nobody, which its author cannot have meant.
    #[error("rule {0:?}: principals: nobody is named: list at least one, as in principals: [{{group: developers}}]")]
    NoPrincipal(String),
    /// A rule about nothing.
    #[error(
        "rule {0:?} is about nothing: list at least one glob in tools, prompts, resources or methods, as in tools: ['get_*']"
    )]
    AboutNothing(String),
    /// Not a glob of what it stands for.
    #[error(
        "rule {rule:?}: {field}[{index}]: {glob:?} is not a glob: {alphabet}, with '*' for any run and '?' for one character, as in {example}"
    )]
    Glob {
        /// The rule.
        rule: String,
        /// Which of its lists.
        field: &'static str,
        /// Which entry.
        index: usize,
        /// What it says.
        glob: String,
        /// What may stand there.
        alphabet: &'static str,
        /// One that is right.
        example: &'static str,
    },
    /// Not a scope of RFC 6749 section 3.3, or one that permits nothing.
    #[error(
        "rule {rule:?}: scopes[{index}]: {scope:?} is not a scope that a rule can need: printable ASCII without space, '\"' and '\\', and not offline_access, as in deploy:write"
    )]
    Scope {
        /// The rule.
        rule: String,
        /// Which entry.
        index: usize,
        /// What it says.
        scope: String,
    },
    /// A condition that makes no sense.
    #[error("rule {rule:?}: arguments[{index}].{error}")]
    Argument {
        /// The rule.
        rule: String,
        /// Which of its conditions.
        index: usize,
        /// What is wrong with it.
        error: ConditionError,
    },
    /// An expression that makes no sense.
    #[error("rule {rule:?}: when: {error}")]
    When {
        /// The rule.
        rule: String,
        /// What is wrong with it.
        error: WhenError,
    },
    /// Compiling expressions takes time, and a policy is compiled whenever it changes.
    #[error("more than {0} conditions with regex: take glob, prefix or in for some of them, as in glob: team-a-*")]
    TooManyExpressions(usize),
    /// Resources and methods have no arguments: the condition could never be told.
    #[error(
        "rule {0:?}: arguments: resources and methods have none: put them into a rule of their own, as in {{name: docs, principals: [{{group: developers}}], resources: ['file:///docs/*']}}"
    )]
    NoArguments(String),
    /// A Deny holds for every token: with scopes it would be lifted or laid on by what a client asks for.
    #[error(
        "rule {0:?}: scopes: a Deny holds whatever the token was granted: remove them, as in {{name: nobody-drops, effect: Deny, principals: [{{anyAuthenticated: true}}], tools: [drop]}}"
    )]
    DenyWithScopes(String),
}
