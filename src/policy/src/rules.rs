//! Rules, compiled once and asked often.

use std::sync::Arc;

use cardea_contract::{Effect, PrincipalMatch, Rule};

use crate::glob::Glob;
use crate::{Action, Catalog, Denial, DenialReason, Permit, Principal, scopes, uri};

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
    tools: Vec<Glob>,
    prompts: Vec<Glob>,
    resources: Vec<Glob>,
    methods: Vec<Glob>,
    scopes: Arc<[String]>,
}

/// What of a rule is compared with a name.
type Globs = fn(&CompiledRule) -> &[Glob];

/// A rule that cannot be compiled.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CompileError {
    /// A rule without principals would be about nobody, which its author cannot have meant.
    #[error("rule {0:?} names no principal: list at least one, or `anyAuthenticated: true`")]
    NoPrincipal(String),
    /// A rule about nothing.
    #[error("rule {0:?} is about nothing: list at least one glob in tools, prompts, resources or methods")]
    AboutNothing(String),
    /// Not a glob of what it stands for.
    #[error(
        "rule {rule:?}: {glob:?} is not a glob of {field}: {alphabet}, with `*` for any run and `?` for one character"
    )]
    Glob {
        /// The rule.
        rule: String,
        /// What it says.
        glob: String,
        /// Where.
        field: &'static str,
        /// What may stand there.
        alphabet: &'static str,
    },
    /// Not a scope of RFC 6749 section 3.3, or one that permits nothing.
    #[error(
        "rule {rule:?}: {scope:?} is not a scope that a rule can need: printable ASCII without space, `\"` and `\\`, and not offline_access"
    )]
    Scope {
        /// The rule.
        rule: String,
        /// What it says.
        scope: String,
    },
    /// A Deny holds for every token: with scopes it would be lifted or laid on by what a client asks for.
    #[error("rule {0:?} is a Deny with scopes: remove them, a Deny holds whatever the token was granted")]
    DenyWithScopes(String),
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

    /// Decides. Deny wins over Allow, nothing matching is a denial, what no rule can be about is refused.
    ///
    /// # Errors
    /// The denial.
    pub fn decide(&self, principal: &Principal, action: Action<'_>) -> Result<Permit, Denial> {
        let rule = match action {
            Action::Session | Action::List(_) => Ok(None),
            Action::CallTool(name) => self.judge(principal, |rule| &rule.tools, name).map(Some),
            Action::GetPrompt(name) => self.judge(principal, |rule| &rule.prompts, name).map(Some),
            Action::ReadResource(uri) => self.judge_resource(principal, uri).map(Some),
            Action::ReadTemplate(template) => self.judge(principal, |rule| &rule.resources, template).map(Some),
            Action::Listen { resources, further } => self.judge_listening(principal, resources, further),
            Action::Method(method) => self.judge(principal, |rule| &rule.methods, method).map(Some),
            Action::Unknown(_) => Err(DenialReason::UnknownMethod),
        };
        rule.map(Permit::by).map_err(|reason| Denial { reason })
    }

    /// Whether this caller's list shows the element of this name, URI or template: exactly when asking for it could be
    /// permitted, be it with more scopes: a client that never saw the tool would never ask for them. A template is compared
    /// as it is written, its braces included; what it leads to is decided when it is read.
    pub fn shows(&self, principal: &Principal, catalog: Catalog, key: &str) -> bool {
        let action = match catalog {
            Catalog::Tools => Action::CallTool(key),
            Catalog::Prompts => Action::GetPrompt(key),
            Catalog::Resources => Action::ReadResource(key),
            Catalog::ResourceTemplates => Action::ReadTemplate(key),
        };
        let decision = self.decide(principal, action);
        matches!(decision, Ok(_) | Err(Denial { reason: DenialReason::MissingScopes { .. } }))
    }

    /// The fewest scopes with which a token is permitted anything, those of the first rule among equals. None if some rule
    /// needs no scope, or no rule is about tokens: what more is needed, a challenge says when it is.
    pub fn least_scopes(&self) -> &[String] {
        let about_tokens = self.allow.iter().filter(|rule| rule.is_about_tokens());
        about_tokens.map(|rule| rule.scopes.as_ref()).min_by_key(|scopes| scopes.len()).unwrap_or_default()
    }

    fn judge(&self, principal: &Principal, globs: Globs, name: &str) -> Result<Arc<str>, DenialReason> {
        if let Some(rule) = self.deny.iter().find(|rule| rule.matches(principal, globs, name)) {
            return Err(DenialReason::Rule(rule.name.clone()));
        }
        let mut nearest: Option<(usize, &CompiledRule)> = None;
        for rule in self.allow.iter().filter(|rule| rule.matches(principal, globs, name)) {
            let missing = rule.missing_scopes(principal);
            if missing == 0 {
                return Ok(rule.name.clone());
            }
            if principal.has_scopes() && nearest.is_none_or(|(fewest, _)| missing < fewest) {
                nearest = Some((missing, rule));
            }
        }
        Err(match nearest {
            Some((_, rule)) => DenialReason::MissingScopes { rule: rule.name.clone(), scopes: rule.scopes.clone() },
            None => DenialReason::NothingAllows,
        })
    }

    fn judge_resource(&self, principal: &Principal, uri: &str) -> Result<Arc<str>, DenialReason> {
        if !uri::is_normal(uri) {
            return Err(DenialReason::NothingAllows);
        }
        self.judge(principal, |rule| &rule.resources, uri)
    }

    fn judge_listening(
        &self,
        principal: &Principal,
        resources: &[String],
        further: bool,
    ) -> Result<Option<Arc<str>>, DenialReason> {
        let (mut permitting, mut missing) = (None, scopes::Missing::default());
        if further {
            permitting = missing.part(self.judge(principal, |rule| &rule.methods, LISTEN))?;
        }
        for uri in resources {
            permitting = missing.part(self.judge_resource(principal, uri))?;
        }
        missing.end()?;
        Ok(permitting)
    }
}

