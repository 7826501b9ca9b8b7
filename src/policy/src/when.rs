//! Conditions in CEL, for what the typed ones cannot say. They are judged over `request`, `principal` and `args`, and what
//! they may do is bounded when they are compiled: few nodes, no loop within a loop, nothing that builds lists, no function
//! whose cost depends on more than the text it is given. An error, or an answer that is neither true nor false, cannot be
//! told.
//!
//! Does not know whose rule it is part of.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr, LiteralValue};
use cel::{Context, Env, Program};
use serde_json::Value;

use crate::conditions::{Truth, has_look_alike};
use crate::text::is_plain;
use crate::{Action, Arguments, Principal};

/// Longest expression, in bytes.
const MAX_SOURCE: usize = 1024;
/// Most nodes of an expression, those of its macros included.
const MAX_NODES: usize = 400;
/// Largest list, and longest text in bytes, among what an expression reads of the arguments.
const MAX_ELEMENTS: usize = 256;
const MAX_TEXT: usize = 8 << 10;
/// Most values, and most bytes of text, that it reads in all: each turn of a loop may copy them.
const MAX_VALUES: usize = 1000;
const MAX_BYTES: usize = 32 << 10;
/// Most brackets within each other, and most `?`: the parser goes down with each.
const MAX_DEPTH: usize = 10;
/// Below this every whole number has a floating-point number of its own (IEEE 754).
const EXACT: u64 = 1 << 53;
const EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// What an expression may name beside the variables of its own loops.
const VARIABLES: [&str; 3] = ["request", "principal", "args"];
/// Functions and operators that it may call. Of others some take long, some depend on the clock or the locale.
const FUNCTIONS: [&str; 30] = [
    "_?_:_",
    "_&&_",
    "_||_",
    "!_",
    "_-_",
    "_+_",
    "_*_",
    "_/_",
    "_%_",
    "_==_",
    "_!=_",
    "_>=_",
    "_<=_",
    "_>_",
    "_<_",
    "-_",
    "_[_]",
    "@in",
    "@not_strictly_false",
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "type",
    "dyn",
];

/// The language, once for all.
static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// Why an expression makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// No CEL.
    #[error("line {line}, column {column}: {problem}, as in args.sha.size() == 40")]
    Syntax {
        /// From 1.
        line: isize,
        /// From 1.
        column: isize,
        /// What is wrong there.
        problem: String,
    },
    /// Longer than may be, or of more parts.
    #[error(
        "is too long: at most {MAX_SOURCE} bytes, {MAX_NODES} parts and {MAX_DEPTH} brackets within each other; let arguments say what they can, as in arguments: [{{path: /env, in: [staging, test]}}]"
    )]
    TooLong,
    /// A variable that there is not.
    #[error(
        "{0:?} is none of request, principal and args, and no variable of a macro: an argument is a member of args, as in args.{0}"
    )]
    Variable(String),
    /// A function that may not be called.
    #[error(
        "{0:?} cannot be called here: there are size, contains, startsWith, endsWith, has, all, exists, exists_one and conversions; for expressions take regex under arguments, as in args.branch.startsWith('feature-')"
    )]
    Function(String),
    /// `map` and `filter` build lists, a loop within a loop takes as long as both together, and what is put together in each
    /// turn grows.
    #[error(
        "only all, exists and exists_one go over a list, not within each other, and without '+' and lists of their own in them, as in args.files.all(f, f.startsWith('/data/'))"
    )]
    Loop,
}

/// An expression, compiled.
#[derive(Debug)]
pub(crate) struct When {
    program: Program,
    /// What it reads of each variable. Nothing else is handed to it.
    args: Needs,
    request: Needs,
    principal: Needs,
}

/// What is read of a value.
#[derive(Debug)]
enum Needs {
    /// All of it.
    Whole,
    /// These members, if it has them.
    Members(BTreeMap<String, Needs>),
}

impl Default for Needs {
    fn default() -> Self {
        Self::Members(BTreeMap::new())
    }
}

impl Needs {
    fn nothing(&self) -> bool {
        matches!(self, Self::Members(members) if members.is_empty())
    }

    /// Needs what this path of members leads to.
    fn add(&mut self, path: &[&str]) {
        match (self, path.split_first()) {
            (Self::Whole, _) => {}
            (whole, None) => *whole = Self::Whole,
            (Self::Members(members), Some((name, rest))) => {
                members.entry((*name).to_owned()).or_default().add(rest);
            }
        }
    }
}

