//! `cardea explain`: who may use which tool, as a table, as JSON or as a page. Each cell is an answer of the rules that the
//! proxy decides by, asked with arguments that nobody knows.

mod page;

use std::collections::BTreeSet;

use cardea_contract::{Effect, PrincipalMatch, Rule};
use cardea_policy::{Action, Arguments, ButFor, Evidence, Look, Principal};
use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::rules::{self, Ruled};
use crate::shown::shown;
use crate::source::Source;

/// Flags of `cardea explain`.
#[derive(clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    cluster: Cluster,
    /// A tool to show. May be repeated. Default: those that the server was seen to have, which its status tells; of one that
    /// never ran, the rules' globs.
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,
    /// Moment that is asked about, as in 2026-12-01T18:00:00Z: rules may have an end. Default: now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
    Html,
}

/// Above the callers.
const HEAD: &str = "CALLER";

/// Whether a caller may use a tool, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum May {
    Never,
    /// With some arguments, or with further scopes.
    Sometimes,
    /// With any arguments.
    Always,
}

impl May {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Always => "yes",
            Self::Sometimes => "if",
            Self::Never => "-",
        }
    }
}

/// What rules are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tool,
    Prompt,
    Resource,
    Method,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::Method];

    /// What stands before a name; nothing before that of a tool.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tool => "",
            Self::Prompt => "prompt ",
            Self::Resource => "resource ",
            Self::Method => "method ",
        }
    }

    fn globs(self, rule: &Rule) -> &[String] {
        match self {
            Self::Tool => &rule.tools,
            Self::Prompt => &rule.prompts,
            Self::Resource => &rule.resources,
            Self::Method => &rule.methods,
        }
    }

    fn action(self, name: &str) -> Action<'_> {
        match self {
            Self::Tool => Action::CallTool(name),
            Self::Prompt => Action::GetPrompt(name),
            // As it is written: a glob is no URI that could be read.
            Self::Resource => Action::ReadTemplate(name),
            Self::Method => Action::Method(name),
        }
    }
}

/// Whether a caller may use something, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) may: May,
    /// What the rules ask for that are about the caller and the thing.
    pub(crate) grounds: BTreeSet<String>,
}

impl Cell {
    /// Of something that there is not.
    pub(crate) fn none() -> Self {
        Self { may: May::Never, grounds: BTreeSet::new() }
    }

    /// Of one caller and one name.
    pub(crate) fn of(ruled: &Ruled, kind: Kind, caller: &Principal, name: &str) -> Self {
        if kind == Kind::Tool && !rules::may_be_approved(&ruled.server, name) {
            return Self::none();
        }
        let explained = ruled.policy.explain(caller, kind.action(name), &Anything);
        let about = |look: &&Look| {
            let apart = |kept: &ButFor| match kept {
                ButFor::Principal | ButFor::Name => true,
                ButFor::Scopes(_) => !caller.has_scopes(),
                ButFor::Argument { .. } | ButFor::When { .. } => false,
            };
            !look.but_for.iter().any(apart)
        };
        // Rules of one effect are looked at in their order.
        let bearing = |effect: Effect, looks: &[Look]| -> Vec<&Rule> {
            let rules = ruled.server.rules.iter().filter(|rule| rule.effect == effect);
            looks.iter().zip(rules).filter(|(look, _)| about(look)).map(|(_, rule)| rule).collect()
        };
        let (allow, deny) = (bearing(Effect::Allow, &explained.allow), bearing(Effect::Deny, &explained.deny));
        let may = if explained.decision.is_ok() {
            May::Always
        } else if allow.is_empty() || deny.iter().any(|rule| rule.arguments.is_empty() && rule.when.is_none()) {
            May::Never
        } else {
            May::Sometimes
        };
        let ground = |rule: &&Rule| conditions(rule).unwrap_or_else(|| format!("{:?}", rule.effect));
        Self { may, grounds: allow.iter().chain(&deny).map(ground).collect() }
    }
}

