//! Who is asked. Each has one rule for a team: its group may call its tool, with a path in its folder, a count of at most
//! 100, and no force.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use anyhow::Context as _;
use cardea_contract::Rule;
use cardea_policy::{Action, Evidence, Policy, Principal};
use cedar_policy::{Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request};
use serde_json::{Value, json};

/// The team that asks, by the number of rules: that of the last rule, so that whoever goes through all has all to go through.
pub(crate) fn team(rules: usize) -> usize {
    rules - 1
}

pub(crate) trait Engine {
    fn permits(&self, arguments: &Value) -> bool;
}

/// A way to write our rules.
pub(crate) trait Way {
    fn rule(team: usize) -> Value;
}

/// Typed conditions, tools by name.
pub(crate) struct Typed;
/// The same with a wildcard in each rule's tools.
pub(crate) struct Wild;
/// An expression.
pub(crate) struct When;

fn rule(team: usize, tool: String, further: Value) -> Value {
    let mut rule = json!({
        "name": format!("team-{team}"), "effect": "Allow", "principals": [{"group": {"name": format!("team-{team}")}}], "tools": [tool]
    });
    if let (Value::Object(rule), Value::Object(further)) = (&mut rule, further) {
        rule.extend(further);
    }
    rule
}

fn conditions(team: usize) -> Value {
    json!({"arguments": [
        {"path": "/path", "pathUnder": format!("/data/{team}")}, {"path": "/count", "max": 100}, {"path": "/options/force", "equals": false}
    ]})
}

impl Way for Typed {
    fn rule(team: usize) -> Value {
        rule(team, format!("tool-{team}"), conditions(team))
    }
}

impl Way for Wild {
    fn rule(team: usize) -> Value {
        rule(team, format!("tool-{team}*"), conditions(team))
    }
}

impl Way for When {
    fn rule(team: usize) -> Value {
        rule(team, format!("tool-{team}"), json!({ "when": expression(team) }))
    }
}

fn expression(team: usize) -> String {
    format!("args.path.startsWith('/data/{team}/') && args.count <= 100 && !args.options.force")
}

/// Our rules, written in one way.
pub(crate) struct Ours<W> {
    policy: Policy,
    caller: Principal,
    tool: String,
    way: PhantomData<W>,
}

impl<W: Way> Ours<W> {
    pub(crate) fn of(rules: usize) -> anyhow::Result<Self> {
        let team = team(rules);
        let rules = (0..rules).map(|team| serde_json::from_value(W::rule(team)));
        let rules: Vec<Rule> = rules.collect::<Result<_, _>>()?;
        let mut caller = Principal::named("alice".into(), u64::MAX, Evidence::Token { issuer: "corp".into() });
        caller.groups = vec!["everybody".into(), format!("team-{team}")];
        Ok(Self { policy: Policy::compile(&rules)?, caller, tool: format!("tool-{team}"), way: PhantomData })
    }
}

impl<W> Engine for Ours<W> {
    fn permits(&self, arguments: &Value) -> bool {
        self.policy.decide(&self.caller, Action::CallTool(&self.tool), arguments).is_ok()
    }
}

/// The `cel` crate by itself: groups and tool are part of the expression, and the input is put together for each call.
pub(crate) struct Cel {
    programs: BTreeMap<String, cel::Program>,
    team: usize,
    /// Whether only the program of the tool is asked.
    indexed: bool,
    env: std::sync::Arc<cel::Env>,
}

impl Cel {
    pub(crate) fn of(rules: usize, indexed: bool) -> anyhow::Result<Self> {
        let compile = |team: usize| {
            let source = format!("tool == 'tool-{team}' && 'team-{team}' in groups && {}", expression(team));
            let program = cel::Program::compile(&source).ok().context("no expression")?;
            Ok((format!("tool-{team}"), program))
        };
        let team = team(rules);
        let programs = (0..rules).map(compile).collect::<anyhow::Result<_>>()?;
        Ok(Self { programs, team, indexed, env: std::sync::Arc::new(cel::Env::stdlib()) })
    }
}

impl Engine for Cel {
    fn permits(&self, arguments: &Value) -> bool {
        let mut context = cel::Context::with_env(self.env.clone());
        let tool = format!("tool-{}", self.team);
        context.add_variable_from_value("args", value(arguments));
        context.add_variable_from_value("tool", tool.as_str());
        context.add_variable_from_value("groups", vec!["everybody".to_owned(), format!("team-{}", self.team)]);
        let yes = |program: &cel::Program| program.execute(&context) == Ok(cel::Value::Bool(true));
        if self.indexed { self.programs.get(&tool).is_some_and(yes) } else { self.programs.values().any(yes) }
    }
}

fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => {
            number.as_i64().map_or(cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int)
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(elements) => elements.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), value(member))).collect::<HashMap<_, _>>().into()
        }
    }
}

/// Cedar: the caller and its groups are entities that were read before, the arguments the context of each request.
pub(crate) struct Cedar {
    policies: PolicySet,
    entities: Entities,
    authorizer: Authorizer,
    action: EntityUid,
}

impl Cedar {
    pub(crate) fn of(rules: usize) -> anyhow::Result<Self> {
        let text: String = (0..rules)
            .map(|team| {
                format!(
                    "permit(principal in Group::\"team-{team}\", action == Action::\"tool-{team}\", resource) when {{ context.path like \"/data/{team}/*\" && context.count <= 100 && !context.options.force }};\n"
                )
            })
            .collect();
        let team = team(rules);
        let groups = ["everybody".to_owned(), format!("team-{team}")];
        let groups: Vec<Entity> =
            groups.iter().map(|name| Ok(Entity::with_uid(uid("Group", name)?))).collect::<anyhow::Result<_>>()?;
        let parents = groups.iter().map(Entity::uid).collect();
        let caller = Entity::new(uid("User", "alice")?, HashMap::new(), parents)?;
        let entities = Entities::from_entities(groups.into_iter().chain([caller]), None)?;
        Ok(Self {
            policies: text.parse()?,
            entities,
            authorizer: Authorizer::new(),
            action: uid("Action", &format!("tool-{team}"))?,
        })
    }
}

fn uid(kind: &str, name: &str) -> anyhow::Result<EntityUid> {
    Ok(format!("{kind}::\"{name}\"").parse()?)
}

impl Engine for Cedar {
    fn permits(&self, arguments: &Value) -> bool {
        let ask = || {
            let context = Context::from_json_value(arguments.clone(), None)?;
            Ok::<_, anyhow::Error>(Request::new(
                uid("User", "alice")?,
                self.action.clone(),
                uid("Server", "files")?,
                context,
                None,
            )?)
        };
        ask().is_ok_and(|request| {
            self.authorizer.is_authorized(&request, &self.policies, &self.entities).decision() == Decision::Allow
        })
    }
}
