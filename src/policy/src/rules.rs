//! Rules, compiled once and asked often.

mod error;
mod explain;
mod index;

use std::cmp::Reverse;
use std::sync::Arc;

use cardea_contract::{Effect, PrincipalMatch, Rule};

pub use self::error::CompileError;
pub use self::explain::{ButFor, Explanation, Look};
use self::index::Index;
use crate::conditions::{Condition, Truth};
use crate::glob::Glob;
use crate::when::{Facts, When};
use crate::{Action, Arguments, Catalog, Denial, DenialReason, Permit, Principal, scopes, uri};

/// Compiled rules. Empty means: nothing may be called.
#[derive(Debug, Default)]
pub struct Policy {
    deny: Rules,
    allow: Rules,
    since: Option<i64>,
    until: Option<i64>,
}

/// Rules of one effect.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<CompiledRule>,
    tools: Index,
    prompts: Index,
    resources: Index,
    methods: Index,
}

#[derive(Debug)]
struct CompiledRule {
    name: Arc<str>,
    principals: Vec<PrincipalMatch>,
    arguments: Vec<Condition>,
    when: Option<When>,
    scopes: Arc<[String]>,
    /// For each of these, broader ones that include it.
    broader: Vec<Vec<String>>,
}

/// Most conditions with a regular expression, of all rules.
const MAX_EXPRESSIONS: usize = 256;

/// What is compared with a name.
type About = fn(&Rules) -> &Index;

/// What is known of the arguments.
#[derive(Clone, Copy)]
enum Given<'a> {
    /// Nothing yet: they may be whatever a condition asks for.
    Later,
    /// All of these; conditions are judged by them.
    Now(&'a Facts<'a>),
}

impl Policy {
    /// Compiles rules, those that have an end among them. Their order does not matter.
    ///
    /// # Errors
    /// The first rule that makes no sense, by name: the whole set is refused, since a set with a hole is another set.
    pub fn compile(rules: &[Rule]) -> Result<Self, CompileError> {
        Self::compile_at(rules, i64::MIN)
    }

    /// Compiles rules as they are at a moment (seconds since 1970): those whose end has come are no more, which holds as long
    /// as [`Policy::holds_at`] says.
    ///
    /// # Errors
    /// As [`Policy::compile`], also about rules that are no more.
    pub fn compile_at(rules: &[Rule], now: i64) -> Result<Self, CompileError> {
        let conditions = rules.iter().flat_map(|rule| &rule.arguments);
        if conditions.filter(|condition| condition.regex.is_some()).count() > MAX_EXPRESSIONS {
            return Err(CompileError::TooManyExpressions(MAX_EXPRESSIONS));
        }
        let mut policy = Self::default();
        for rule in rules {
            let mut over = Rules::default();
            let of_effect = match (rule.not_after, rule.effect) {
                (Some(end), _) if end <= now => &mut over,
                (_, Effect::Allow) => &mut policy.allow,
                (_, Effect::Deny) => &mut policy.deny,
            };
            of_effect.add(rule)?;
        }
        let ends = || rules.iter().filter_map(|rule| rule.not_after);
        policy.since = ends().filter(|end| *end <= now).max();
        policy.until = ends().filter(|end| *end > now).min();
        Ok(policy)
    }

    /// Whether these are the rules of this moment: the next of them has not come to its end, and the clock was not set back
    /// to before an end that had come.
    pub fn holds_at(&self, now: i64) -> bool {
        self.since.is_none_or(|since| since <= now) && self.until.is_none_or(|until| now < until)
    }

    /// When the next of its rules ends, seconds since 1970.
    pub fn until(&self) -> Option<i64> {
        self.until
    }

    /// Decides. Deny wins over Allow, nothing matching is a denial, what no rule can be about is refused. The arguments are
    /// asked for where a rule has conditions on them, and nowhere else.
    ///
    /// # Errors
    /// The denial.
    pub fn decide(
        &self,
        principal: &Principal,
        action: Action<'_>,
        arguments: &dyn Arguments,
    ) -> Result<Permit, Denial> {
        let facts = Facts::new(principal, action, arguments);
        self.judge(principal, action, Given::Now(&facts)).map(Permit::by).map_err(|reason| Denial { reason })
    }

    /// Whether this caller's list shows the element of this name, URI or template: when asking for it could be permitted,
    /// with some arguments, and be it with more scopes: a client that never saw the tool would never ask for them. A
    /// template is compared as it is written, its braces included; what it leads to is decided when it is read.
    pub fn shows(&self, principal: &Principal, catalog: Catalog, key: &str) -> bool {
        let action = match catalog {
            Catalog::Tools => Action::CallTool(key),
            Catalog::Prompts => Action::GetPrompt(key),
            Catalog::Resources => Action::ReadResource(key),
            Catalog::ResourceTemplates => Action::ReadTemplate(key),
        };
        let judgement = self.judge(principal, action, Given::Later);
        matches!(judgement, Ok(_) | Err(DenialReason::MissingScopes { .. }))
    }

