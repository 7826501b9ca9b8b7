//! What can be asked of one value. Total: whatever comes, there is an answer, in time that grows no faster than the value.

use std::net::IpAddr;

use cardea_contract::{ArgumentCondition, Size, ValueKind};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};
use serde_json::{Number, Value};

use super::{ConditionError, Truth};
use crate::glob::Glob;
use crate::text::is_plain;

/// Longest text that is compared with a pattern or read as a path, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// Longest text in a rule, in bytes.
const MAX_OWN_TEXT: usize = 1024;
/// Longest glob and expression in a rule, in bytes.
const MAX_PATTERN: usize = 256;
/// Memory that one expression may take when compiled, and what it may remember when it is used.
const COMPILED_BYTES: usize = 64 << 10;
const REMEMBERED_BYTES: usize = 1 << 20;
/// Up to here every whole number has a floating-point number of its own (IEEE 754).
const EXACT: f64 = 9_007_199_254_740_992.0;
const EXACT_WHOLE: u128 = 9_007_199_254_740_991;

/// One operator with what it compares with.
#[derive(Debug)]
pub(super) enum Operator {
    Equals(Value),
    OneOf(Vec<Value>),
    Prefix(String),
    Suffix(String),
    Glob(Glob),
    Regex(Regex),
    Min(Quantity),
    Max(Quantity),
    Cidr(IpNet),
    PathUnder(Vec<String>),
    Kind(ValueKind),
    Size(Size),
}

/// A number whose value is certain.
#[derive(Clone, Copy, Debug)]
pub(super) enum Quantity {
    Whole(i128),
    Fraction(f64),
}

/// All operators of a condition but `absent`.
pub(super) fn compile(asked: &ArgumentCondition) -> Result<Vec<Operator>, ConditionError> {
    // Named one by one, so that a new one cannot be forgotten here.
    let ArgumentCondition {
        path: _,
        elements: _,
        absent: _,
        equals,
        one_of,
        prefix,
        suffix,
        glob,
        regex,
        min,
        max,
        cidr,
        path_under,
        kind,
        size,
    } = asked;
    let mut all = Vec::new();
    if let Some(value) = equals {
        all.push(Operator::Equals(scalar("equals", value, "equals: production")?));
    }
    if !one_of.is_empty() {
        let values = one_of.iter().map(|value| scalar("in", value, "in: [staging, production]"));
        all.push(Operator::OneOf(values.collect::<Result<_, _>>()?));
    }
    if let Some(text) = prefix {
        all.push(Operator::Prefix(own_text("prefix", text, "prefix: feature-")?));
    }
    if let Some(text) = suffix {
        all.push(Operator::Suffix(own_text("suffix", text, "suffix: .example.com")?));
    }
    if let Some(text) = glob {
        let glob = own_text("glob", text, "glob: team-a-*")?;
        if glob.len() > MAX_PATTERN {
            return Err(problem("glob", format!("must be 1 to {MAX_PATTERN} bytes"), "glob: team-a-*"));
        }
        all.push(Operator::Glob(Glob::new(&glob)));
    }
    if let Some(text) = regex {
        all.push(Operator::Regex(expression(text)?));
    }
    if let Some(number) = min {
        all.push(Operator::Min(own_quantity("min", number, "min: 1")?));
    }
    if let Some(number) = max {
        let most = own_quantity("max", number, "max: 100")?;
        if let Some(least) = min.as_ref().filter(|least| quantity(least).is_some_and(|least| least > most)) {
            return Err(problem(
                "max",
                format!("nothing is at least {least} and at most {number}"),
                "{min: 1, max: 100}",
            ));
        }
        all.push(Operator::Max(most));
    }
    if let Some(text) = cidr {
        all.push(Operator::Cidr(network(text)?));
    }
    if let Some(text) = path_under {
        all.push(Operator::PathUnder(folder(text)?));
    }
    if let Some(kind) = kind {
        all.push(Operator::Kind(*kind));
    }
    if let Some(size) = size {
        all.push(Operator::Size(bounds(*size)?));
    }
    Ok(all)
}

impl Operator {
    /// Whether it takes time with the length of a text.
    pub(super) fn is_pattern(&self) -> bool {
        matches!(self, Self::Glob(_) | Self::Regex(_))
    }

