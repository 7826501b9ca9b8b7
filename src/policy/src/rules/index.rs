//! Which rules may be about a name, found without looking at the others.

use std::collections::HashMap;

use crate::glob::Glob;

/// Globs of rules, by the rules' numbers.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those of globs without wildcards.
    named: HashMap<Box<str>, Vec<usize>>,
    wild: Vec<(Glob, usize)>,
}

impl Index {
    /// Rules are added in the order of their numbers.
    pub(super) fn add(&mut self, globs: Vec<Glob>, rule: usize) {
        for glob in globs {
            match glob {
                Glob::Name(name) => self.named.entry(name).or_default().push(rule),
                glob @ Glob::Wild(..) => self.wild.push((glob, rule)),
            }
        }
    }

    /// Rules with a glob of this name, in their order; one with several of them comes several times.
    pub(super) fn about<'i>(&'i self, name: &'i str) -> impl Iterator<Item = usize> + 'i {
        let named = self.named.get(name).map_or(&[][..], Vec::as_slice);
        let mut named = named.iter().copied().peekable();
        let wild = self.wild.iter().filter(move |(glob, _)| glob.matches(name)).map(|(_, rule)| *rule);
        let mut wild = wild.peekable();
        std::iter::from_fn(move || match (named.peek(), wild.peek()) {
            (Some(one), Some(other)) if other < one => wild.next(),
            (Some(_), _) => named.next(),
            (None, _) => wild.next(),
        })
    }
}