    /// The fewest scopes with which a token is permitted anything, the narrowest of as many, those of the first rule among
    /// equals. None if some rule needs no scope, or no rule is about tokens: what more is needed, a challenge says when it is.
    pub fn least_scopes(&self) -> &[String] {
        let about_tokens = self.allow.all.iter().filter(|rule| rule.is_about_tokens());
        let least = about_tokens.min_by_key(|rule| weight(rule.broader.iter()));
        least.map(|rule| rule.scopes.as_ref()).unwrap_or_default()
    }

    fn judge(
        &self,
        principal: &Principal,
        action: Action<'_>,
        given: Given<'_>,
    ) -> Result<Option<Arc<str>>, DenialReason> {
        match action {
            Action::Session | Action::List(_) => Ok(None),
            Action::CallTool(name) => self.judge_name(principal, |rules| &rules.tools, name, given).map(Some),
            Action::GetPrompt(name) => self.judge_name(principal, |rules| &rules.prompts, name, given).map(Some),
            Action::ReadResource(uri) => self.judge_resource(principal, uri, given).map(Some),
            Action::ReadTemplate(uri) => self.judge_name(principal, |rules| &rules.resources, uri, given).map(Some),
            Action::Listen { resources, further } => self.judge_listening(principal, resources, further, given),
            Action::Method(method) => self.judge_name(principal, |rules| &rules.methods, method, given).map(Some),
            Action::Unknown(_) => Err(DenialReason::UnknownMethod),
        }
    }

    fn judge_name(
        &self,
        principal: &Principal,
        about: About,
        name: &str,
        given: Given<'_>,
    ) -> Result<Arc<str>, DenialReason> {
        let denies = |rule: &&CompiledRule| rule.is_about(principal) && rule.denies(given);
        if let Some(rule) = self.deny.about(about, name).find(denies) {
            return Err(DenialReason::Rule(rule.name.clone()));
        }
        let mut nearest: Option<(Weight, &CompiledRule)> = None;
        let allows = |rule: &&CompiledRule| rule.is_about(principal) && rule.allows(given);
        for rule in self.allow.about(about, name).filter(allows) {
            let missing = weight(rule.missing(principal).map(|(_, broader)| broader));
            if missing.0 == 0 {
                return Ok(rule.name.clone());
            }
            if principal.has_scopes() && nearest.is_none_or(|(least, _)| missing < least) {
                nearest = Some((missing, rule));
            }
        }
        Err(match nearest {
            Some((_, rule)) => {
                DenialReason::MissingScopes { rule: rule.name.clone(), scopes: rule.scopes_for(principal) }
            }
            None => DenialReason::NothingAllows,
        })
    }

    fn judge_resource(&self, principal: &Principal, uri: &str, given: Given<'_>) -> Result<Arc<str>, DenialReason> {
        if !uri::is_normal(uri) {
            return Err(DenialReason::NothingAllows);
        }
        self.judge_name(principal, |rules| &rules.resources, uri, given)
    }

    fn judge_listening(
        &self,
        principal: &Principal,
        resources: &[String],
        further: bool,
        given: Given<'_>,
    ) -> Result<Option<Arc<str>>, DenialReason> {
        let (mut permitting, mut missing) = (None, scopes::Missing::default());
        let Given::Now(facts) = given else { return Err(DenialReason::NothingAllows) };
        if further {
            let part = facts.of_part(Action::Method(LISTEN));
            permitting = missing.part(self.judge_name(principal, |rules| &rules.methods, LISTEN, Given::Now(&part)))?;
        }
        for uri in resources {
            let part = facts.of_part(Action::ReadResource(uri));
            permitting = missing.part(self.judge_resource(principal, uri, Given::Now(&part)))?;
        }
        missing.end()?;
        Ok(permitting)
    }
}

impl Rules {
    fn add(&mut self, rule: &Rule) -> Result<(), CompileError> {
        let number = self.all.len();
        self.all.push(CompiledRule::compile(rule)?);
        let of = |field, globs: &[String], example| compile(rule, field, globs, (NAMES, is_name_glob), example);
        self.tools.add(of("tools", &rule.tools, "get_*")?, number);
        self.prompts.add(of("prompts", &rule.prompts, "review-*")?, number);
        self.methods.add(of("methods", &rule.methods, "tasks/*")?, number);
        let uris = compile(rule, "resources", &rule.resources, (URIS, is_uri_glob), "file:///docs/*")?;
        self.resources.add(uris, number);
        Ok(())
    }

    /// Rules about this name, in their order.
    fn about<'r>(&'r self, about: About, name: &'r str) -> impl Iterator<Item = &'r CompiledRule> {
        about(self).about(name).filter_map(|number| self.all.get(number))
    }
}

/// How much some scopes are: how many, and of as many those are less that more others include.
type Weight = (usize, Reverse<usize>);

