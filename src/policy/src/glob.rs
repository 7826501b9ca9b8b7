//! Globs: `*` for any run of characters, `?` for one.

use wildmatch::WildMatch;

/// A glob, compiled.
#[derive(Debug)]
pub(crate) enum Glob {
    /// Without wildcards, as most are.
    Name(Box<str>),
    /// What stands before the first wildcard tells most names apart, and the whole.
    Wild(Box<str>, WildMatch),
}

impl Glob {
    pub(crate) fn new(glob: &str) -> Self {
        match glob.split_once(['*', '?']) {
            Some((prefix, _)) => Self::Wild(prefix.into(), WildMatch::new(glob)),
            None => Self::Name(glob.into()),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Name(name) => **name == *text,
            Self::Wild(prefix, glob) => text.starts_with(&**prefix) && glob.matches(text),
        }
    }
}