/// Who may use what of one server.
pub(crate) struct Matrix {
    /// Its namespace and name.
    pub(crate) server: String,
    pub(crate) tools: Vec<String>,
    pub(crate) callers: Vec<(String, Vec<May>)>,
    /// Rules with conditions or scopes, as the manifest has them.
    pub(crate) conditions: Vec<(String, String)>,
}

/// Prints the matrix.
///
/// # Errors
/// When the manifest makes no sense.
#[expect(clippy::print_stdout, reason = "the one thing this command is for")]
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let manifests = flags.source.manifests(&flags.cluster)?;
    let ruled =
        rules::of(&manifests, manifests.server(flags.source.server())?, flags.at.unwrap_or_else(Timestamp::now))?;
    let tools = if flags.tool.is_empty() { names(&ruled, Kind::Tool) } else { flags.tool.clone() };
    let matrix = Matrix::of(&ruled, tools);
    match flags.output {
        Output::Table => print!("{}", matrix.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&matrix.document())?),
        Output::Html => print!("{}", page::of(&matrix)),
    }
    Ok(())
}

/// Tools that the server was seen to have, or what the rules are about.
pub(crate) fn names(ruled: &Ruled, kind: Kind) -> Vec<String> {
    let seen = ruled.manifest.status.iter().flat_map(|status| &status.tools).map(|tool| tool.name.clone());
    let mut names: Vec<String> = if kind == Kind::Tool { seen.collect() } else { Vec::new() };
    if names.is_empty() {
        names = ruled.server.rules.iter().flat_map(|rule| kind.globs(rule)).cloned().collect();
    }
    names.sort();
    names.dedup();
    names
}

/// Whom the rules name, each once, in their order: who has one value of a claim is another than who has the next.
pub(crate) fn callers(rules: &[Rule]) -> Vec<PrincipalMatch> {
    let each = |principal: &PrincipalMatch| match principal {
        PrincipalMatch::Attribute { name, values, issuer } => {
            let one = |value: &String| PrincipalMatch::Attribute {
                name: name.clone(),
                values: vec![value.clone()],
                issuer: issuer.clone(),
            };
            values.iter().map(one).collect()
        }
        other => vec![other.clone()],
    };
    let mut named: Vec<PrincipalMatch> = Vec::new();
    for principal in rules.iter().flat_map(|rule| &rule.principals).flat_map(each) {
        if !named.contains(&principal) {
            named.push(principal);
        }
    }
    named
}

/// Arguments that may be anything.
struct Anything;

impl Arguments for Anything {
    fn value(&self) -> Option<&Value> {
        None
    }
}

impl Matrix {
    /// What whoever is named may do with these tools.
    fn of(ruled: &Ruled, tools: Vec<String>) -> Self {
        let server = &ruled.server;
        let row = |principal: &PrincipalMatch| {
            let (label, caller) = caller(principal);
            (label, tools.iter().map(|tool| Cell::of(ruled, Kind::Tool, &caller, tool).may).collect())
        };
        let callers = callers(&server.rules).iter().map(row).collect();
        let name = format!("{}/{}", server.namespace, server.name);
        Self { server: name, tools, callers, conditions: all_conditions(ruled) }
    }

    fn table(&self) -> String {
        let tools: Vec<_> = self.tools.iter().map(|tool| shown(tool)).collect();
        let callers: Vec<_> = self.callers.iter().map(|(label, cells)| (shown(label), cells)).collect();
        let labels = callers.iter().map(|(label, _)| label.chars().count());
        let first = labels.max().unwrap_or(0).max(HEAD.len());
        let line = |label: &str, cells: &mut dyn Iterator<Item = &str>| {
            let mut line = format!("{label:first$}");
            for (tool, cell) in tools.iter().zip(cells) {
                let width = tool.chars().count().max(May::Always.word().len());
                line.push_str(&format!("  {cell:width$}"));
            }
            line.trim_end().to_owned() + "\n"
        };
        let mut text = line(HEAD, &mut tools.iter().map(String::as_str));
        for (label, cells) in &callers {
            text.push_str(&line(label, &mut cells.iter().map(|may| may.word())));
        }
        if !self.conditions.is_empty() {
            text.push_str("\nyes: with any arguments; if: as a rule says:\n");
        }
        for (rule, condition) in &self.conditions {
            text.push_str(&format!("  {}: {}\n", shown(rule), shown(condition)));
        }
        text
    }

