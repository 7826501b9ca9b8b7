//! What of rules does not fit the tools that a server has: names that none bears, paths that lead to nothing, values that
//! cannot be there. A rule with a slip in it permits nothing, or refuses nothing, and says so to nobody.
//!
//! Does not decide anything, and says nothing where a schema leaves it open. Expressions (`when`) are not read.

use std::collections::BTreeSet;

use cardea_contract::{ArgumentCondition, Effect, Rule, RuleWarning, ValueKind};
use serde_json::Value;

use super::ToolDefinition;
use super::schema::{self, Place};
use crate::conditions::{Declared, Reach, Unfit, Why};
use crate::glob::Glob;
use crate::pointer::{Step, steps};
use crate::text::is_plain;

/// Most warnings.
const MAX_WARNINGS: usize = 100;
/// Most looks at a tool by a rule: there may be thousands of either, and what asks for this has other things to do.
const MAX_LOOKS: usize = 200_000;
/// Most names in a message, and most characters of each.
const MAX_NAMES: usize = 5;
const MAX_LETTERS: usize = 64;

/// What of these rules does not fit these tools, in the order of the rules: the first 100. The tools must be all that the
/// server has. With very many rules and tools the last rules may not be looked at.
pub fn rule_warnings(rules: &[Rule], tools: &[ToolDefinition]) -> Vec<RuleWarning> {
    let mut looks = MAX_LOOKS;
    let mut looked: Vec<Looked<'_>> = Vec::new();
    let mut said = 0;
    for rule in rules.iter().filter(|rule| !rule.tools.is_empty()) {
        let Some(rule) = Looked::new(rule, tools, &mut looks).filter(|_| said < MAX_WARNINGS) else { break };
        said += rule.nameless.len();
        looked.push(rule);
    }
    for (number, tool) in tools.iter().enumerate() {
        let mut concerned = looked.iter_mut().filter(|rule| rule.about.contains(&number)).peekable();
        if concerned.peek().is_none() {
            continue;
        }
        // One at a time: together they may be large.
        let schema = tool.input_schema();
        for rule in concerned {
            for condition in &mut rule.conditions {
                condition.look(tool, &schema);
            }
        }
    }
    let warnings = looked.into_iter().flat_map(|looked| {
        let Looked { rule, nameless, conditions, .. } = looked;
        let unfit = conditions.into_iter().filter_map(Condition::told);
        let warning = |message| RuleWarning { rule: rule.name.clone(), message };
        nameless.into_iter().chain(unfit).map(warning).collect::<Vec<_>>()
    });
    warnings.take(MAX_WARNINGS).collect()
}

/// A rule with what was found of it.
struct Looked<'r> {
    rule: &'r Rule,
    /// Numbers of the tools that it is about.
    about: BTreeSet<usize>,
    /// What is said of globs that no tool matches.
    nameless: Vec<String>,
    conditions: Vec<Condition<'r>>,
}

impl<'r> Looked<'r> {
    /// None if that takes more looks than are left.
    fn new(rule: &'r Rule, tools: &[ToolDefinition], looks: &mut usize) -> Option<Self> {
        let (mut about, mut nameless) = (BTreeSet::new(), Vec::new());
        for (number, text) in rule.tools.iter().enumerate() {
            *looks = looks.checked_sub(tools.len() + 1)?;
            let glob = Glob::new(text);
            let before = about.len();
            let mut matching = tools.iter().enumerate().filter(|(_, tool)| glob.matches(&tool.name)).peekable();
            // Whatever there is: with nothing, that is no slip.
            if matching.peek().is_none() && text.bytes().any(|byte| byte != b'*') {
                nameless.push(no_such_tool(number, text, tools));
            }
            about.extend(matching.map(|(number, _)| number));
            *looks = looks.checked_sub((about.len() - before) * rule.arguments.len())?;
        }
        // A rule about prompts too may have its conditions for these.
        let conditions = if rule.prompts.is_empty() { rule.arguments.as_slice() } else { &[] };
        let conditions = conditions.iter().enumerate().filter_map(|(index, asked)| Condition::new(rule, index, asked));
        Some(Self { rule, about, nameless, conditions: conditions.collect() })
    }
}

fn no_such_tool(number: usize, glob: &str, tools: &[ToolDefinition]) -> String {
    let has = match names(tools.iter().map(|tool| tool.name.as_str())) {
        None => "has none at all".to_owned(),
        Some(names) => format!("has {names}"),
    };
    format!("tools[{number}]: {} is no tool of the server, which {has}: correct it, or take it out", shown(glob))
}

/// A condition with what was found of it.
struct Condition<'r> {
    effect: Effect,
    index: usize,
    asked: &'r ArgumentCondition,
    path: Vec<Step>,
    reach: Reach,
    found: Found,
}

/// What was found of a condition at the tools so far.
enum Found {
    Nothing,
    /// It may hold of some tool.
    Fits,
    /// It leads to nothing; what is said of it.
    Nowhere(String),
    /// It leads somewhere where it cannot hold; what is said of it.
    Unfit(String),
}