/// The method behind [`Action::Listen`].
const LISTEN: &str = "subscriptions/listen";

impl CompiledRule {
    fn compile(rule: &Rule) -> Result<Self, CompileError> {
        if rule.principals.is_empty() {
            return Err(CompileError::NoPrincipal(rule.name.clone()));
        }
        if [&rule.tools, &rule.prompts, &rule.resources, &rule.methods].iter().all(|globs| globs.is_empty()) {
            return Err(CompileError::AboutNothing(rule.name.clone()));
        }
        if let Some(scope) = rule.scopes.iter().find(|scope| !scopes::is_scope(scope)) {
            return Err(CompileError::Scope { rule: rule.name.clone(), scope: scope.clone() });
        }
        if rule.effect == Effect::Deny && !rule.scopes.is_empty() {
            return Err(CompileError::DenyWithScopes(rule.name.clone()));
        }
        let mut principals = rule.principals.clone();
        if rule.effect == Effect::Deny && principals.contains(&PrincipalMatch::AnyAuthenticated) {
            // Or whoever is refused would leave the credential out.
            principals.push(PrincipalMatch::Anonymous);
        }
        let name = "letters, digits, `_`, `-`, `.`, `/`";
        Ok(Self {
            name: rule.name.as_str().into(),
            principals,
            tools: globs(rule, &rule.tools, "tool names", name, is_name_glob)?,
            prompts: globs(rule, &rule.prompts, "prompt names", name, is_name_glob)?,
            resources: globs(rule, &rule.resources, "resource URIs", "visible ASCII", is_uri_glob)?,
            methods: globs(rule, &rule.methods, "methods", name, is_name_glob)?,
            scopes: rule.scopes.as_slice().into(),
        })
    }

    /// How many of its scopes this caller was not granted.
    fn missing_scopes(&self, principal: &Principal) -> usize {
        self.scopes.iter().filter(|scope| !principal.scopes.contains(scope)).count()
    }

    fn is_about_tokens(&self) -> bool {
        self.principals.iter().any(|wanted| match wanted {
            PrincipalMatch::Subject { .. }
            | PrincipalMatch::Group { .. }
            | PrincipalMatch::Attribute { .. }
            | PrincipalMatch::AnyAuthenticated => true,
            PrincipalMatch::ServiceAccount { .. } | PrincipalMatch::SpiffeId(_) | PrincipalMatch::Anonymous => false,
        })
    }

    fn matches(&self, principal: &Principal, globs: Globs, name: &str) -> bool {
        globs(self).iter().any(|glob| glob.matches(name)) && self.principals.iter().any(|wanted| principal.is(wanted))
    }
}

fn globs(
    rule: &Rule,
    globs: &[String],
    field: &'static str,
    alphabet: &'static str,
    fits: impl Fn(&str) -> bool,
) -> Result<Vec<Glob>, CompileError> {
    match globs.iter().find(|glob| !fits(glob)) {
        Some(glob) => Err(CompileError::Glob { rule: rule.name.clone(), glob: glob.clone(), field, alphabet }),
        None => Ok(globs.iter().map(|glob| Glob::new(glob)).collect()),
    }
}

/// The alphabet of tool names (MCP 2025-11-25, tools, "Tool Names") with the two wildcards.
fn is_name_glob(glob: &str) -> bool {
    (1..=128).contains(&glob.len())
        && glob.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./*?".contains(&byte))
}

/// The alphabet of URIs and their templates, which has both wildcards in it: a `?` is one too.
fn is_uri_glob(glob: &str) -> bool {
    (1..=256).contains(&glob.len()) && glob.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
