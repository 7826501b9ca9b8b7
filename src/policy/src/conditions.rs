//! What must hold of the arguments of a call. A condition holds, does not, or cannot be told: nothing is there, or something
//! of another type, or something that two programs could read in two ways. What cannot be told permits nothing and is
//! refused by a Deny (E26).
//!
//! Does not know whose rule it is part of.

mod operators;
mod reach;

use cardea_contract::{ArgumentCondition, Elements};
use serde_json::{Map, Value};

use self::operators::Operator;
pub(crate) use self::reach::{Declared, Reach, Unfit, Why};
use crate::pointer::{Step, steps};
use crate::text::look_alike;

/// Most values that one condition looks at. Where a path leads to more it cannot be told.
const MAX_VALUES: usize = 1000;

/// Most bytes of text that one condition compares with patterns.
const MAX_BYTES: usize = 64 << 10;

/// Whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Yes,
    No,
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Truth {
    /// Whether all hold: no, if one does not, whatever the others.
    pub(crate) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::Yes;
        for one in truths {
            match one {
                Self::No => return Self::No,
                Self::Unknown => all = Self::Unknown,
                Self::Yes => {}
            }
        }
        all
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }

    /// Whether any holds.
    pub(crate) fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        Self::all(truths.into_iter().map(Self::not)).not()
    }
}

/// Why a condition makes no sense: which of its fields, what is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}, as in {example}")]
pub struct ConditionError {
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong.
    pub problem: String,
    /// One that is right.
    pub example: &'static str,
}

/// A condition, compiled.
#[derive(Debug)]
pub(crate) struct Condition {
    path: Vec<Step>,
    elements: Elements,
    asks: Asks,
}

#[derive(Debug)]
enum Asks {
    /// That nothing is there.
    Absence,
    /// That something is there, and what of it: all of these.
    Presence(Vec<Operator>),
}

/// What is found at one end of a path.
#[derive(Clone, Copy)]
enum Found<'v> {
    Value(&'v Value),
    /// Nothing of this name.
    Absent,
    /// On the way there is something that has no members, or no elements.
    Mistyped,
}

impl Condition {
    pub(crate) fn compile(asked: &ArgumentCondition) -> Result<Self, ConditionError> {
        let path = steps(&asked.path).ok_or_else(|| ConditionError {
            field: "path",
            problem: format!("{:?} is no JSON pointer into the arguments", asked.path),
            example: "/labels/env or /files/*/path",
        })?;
        let operators = operators::compile(asked)?;
        let asks = match (asked.absent, operators.is_empty()) {
            (Some(true), true) => Asks::Absence,
            (Some(true), false) => {
                return Err(ConditionError {
                    field: "absent",
                    problem: "true goes with no other operator: of what is not there nothing else can be asked".into(),
                    example: "{path: /force, absent: true}",
                });
            }
            (None, true) => {
                return Err(ConditionError {
                    field: "path",
                    problem: "no operator says what must hold of it".into(),
                    example: "{path: /env, in: [staging, production]}",
                });
            }
            (Some(false) | None, _) => Asks::Presence(operators),
        };
        // Where `absent: false` stands beside nothing else, it is all that is asked.
        Ok(Self { path, elements: asked.elements, asks })
    }

    /// Whether it holds of these arguments; of none, if they are not known.
    pub(crate) fn judge(&self, arguments: Option<&Value>) -> Truth {
        let Some(arguments) = arguments else { return Truth::Unknown };
        let mut found = Vec::new();
        if !ends(&self.path, arguments, &mut found) || found.is_empty() {
            return Truth::Unknown;
        }
        let texts = found.iter().filter_map(|found| match found {
            Found::Value(Value::String(text)) => Some(text.len()),
            _ => None,
        });
        if self.asks.has_pattern() && texts.sum::<usize>() > MAX_BYTES {
            return Truth::Unknown;
        }
        let truths = found.into_iter().map(|found| self.asks.judge(found));
        match self.elements {
            Elements::Every => Truth::all(truths),
            Elements::Any => Truth::any(truths),
        }
    }
}

impl Asks {
    fn has_pattern(&self) -> bool {
        matches!(self, Self::Presence(operators) if operators.iter().any(Operator::is_pattern))
    }

    fn judge(&self, found: Found<'_>) -> Truth {
        match (self, found) {
            (_, Found::Mistyped) => Truth::Unknown,
            (Self::Absence, Found::Absent) => Truth::Yes,
            // Some programs take it for absent.
            (Self::Absence, Found::Value(Value::Null)) => Truth::Unknown,
            (Self::Absence, Found::Value(_)) => Truth::No,
            // Asked for presence alone, absence is an answer; of anything else it leaves nothing to tell by.
            (Self::Presence(operators), Found::Absent) if operators.is_empty() => Truth::No,
            (Self::Presence(_), Found::Absent) => Truth::Unknown,
            (Self::Presence(operators), Found::Value(Value::Null)) if operators.is_empty() => Truth::Unknown,
            (Self::Presence(operators), Found::Value(value)) => {
                Truth::all(operators.iter().map(|operator| operator.judge(value)))
            }
        }
    }
}

/// Gathers what the path leads to. False if that is too much.
fn ends<'v>(path: &[Step], value: &'v Value, found: &mut Vec<Found<'v>>) -> bool {
    let Some((step, rest)) = path.split_first() else {
        found.push(Found::Value(value));
        return found.len() <= MAX_VALUES;
    };
    let next = match (step, value) {
        (Step::Any, Value::Array(elements)) => {
            return elements.len() <= MAX_VALUES && elements.iter().all(|element| ends(rest, element, found));
        }
        (Step::Named(name), Value::Object(members)) if has_look_alike(members, name) => Err(Found::Mistyped),
        (Step::Named(name), Value::Object(members)) => members.get(&**name).ok_or(Found::Absent),
        (Step::Named(name), Value::Array(elements)) => match index(name) {
            Some(index) => elements.get(index).ok_or(Found::Absent),
            None => Err(Found::Mistyped),
        },
        _ => Err(Found::Mistyped),
    };
    match next {
        Ok(value) => ends(rest, value, found),
        Err(none) => {
            found.push(none);
            found.len() <= MAX_VALUES
        }
    }
}

/// Whether another member may be taken for the one of this name: many a server binds names without regard to case.
pub(crate) fn has_look_alike(members: &Map<String, Value>, name: &str) -> bool {
    members.keys().any(|other| other != name && look_alike(name, other))
}

/// An index as RFC 6901 section 4 writes it.
fn index(name: &str) -> Option<usize> {
    let plain = name == "0" || !name.starts_with('0');
    let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    if plain && digits { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