    pub(super) fn judge(&self, value: &Value) -> Truth {
        match self {
            Self::Equals(wanted) => equal(wanted, value),
            Self::OneOf(wanted) => one_of(wanted, value),
            Self::Prefix(prefix) => of_text(value, |text| text.starts_with(prefix)),
            Self::Suffix(suffix) => of_text(value, |text| text.ends_with(suffix)),
            Self::Glob(glob) => of_text(value, |text| glob.matches(text)),
            Self::Regex(regex) => of_text(value, |text| regex.is_match(text)),
            Self::Min(bound) => of_number(value, |number| number >= *bound),
            Self::Max(bound) => of_number(value, |number| number <= *bound),
            Self::Cidr(network) => match value.as_str().and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(address) if !leads_elsewhere(address) => network.contains(&address.to_canonical()).into(),
                Some(_) | None => Truth::Unknown,
            },
            Self::PathUnder(folder) => match value.as_str().and_then(segments) {
                Some(path) => folder.iter().map(String::as_str).eq(path.into_iter().take(folder.len())).into(),
                None => Truth::Unknown,
            },
            Self::Kind(kind) => is_of(value, *kind),
            Self::Size(size) => match value {
                Value::String(text) => within(*size, text.chars().count()),
                Value::Array(elements) => within(*size, elements.len()),
                Value::Object(members) => within(*size, members.len()),
                Value::Null | Value::Bool(_) | Value::Number(_) => Truth::Unknown,
            },
        }
    }
}

fn problem(field: &'static str, problem: impl Into<String>, example: &'static str) -> ConditionError {
    ConditionError { field, problem: problem.into(), example }
}

/// A text, number or truth value.
fn scalar(field: &'static str, value: &Value, example: &'static str) -> Result<Value, ConditionError> {
    match value {
        Value::String(text) => Ok(own_text(field, text, example)?.into()),
        Value::Number(number) => {
            own_quantity(field, number, if field == "in" { "in: [1, 2]" } else { "equals: 100" })?;
            Ok(value.clone())
        }
        Value::Bool(_) => Ok(value.clone()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(problem(field, "compares with a text, a number, true or false", example))
        }
    }
}

fn own_text(field: &'static str, text: &str, example: &'static str) -> Result<String, ConditionError> {
    if text.is_empty() || text.len() > MAX_OWN_TEXT {
        return Err(problem(field, format!("must be 1 to {MAX_OWN_TEXT} bytes"), example));
    }
    if !is_plain(text) {
        return Err(problem(
            field,
            format!("{text:?} has characters that can be written in another way, or not seen"),
            example,
        ));
    }
    Ok(text.to_owned())
}

fn own_quantity(field: &'static str, number: &Number, example: &'static str) -> Result<Quantity, ConditionError> {
    quantity(number).ok_or_else(|| problem(field, format!("{number} is too large to be compared exactly"), example))
}

/// An expression of a whole text.
fn expression(pattern: &str) -> Result<Regex, ConditionError> {
    const EXAMPLE: &str = "regex: '[a-z]+-[0-9]{1,4}'";
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern).size_limit(COMPILED_BYTES).dfa_size_limit(REMEMBERED_BYTES).nest_limit(32).build()
    };
    if pattern.is_empty() || pattern.len() > MAX_PATTERN {
        return Err(problem("regex", format!("must be 1 to {MAX_PATTERN} bytes"), EXAMPLE));
    }
    // Folding large classes takes seconds.
    if pattern.match_indices("(?").any(|(at, _)| !pattern.get(at + 2..).is_some_and(|rest| rest.starts_with(':'))) {
        return Err(problem(
            "regex",
            format!("{pattern:?} has flags or names in (?...): there is (?:...) alone"),
            EXAMPLE,
        ));
    }
    // By itself first: what is put around it must not mend it.
    compile(pattern).and_then(|_| compile(&format!(r"\A(?:{pattern})\z"))).map_err(|error| {
        let reason = error.to_string();
        let reason =
            reason.lines().last().unwrap_or_default().trim_start_matches("error: ").trim_end_matches('.').to_owned();
        problem("regex", format!("{pattern:?} is no expression of the Rust crate regex: {reason}"), EXAMPLE)
    })
}

fn network(text: &str) -> Result<IpNet, ConditionError> {
    const EXAMPLE: &str = "cidr: 10.0.0.0/8";
    let network: IpNet = text.parse().map_err(|_| problem("cidr", format!("{text:?} is no network"), EXAMPLE))?;
    if network.network() != network.addr() {
        let right = network.trunc();
        return Err(problem("cidr", format!("{text:?} has an address within the network {right}"), EXAMPLE));
    }
    if network.addr().to_canonical() != network.addr() {
        return Err(problem("cidr", format!("{text:?} is an IPv4 network written as IPv6"), EXAMPLE));
    }
    Ok(network)
}

fn folder(text: &str) -> Result<Vec<String>, ConditionError> {
    let segments = segments(text).filter(|_| text.len() <= MAX_OWN_TEXT);
    let segments = segments.ok_or_else(|| {
        problem(
            "pathUnder",
            format!("{text:?} is no absolute path without '..', '%' and '\\'"),
            "pathUnder: /data/team-a",
        )
    })?;
    Ok(segments.into_iter().map(str::to_owned).collect())
}

