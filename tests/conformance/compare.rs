//! Checks of two runs, side by side. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// Where a check stands: scenario, id, name.
pub(crate) type Key = (String, String, String);

/// Statuses of every check, sorted: a check may come several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks(BTreeMap<Key, Vec<String>>);

impl Checks {
    pub(crate) fn add(&mut self, key: Key, status: String) {
        let statuses = self.0.entry(key).or_default();
        let place = statuses.partition_point(|other| *other <= status);
        statuses.insert(place, status);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Those that have failed.
    pub(crate) fn failed(&self) -> Vec<String> {
        let failed = self.0.iter().filter(|(_, statuses)| statuses.iter().any(|status| status == "FAILURE"));
        failed.map(|((scenario, id, name), _)| format!("{scenario} / {id} / {name}")).collect()
    }

    /// Those of some scenarios.
    pub(crate) fn of(&self, scenarios: &[&str]) -> Self {
        let wanted = self.0.iter().filter(|((scenario, ..), _)| scenarios.contains(&scenario.as_str()));
        Self(wanted.map(|(key, statuses)| (key.clone(), statuses.clone())).collect())
    }

    /// Those of all scenarios but some.
    pub(crate) fn without(mut self, scenarios: &[&str]) -> Self {
        self.0.retain(|(scenario, ..), _| !scenarios.contains(&scenario.as_str()));
        self
    }
}

/// A check that came out otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    key: Key,
    direct: Vec<String>,
    through: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scenario, id, name) = &self.key;
        let said = |statuses: &[String]| if statuses.is_empty() { "nothing".to_owned() } else { statuses.join(", ") };
        write!(out, "{scenario} / {id} / {name}: {} directly, {} through", said(&self.direct), said(&self.through))
    }
}

/// How many checks are equal, and those that are not. A check that one run has and the other lacks is different.
pub(crate) fn compare(direct: &Checks, through: &Checks) -> (usize, Vec<Difference>) {
    let mut equal = 0;
    let mut different = Vec::new();
    let further = through.0.keys().filter(|key| !direct.0.contains_key(*key));
    for key in direct.0.keys().chain(further) {
        let of = |checks: &Checks| checks.0.get(key).cloned().unwrap_or_default();
        let (direct, through) = (of(direct), of(through));
        if direct == through {
            equal += 1;
        } else {
            different.push(Difference { key: key.clone(), direct, through });
        }
    }
    (equal, different)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(all: &[(&str, &str)]) -> Checks {
        let mut checks = Checks::default();
        for (scenario, status) in all {
            checks.add(((*scenario).into(), "id".into(), "name".into()), (*status).into());
        }
        checks
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let direct = checks(&[("a", "INFO"), ("a", "SUCCESS"), ("b", "SKIPPED")]);
        assert_eq!(compare(&direct, &checks(&[("b", "SKIPPED"), ("a", "SUCCESS"), ("a", "INFO")])), (2, vec![]));
        for (other, equal) in [
            (checks(&[("a", "INFO"), ("a", "WARNING"), ("b", "SKIPPED")]), 1),
            (checks(&[("a", "SUCCESS"), ("b", "SKIPPED")]), 1),
            (checks(&[("a", "INFO"), ("a", "SUCCESS")]), 1),
            (checks(&[("a", "INFO"), ("a", "SUCCESS"), ("b", "SKIPPED"), ("c", "INFO")]), 2),
        ] {
            let (same, different) = compare(&direct, &other);
            assert_eq!((same, different.len()), (equal, 1), "{other:?}");
        }
    }
}
