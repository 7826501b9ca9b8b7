//! What a condition can hold of at all, by what is declared of the place it is about. Errs towards yes.
//!
//! Does not know who declares it.

use cardea_contract::{ArgumentCondition, ValueKind};
use serde_json::Value;

use super::Truth;
use super::operators::{self, Operator};

/// Most listed values that a condition is compared with.
const MAX_LISTED: usize = 1000;
const NUMBERS: [ValueKind; 2] = [ValueKind::Number, ValueKind::Integer];

/// What is declared of a place.
pub(crate) struct Declared<'d> {
    /// Kinds of values; none if all are.
    pub(crate) kinds: Option<&'d [ValueKind]>,
    /// All values there can be, if they are listed.
    pub(crate) values: Option<&'d [&'d Value]>,
}

/// Why a condition can hold of nothing there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The operator.
    pub(crate) field: &'static str,
    pub(crate) why: Why,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It holds of values of these kinds alone.
    Holds(Vec<ValueKind>),
    /// It compares with this value, which is of other kinds.
    Compares(String),
    /// This value is none of those that are listed.
    NotListed(String),
    /// It holds of none of those that are listed.
    OfNoneListed,
}

/// The operators of a condition.
pub(crate) struct Reach(Vec<Operator>);

impl Reach {
    /// None of a condition that makes no sense.
    pub(crate) fn new(asked: &ArgumentCondition) -> Option<Self> {
        operators::compile(asked).ok().map(Self)
    }

    /// The first operator that can hold of nothing there.
    pub(crate) fn unfit(&self, declared: &Declared<'_>) -> Option<Unfit> {
        let listed = declared.values.filter(|values| values.len() <= MAX_LISTED);
        self.0.iter().find_map(|operator| {
            let by_kind = declared.kinds.and_then(|kinds| operator.by_kind(kinds));
            let why = by_kind.or_else(|| listed.and_then(|listed| operator.by_value(listed)));
            why.map(|why| Unfit { field: operator.field(), why })
        })
    }
}

impl Operator {
    fn field(&self) -> &'static str {
        match self {
            Self::Equals(_) => "equals",
            Self::OneOf(_) => "in",
            Self::Prefix(_) => "prefix",
            Self::Suffix(_) => "suffix",
            Self::Glob(_) => "glob",
            Self::Regex(_) => "regex",
            Self::Min(_) => "min",
            Self::Max(_) => "max",
            Self::Cidr(_) => "cidr",
            Self::PathUnder(_) => "pathUnder",
            Self::Kind(_) => "type",
            Self::Size(_) => "size",
        }
    }

    fn by_kind(&self, declared: &[ValueKind]) -> Option<Why> {
        let holds = match self {
            Self::Equals(value) => return is_out(value, declared).then(|| Why::Compares(value.to_string())),
            Self::OneOf(values) => {
                let out = values.iter().find(|value| is_out(value, declared));
                return out.map(|value| Why::Compares(value.to_string()));
            }
            Self::Prefix(_) | Self::Suffix(_) | Self::Glob(_) | Self::Regex(_) | Self::Cidr(_) | Self::PathUnder(_) => {
                vec![ValueKind::String]
            }
            Self::Min(_) | Self::Max(_) | Self::Kind(ValueKind::Number) => NUMBERS.to_vec(),
            Self::Kind(kind) => vec![*kind],
            Self::Size(_) => vec![ValueKind::String, ValueKind::Array, ValueKind::Object],
        };
        (!meet(&holds, declared)).then_some(Why::Holds(holds))
    }

    fn by_value(&self, listed: &[&Value]) -> Option<Why> {
        let out = |value: &&Value| {
            let equals = Self::Equals((*value).clone());
            !listed.iter().any(|listed| equals.judge(listed) == Truth::Yes)
        };
        match self {
            Self::Equals(value) => out(&value).then(|| Why::NotListed(value.to_string())),
            Self::OneOf(values) => values.iter().find(out).map(|value| Why::NotListed(value.to_string())),
            operator => {
                let any = listed.iter().any(|value| operator.judge(value) == Truth::Yes);
                (!any).then_some(Why::OfNoneListed)
            }
        }
    }
}

/// Whether a value is of none of these kinds.
fn is_out(value: &Value, declared: &[ValueKind]) -> bool {
    let kinds = match value {
        Value::String(_) => vec![ValueKind::String],
        Value::Bool(_) => vec![ValueKind::Boolean],
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => NUMBERS.to_vec(),
        Value::Number(_) => vec![ValueKind::Number],
        Value::Null => vec![ValueKind::Null],
        Value::Array(_) => vec![ValueKind::Array],
        Value::Object(_) => vec![ValueKind::Object],
    };
    !meet(&kinds, declared)
}

/// Whether some value is of one of these kinds and of one of those. A number may be an integer.
fn meet(kinds: &[ValueKind], declared: &[ValueKind]) -> bool {
    let within = |kind: &ValueKind| {
        declared.contains(kind) || (*kind == ValueKind::Integer && declared.contains(&ValueKind::Number))
    };
    kinds.iter().any(within)
}