fn bounds(size: Size) -> Result<Size, ConditionError> {
    match size {
        Size { min: None, max: None } => Err(problem("size", "has neither min nor max", "size: {max: 40}")),
        Size { min: Some(min), max: Some(max) } if min > max => {
            Err(problem("size", format!("nothing is at least {min} and at most {max}"), "size: {min: 1, max: 40}"))
        }
        size => Ok(size),
    }
}

fn of_text(value: &Value, holds: impl FnOnce(&str) -> bool) -> Truth {
    match value {
        Value::String(text) if text.len() <= MAX_TEXT && is_plain(text) => holds(text).into(),
        _ => Truth::Unknown,
    }
}

fn of_number(value: &Value, holds: impl FnOnce(Quantity) -> bool) -> Truth {
    match value {
        Value::Number(number) => quantity(number).map_or(Truth::Unknown, |number| holds(number).into()),
        _ => Truth::Unknown,
    }
}

/// Of the same type alone can be told whether they are equal: many a program takes `"100"` for 100.
fn equal(wanted: &Value, value: &Value) -> Truth {
    match (wanted, value) {
        (Value::String(wanted), value) => of_text(value, |text| text == wanted),
        (Value::Bool(wanted), Value::Bool(value)) => (wanted == value).into(),
        (Value::Number(wanted), value) => match quantity(wanted) {
            Some(wanted) => of_number(value, |number| number == wanted),
            None => Truth::Unknown,
        },
        _ => Truth::Unknown,
    }
}

fn one_of(wanted: &[Value], value: &Value) -> Truth {
    Truth::any(wanted.iter().map(|wanted| equal(wanted, value)))
}

/// Addresses that stand for another one: unspecified, or IPv4 within IPv6 (RFC 6052, 3056 and 4291 section 2.5.5.1).
fn leads_elsewhere(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, ..] = address.segments();
            let loopback = address.is_loopback();
            a == 0x2002
                || [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0]
                || ([a, b, c, d, e, f] == [0; 6] && !loopback)
        }
    }
}

fn quantity(number: &Number) -> Option<Quantity> {
    if let Some(whole) = number.as_i128() {
        // Many a program has no numbers but floating-point ones.
        return (whole.unsigned_abs() <= EXACT_WHOLE).then_some(Quantity::Whole(whole));
    }
    let float = number.as_f64().filter(|float| float.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^127")]
    Some(if float.fract() == 0.0 { Quantity::Whole(float as i128) } else { Quantity::Fraction(float) })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other).is_some_and(std::cmp::Ordering::is_eq)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        // Fractions are far smaller than the first whole number that has no floating-point number of its own.
        #[expect(clippy::cast_precision_loss, reason = "compared with a fraction, which is below 2^53")]
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.partial_cmp(other),
            (Self::Whole(one), Self::Fraction(other)) => (*one as f64).partial_cmp(other),
            (Self::Fraction(one), Self::Whole(other)) => one.partial_cmp(&(*other as f64)),
            (Self::Fraction(one), Self::Fraction(other)) => one.partial_cmp(other),
        }
    }
}

fn is_of(value: &Value, kind: ValueKind) -> Truth {
    match (kind, value) {
        (ValueKind::Integer, Value::Number(number)) => match quantity(number) {
            Some(Quantity::Fraction(_)) => Truth::No,
            Some(Quantity::Whole(_)) if number.is_i64() || number.is_u64() => Truth::Yes,
            // `1.0` is an integer to JSON Schema and none to many a program.
            Some(Quantity::Whole(_)) | None => Truth::Unknown,
        },
        (ValueKind::String, Value::String(_))
        | (ValueKind::Number, Value::Number(_))
        | (ValueKind::Boolean, Value::Bool(_))
        | (ValueKind::Array, Value::Array(_))
        | (ValueKind::Object, Value::Object(_))
        | (ValueKind::Null, Value::Null) => Truth::Yes,
        _ => Truth::No,
    }
}

fn within(size: Size, count: usize) -> Truth {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    (size.min.is_none_or(|min| count >= min) && size.max.is_none_or(|max| count <= max)).into()
}

/// The names on an absolute path, none if it could lead elsewhere than it says: by `..`, by an escape that somebody
/// decodes, by another system's separator or host. Links are the server's business: nothing here can see them.
fn segments(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('/')?;
    let plain = path.len() <= MAX_TEXT && is_plain(path) && !path.contains(['\\', '%']) && !rest.starts_with('/');
    let names: Vec<&str> = rest.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    (plain && !names.iter().any(|name| name.starts_with(".."))).then_some(names)
}