impl When {
    pub(crate) fn compile(source: &str) -> Result<Self, WhenError> {
        if source.len() > MAX_SOURCE || depth(source) > MAX_DEPTH {
            return Err(WhenError::TooLong);
        }
        let program = LANGUAGE.compile(source).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let problem = first.map_or_else(|| "no expression".to_owned(), |error| error.msg.clone());
            // The parser lists all that could have stood there.
            let problem = problem.split(" expecting ").next().unwrap_or_default().trim_start_matches("Syntax error: ");
            let problem = if problem.ends_with("'<EOF>'") { "it ends too early" } else { problem }.to_owned();
            WhenError::Syntax { line, column, problem }
        })?;
        let mut walk = Walk::default();
        walk.expression(program.expression(), &mut Vec::new())?;
        let [request, principal, args] = walk.needs;
        Ok(Self { program, args, request, principal })
    }

    pub(crate) fn judge(&self, facts: &Facts<'_>) -> Truth {
        let Some(context) = self.context(facts) else { return Truth::Unknown };
        match self.program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => holds.into(),
            Ok(_) | Err(_) => Truth::Unknown,
        }
    }

    /// The variables, as far as they are read; none if the arguments are not known, or what is read of them is too large.
    fn context(&self, facts: &Facts<'_>) -> Option<Context<'static, 'static>> {
        let mut context = Context::with_env(LANGUAGE.clone());
        context.add_variable_from_value("args", Reading::default().needed(facts.arguments()?, &self.args)?);
        if !self.request.nothing() {
            context.add_variable_from_value("request", request(facts.action));
        }
        if !self.principal.nothing() {
            context.add_variable_from_value("principal", principal(facts.principal));
        }
        Some(context)
    }
}

/// On the way through an expression.
#[derive(Default)]
struct Walk {
    nodes: usize,
    in_loop: bool,
    /// In the order of [`VARIABLES`].
    needs: [Needs; VARIABLES.len()],
}

impl Walk {
    /// `own` are the variables of the loops around.
    fn expression<'e>(&mut self, node: &'e IdedExpr, own: &mut Vec<&'e str>) -> Result<(), WhenError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(WhenError::TooLong);
        }
        match &node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => Err(WhenError::Function("bytes".into())),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name, &[], own),
            Expr::Select(select) => match members(node) {
                Some((name, path)) => {
                    self.nodes += path.len();
                    self.variable(name, &path, own)
                }
                None => self.expression(&select.operand, own),
            },
            Expr::List(list) if self.in_loop && !list.elements.iter().all(is_literal) => Err(WhenError::Loop),
            Expr::List(list) if list.optional_indices.is_empty() => self.all(&list.elements, own),
            // `exists_one` counts so.
            Expr::Call(call) if self.in_loop && call.func_name == "_+_" && !call.args.iter().any(is_literal) => {
                Err(WhenError::Loop)
            }
            Expr::Call(call) if FUNCTIONS.contains(&call.func_name.as_str()) => {
                if let Some(target) = &call.target {
                    self.expression(target, own)?;
                }
                self.all(&call.args, own)
            }
            Expr::Call(call) => Err(WhenError::Function(call.func_name.clone())),
            Expr::Comprehension(turns) => {
                let builds_nothing = matches!(turns.accu_init.expr, Expr::Literal(_));
                if std::mem::replace(&mut self.in_loop, true) || !builds_nothing || turns.iter_var2.is_some() {
                    return Err(WhenError::Loop);
                }
                self.expression(&turns.iter_range, own)?;
                own.extend([turns.iter_var.as_str(), turns.accu_var.as_str()]);
                self.expression(&turns.loop_cond, own)?;
                self.expression(&turns.loop_step, own)?;
                self.expression(&turns.result, own)?;
                own.truncate(own.len() - 2);
                self.in_loop = false;
                Ok(())
            }
            Expr::Map(_) | Expr::Struct(_) | Expr::List(_) | Expr::Unspecified => {
                Err(WhenError::Function("{} or optional values".into()))
            }
        }
    }

    fn variable(&mut self, name: &str, path: &[&str], own: &[&str]) -> Result<(), WhenError> {
        if own.contains(&name) {
            return Ok(());
        }
        let known = VARIABLES.iter().position(|variable| *variable == name);
        let needs = known.and_then(|known| self.needs.get_mut(known));
        needs.ok_or_else(|| WhenError::Variable(name.to_owned()))?.add(path);
        Ok(())
    }

    fn all<'e>(&mut self, nodes: &'e [IdedExpr], own: &mut Vec<&'e str>) -> Result<(), WhenError> {
        nodes.iter().try_for_each(|node| self.expression(node, own))
    }
}

fn is_literal(node: &IdedExpr) -> bool {
    matches!(node.expr, Expr::Literal(_))
}

