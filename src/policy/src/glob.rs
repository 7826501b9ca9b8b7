//! Globs: `*` for any run of characters, `?` for one.

use wildmatch::WildMatch;

/// A glob, compiled.
#[derive(Debug)]
pub(crate) enum Glob {
    /// Without wildcards, as most are. A list of tools is compared with each of these for each of its tools.
    Name(Box<str>),
    Wild(WildMatch),
}

impl Glob {
    pub(crate) fn new(glob: &str) -> Self {
        if glob.contains(['*', '?']) { Self::Wild(WildMatch::new(glob)) } else { Self::Name(glob.into()) }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Name(name) => **name == *text,
            Self::Wild(glob) => glob.matches(text),
        }
    }
}