    fn document(&self) -> Value {
        let word = |may: &May| match may {
            May::Always => "Always",
            May::Sometimes => "Sometimes",
            May::Never => "Never",
        };
        let callers: Vec<Value> = self
            .callers
            .iter()
            .map(|(label, cells)| {
                let tools: serde_json::Map<String, Value> =
                    self.tools.iter().cloned().zip(cells.iter().map(|may| json!(word(may)))).collect();
                json!({"caller": label, "tools": tools})
            })
            .collect();
        let conditions: serde_json::Map<String, Value> =
            self.conditions.iter().map(|(rule, condition)| (rule.clone(), json!(condition))).collect();
        json!({"server": self.server, "callers": callers, "conditions": conditions})
    }
}

/// What the rules ask for, by their names: those that ask for something.
pub(crate) fn all_conditions(ruled: &Ruled) -> Vec<(String, String)> {
    ruled.server.rules.iter().filter_map(|rule| Some((rule.name.clone(), conditions(rule)?))).collect()
}

/// What a rule asks for beside caller and name; nothing, if it asks for nothing.
fn conditions(rule: &Rule) -> Option<String> {
    let mut all: Vec<String> = rule.arguments.iter().map(|condition| json!(condition).to_string()).collect();
    all.extend(rule.when.clone());
    if !rule.scopes.is_empty() {
        let scopes = rule.scopes.iter().map(|scope| match rule.broader_scopes.get(scope) {
            Some(broader) => format!("{scope} (or {})", broader.join(", ")),
            None => scope.clone(),
        });
        all.push(format!("scopes {}", scopes.collect::<Vec<_>>().join(" ")));
    }
    if let Some(end) = rule.not_after.and_then(|end| Timestamp::from_second(end).ok()) {
        all.push(format!("before {end}"));
    }
    (!all.is_empty()).then(|| format!("{:?} {}", rule.effect, all.join(" and ")))
}

/// Somebody of whom nothing is known but this, and how the manifest calls it.
pub(crate) fn caller(principal: &PrincipalMatch) -> (String, Principal) {
    let token = |issuer: &Option<String>| Evidence::Token { issuer: issuer.clone().unwrap_or_default() };
    let of = |issuer: &Option<String>| issuer.as_ref().map_or(String::new(), |issuer| format!(" of {issuer}"));
    let named = |evidence| Principal::named(String::new(), u64::MAX, evidence);
    match principal {
        PrincipalMatch::AnyAuthenticated => ("anyAuthenticated".to_owned(), named(token(&None))),
        PrincipalMatch::Anonymous => ("anonymous".to_owned(), Principal::anonymous()),
        PrincipalMatch::Subject { name, issuer } => {
            (format!("subject {name}{}", of(issuer)), Principal::named(name.clone(), u64::MAX, token(issuer)))
        }
        PrincipalMatch::Group { name, issuer } => {
            let caller = Principal { groups: vec![name.clone()], ..named(token(issuer)) };
            (format!("group {name}{}", of(issuer)), caller)
        }
        PrincipalMatch::Attribute { name, values, issuer } => {
            let mut caller = named(token(issuer));
            caller.attributes.insert(name.clone(), values.first().cloned().into_iter().collect());
            (format!("claim {name}={}{}", values.join("|"), of(issuer)), caller)
        }
        PrincipalMatch::ServiceAccount { namespace, name } => {
            let evidence = Evidence::ServiceAccount { namespace: namespace.clone(), name: name.clone() };
            (format!("serviceAccount {namespace}/{name}"), named(evidence))
        }
        PrincipalMatch::SpiffeId(id) => (id.clone(), named(Evidence::Certificate { spiffe_id: Some(id.clone()) })),
    }
}