/// Brackets within each other, at most, or conditional operators.
fn depth(source: &str) -> usize {
    let (mut depth, mut most) = (0_usize, source.matches('?').count());
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// The variable and the members in `variable.member.member`, if it is that.
fn members(node: &IdedExpr) -> Option<(&str, Vec<&str>)> {
    match &node.expr {
        Expr::Ident(name) => Some((name, Vec::new())),
        Expr::Select(select) => {
            let (name, mut path) = members(&select.operand)?;
            path.push(&select.field);
            Some((name, path))
        }
        _ => None,
    }
}

/// What conditions are judged by.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'f> {
    principal: &'f Principal,
    action: Action<'f>,
    arguments: &'f dyn Arguments,
}

impl<'f> Facts<'f> {
    pub(crate) fn new(principal: &'f Principal, action: Action<'f>, arguments: &'f dyn Arguments) -> Self {
        Self { principal, action, arguments }
    }

    /// The same caller and arguments, asked about a part of the action.
    pub(crate) fn of_part(&self, action: Action<'f>) -> Self {
        Self { action, ..*self }
    }

    pub(crate) fn arguments(&self) -> Option<&Value> {
        self.arguments.value()
    }
}

/// What was handed over so far.
#[derive(Default)]
struct Reading {
    values: usize,
    bytes: usize,
}

impl Reading {
    /// What is read of a value; none if that is too large, or can be read in two ways.
    fn needed(&mut self, json: &Value, needs: &Needs) -> Option<cel::Value> {
        match (needs, json) {
            (Needs::Members(needs), Value::Object(members)) => {
                let mut read = HashMap::new();
                for (name, needs) in needs {
                    if has_look_alike(members, name) {
                        return None;
                    }
                    if let Some(member) = members.get(name) {
                        read.insert(name.clone(), self.needed(member, needs)?);
                    }
                }
                Some(read.into())
            }
            // Of what has no members none is read; that it has none is an error that the expression meets.
            (Needs::Members(_), Value::Array(_)) => Some(Vec::<cel::Value>::new().into()),
            (Needs::Whole, json) | (Needs::Members(_), json) => self.value(json),
        }
    }

    fn value(&mut self, json: &Value) -> Option<cel::Value> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return None;
        }
        Some(match json {
            Value::Null => cel::Value::Null,
            Value::Bool(value) => cel::Value::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(number), ..) if number.unsigned_abs() < EXACT => cel::Value::Int(number),
                (None, None, Some(number)) if number.abs() < EXACT_FLOAT => cel::Value::Float(number),
                _ => return None,
            },
            Value::String(text) => self.text(text)?.into(),
            Value::Array(elements) if elements.len() <= MAX_ELEMENTS => {
                elements.iter().map(|element| self.value(element)).collect::<Option<Vec<_>>>()?.into()
            }
            Value::Object(members) if members.len() <= MAX_ELEMENTS => {
                let members =
                    members.iter().map(|(name, member)| Some((self.text(name)?.to_owned(), self.value(member)?)));
                members.collect::<Option<HashMap<_, _>>>()?.into()
            }
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn text<'t>(&mut self, text: &'t str) -> Option<&'t str> {
        self.bytes += text.len();
        (text.len() <= MAX_TEXT && self.bytes <= MAX_BYTES && is_plain(text)).then_some(text)
    }
}

/// `request`: what is asked for, by the kind that it is of.
fn request(action: Action<'_>) -> cel::Value {
    let (kind, name) = match action {
        Action::CallTool(name) => ("tool", name),
        Action::GetPrompt(name) => ("prompt", name),
        Action::ReadResource(uri) | Action::ReadTemplate(uri) => ("resource", uri),
        Action::Method(method) | Action::Unknown(method) => ("method", method),
        Action::Listen { .. } | Action::Session | Action::List(_) => {
            return cel::Value::Map(HashMap::<String, String>::new().into());
        }
    };
    HashMap::from([(kind, name)]).into()
}

/// `principal`: `subject`, `issuer`, `groups`, `scopes`, and `attributes` with lists of values.
fn principal(principal: &Principal) -> cel::Value {
    let texts = |all: &[String]| all.iter().map(|text| cel::Value::from(text.as_str())).collect::<Vec<_>>();
    let attributes: HashMap<_, _> =
        principal.attributes.iter().map(|(name, values)| (name.clone(), cel::Value::from(texts(values)))).collect();
    HashMap::from([
        ("subject", cel::Value::from(principal.subject.as_str())),
        ("issuer", principal.issuer().into()),
        ("groups", texts(&principal.groups).into()),
        ("scopes", texts(&principal.scopes).into()),
        ("attributes", attributes.into()),
    ])
    .into()
}

#[cfg(test)]
mod tests;