impl<'r> Condition<'r> {
    fn new(rule: &Rule, index: usize, asked: &'r ArgumentCondition) -> Option<Self> {
        let (path, reach) = (steps(&asked.path)?, Reach::new(asked)?);
        Some(Self { effect: rule.effect, index, asked, path, reach, found: Found::Nothing })
    }

    fn told(self) -> Option<String> {
        match self.found {
            Found::Nothing | Found::Fits => None,
            Found::Nowhere(message) | Found::Unfit(message) => Some(message),
        }
    }

    fn look(&mut self, tool: &ToolDefinition, schema: &Value) {
        if matches!(self.found, Found::Fits) {
            return;
        }
        let found = match schema::follow(schema, &self.path) {
            Place::Untold => Found::Fits,
            Place::Of(schema) => match unfit(&self.reach, &self.asked.path, schema) {
                None => Found::Fits,
                Some(Misfit { field, problem, remedy }) => Found::Unfit(format!(
                    "arguments[{}].{field}: {problem} that the tool {} declares for {}: {remedy}",
                    self.index,
                    shown(&tool.name),
                    shown(&self.asked.path)
                )),
            },
            Place::NoneOf(members) => {
                let (declares, remedy) = match names(members.into_iter()) {
                    None => ("declares none there".to_owned(), "take the condition out"),
                    Some(names) => (format!("declares {names} there"), "name one of these"),
                };
                Found::Nowhere(self.nowhere(tool, &declares, remedy))
            }
            Place::Within(kinds) => {
                let elements = kinds.contains(&ValueKind::Array);
                let remedy = if elements { "put `*` for its elements" } else { "end the path there" };
                Found::Nowhere(self.nowhere(tool, &format!("declares {} on the way", schema::names(&kinds)), remedy))
            }
        };
        // What is somewhere says more than what is not.
        self.found = match (std::mem::replace(&mut self.found, Found::Nothing), found) {
            (Found::Unfit(message), Found::Nowhere(_) | Found::Unfit(_)) => Found::Unfit(message),
            (Found::Nowhere(message), Found::Nowhere(_)) => Found::Nowhere(message),
            (_, found) => found,
        };
    }

    fn nowhere(&self, tool: &ToolDefinition, declares: &str, remedy: &str) -> String {
        let outcome = match (self.effect, self.asked.absent) {
            (_, Some(_)) => "",
            (Effect::Allow, None) => "; as it is, the rule permits none of its calls",
            (Effect::Deny, None) => "; as it is, the condition excuses none of its calls",
        };
        format!(
            "arguments[{}].path: {} is no argument of the tool {}, which {declares}: {remedy}{outcome}",
            self.index,
            shown(&self.asked.path),
            shown(&tool.name)
        )
    }
}

/// What is said of an operator that can hold of nothing that the schema lets in.
fn unfit(reach: &Reach, path: &str, schema: &Value) -> Option<Misfit> {
    if schema::is_composed(schema) {
        return None;
    }
    let (kinds, values) = (schema::kinds(schema), listed(schema));
    let Unfit { field, why } = reach.unfit(&Declared { kinds: kinds.as_deref(), values: values.as_deref() })?;
    let declared = kinds.as_deref().map_or_else(|| "value".to_owned(), schema::names);
    let count = values.as_ref().map_or(0, Vec::len);
    let problem = match why {
        Why::Holds(holds) => format!("holds of {} alone, never of the {declared}", schema::names(&holds)),
        Why::Compares(value) => format!("{} is never the {declared}", cut(&value)),
        Why::NotListed(value) => format!("{} is none of the {count} values", cut(&value)),
        Why::OfNoneListed => format!("holds of none of the {count} values"),
    };
    let remedy = match kinds.as_deref() {
        Some([ValueKind::Array]) => format!("{} leads to its elements", shown(&format!("{path}/*"))),
        _ => "ask for what can be there".to_owned(),
    };
    Some(Misfit { field, problem, remedy })
}

/// What is wrong with an operator, and what helps.
struct Misfit {
    field: &'static str,
    problem: String,
    remedy: String,
}

/// The values that a schema lists, if it lists them all.
fn listed(schema: &Value) -> Option<Vec<&Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(only), _) => Some(vec![only]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        (None, _) => None,
    }
}

/// The first names, each as it can be shown. None if there is none.
fn names<'n>(all: impl Iterator<Item = &'n str>) -> Option<String> {
    let all: Vec<&str> = all.collect();
    let first: Vec<String> = all.iter().take(MAX_NAMES).map(|name| shown(name)).collect();
    match all.len().checked_sub(MAX_NAMES) {
        _ if all.is_empty() => None,
        None | Some(0) => Some(first.join(", ")),
        Some(more) => Some(format!("{} and {more} more", first.join(", "))),
    }
}

/// A rule's own value, bounded.
fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_LETTERS)).unwrap_or_default()
}

/// A name in quotes, bounded, and without anything that could not be seen.
fn shown(name: &str) -> String {
    let first: String = name.chars().take(MAX_LETTERS).collect();
    let dots = if first.len() < name.len() { "…" } else { "" };
    if is_plain(&first) { format!("{first:?}{dots}") } else { format!("\"{}\"{dots}", first.escape_default()) }
}