/// The weight of scopes with these broader ones.
fn weight<'b>(broader: impl Iterator<Item = &'b Vec<String>>) -> Weight {
    let (count, including) = broader.fold((0, 0), |(count, including), broader| (count + 1, including + broader.len()));
    (count, Reverse(including))
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
        let has_none = !rule.resources.is_empty() || !rule.methods.is_empty();
        if has_none && !rule.arguments.is_empty() {
            return Err(CompileError::NoArguments(rule.name.clone()));
        }
        if let Some((index, scope)) = rule.scopes.iter().enumerate().find(|(_, scope)| !scopes::is_scope(scope)) {
            return Err(CompileError::Scope { rule: rule.name.clone(), index, scope: scope.clone() });
        }
        if rule.effect == Effect::Deny && !rule.scopes.is_empty() {
            return Err(CompileError::DenyWithScopes(rule.name.clone()));
        }
        let mut principals = rule.principals.clone();
        if rule.effect == Effect::Deny && principals.contains(&PrincipalMatch::AnyAuthenticated) {
            // Or whoever is refused would leave the credential out.
            principals.push(PrincipalMatch::Anonymous);
        }
        let conditions = rule.arguments.iter().enumerate().map(|(index, condition)| {
            let named = |error| CompileError::Argument { rule: rule.name.clone(), index, error };
            Condition::compile(condition).map_err(named)
        });
        Ok(Self {
            name: rule.name.as_str().into(),
            principals,
            arguments: conditions.collect::<Result<_, _>>()?,
            when: rule
                .when
                .as_deref()
                .map(When::compile)
                .transpose()
                .map_err(|error| CompileError::When { rule: rule.name.clone(), error })?,
            scopes: rule.scopes.as_slice().into(),
            broader: rule
                .scopes
                .iter()
                .map(|scope| rule.broader_scopes.get(scope).cloned().unwrap_or_default())
                .collect(),
        })
    }

    /// Its scopes that this caller was not granted, nor a broader one.
    fn missing_scopes<'r>(&'r self, principal: &'r Principal) -> impl Iterator<Item = &'r String> {
        self.missing(principal).map(|(scope, _)| scope)
    }

    /// The same, with the broader ones of each.
    fn missing<'r>(&'r self, principal: &'r Principal) -> impl Iterator<Item = (&'r String, &'r Vec<String>)> {
        let granted = |scope: &String| principal.scopes.contains(scope);
        let all = self.scopes.iter().zip(&self.broader);
        all.filter(move |(scope, broader)| !granted(scope) && !broader.iter().any(granted))
    }

    /// Its scopes as a challenge names them to this caller: for one that a broader scope of theirs includes, that one. Whoever
    /// asks for what is named must not end with less than before.
    fn scopes_for(&self, principal: &Principal) -> Arc<[String]> {
        let granted = |scope: &&String| principal.scopes.contains(scope);
        let mut named: Vec<String> = Vec::with_capacity(self.scopes.len());
        for (scope, broader) in self.scopes.iter().zip(&self.broader) {
            let held = [scope].into_iter().chain(broader).find(granted).unwrap_or(scope);
            if !named.contains(held) {
                named.push(held.clone());
            }
        }
        named.into()
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

    fn is_about(&self, principal: &Principal) -> bool {
        self.principals.iter().any(|wanted| principal.is(wanted))
    }

    /// Whether it could permit this: every condition holds, as far as they are judged.
    fn allows(&self, given: Given<'_>) -> bool {
        match given {
            Given::Later => true,
            Given::Now(facts) => self.judge(facts).all(|truth| truth == Truth::Yes),
        }
    }

    /// Whether it refuses this: no condition is known not to hold. While the arguments are not given, another call of the
    /// same name may not be refused.
    fn denies(&self, given: Given<'_>) -> bool {
        match given {
            Given::Later => self.arguments.is_empty() && self.when.is_none(),
            Given::Now(facts) => self.judge(facts).all(|truth| truth != Truth::No),
        }
    }

    /// Each of its conditions, those in CEL last, since they take longer.
    fn judge<'a>(&'a self, facts: &'a Facts<'_>) -> impl Iterator<Item = Truth> + 'a {
        let arguments = self.arguments.iter().map(|condition| condition.judge(facts.arguments()));
        arguments.chain(self.when.iter().map(|when| when.judge(facts)))
    }
}

/// What globs are written in, for people.
const NAMES: &str = "1 to 128 letters, digits and '_-./'";
const URIS: &str = "1 to 256 visible ASCII characters";

fn compile(
    rule: &Rule,
    field: &'static str,
    globs: &[String],
    (alphabet, fits): (&'static str, fn(&str) -> bool),
    example: &'static str,
) -> Result<Vec<Glob>, CompileError> {
    match globs.iter().enumerate().find(|(_, glob)| !fits(glob)) {
        Some((index, glob)) => {
            let (rule, glob) = (rule.name.clone(), glob.clone());
            Err(CompileError::Glob { rule, field, index, glob, alphabet, example })
        }
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
mod laws;
#[cfg(test)]
mod tests;
