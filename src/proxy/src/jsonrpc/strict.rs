//! The pieces of strict reading: names that are there once and read one way, values that are read to their end, all of it
//! to a bounded depth.
//!
//! Does not know what a message is ([`crate::jsonrpc`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting.
pub(super) const MAX_DEPTH: usize = 64;

/// A member that should be a string.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Member {
    #[default]
    Absent,
    Text(String),
    OtherType,
}

impl Member {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::OtherType => None,
        }
    }
}

/// Names of one object, to see each once.
pub(super) struct Names<'de> {
    reserved: &'static [&'static str],
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Names<'de> {
    pub(super) fn new(reserved: &'static [&'static str]) -> Self {
        Self { reserved, few: Vec::new(), many: HashSet::new() }
    }

    /// The next name; refused if it was there before, or reads like a reserved one to a laxer parser.
    pub(super) fn next<A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
        let Some(name) = map.next_key_seed(Name)? else {
            return Ok(None);
        };
        if !self.reserved.is_empty() && !self.reserved.contains(&name.as_ref()) {
            let folded = fold(&name);
            // Reserved names are ASCII, so this folds them without making a new string of each.
            if self.reserved.iter().any(|reserved| reserved.eq_ignore_ascii_case(&folded)) {
                return Err(A::Error::custom("a name that folds to a reserved one"));
            }
        }
        let duplicate = if self.few.len() < 16 {
            let seen = self.few.contains(&name);
            self.few.push(name.clone());
            seen
        } else {
            self.few.contains(&name) || !self.many.insert(name.clone())
        };
        if duplicate { Err(A::Error::custom("a name that is there twice")) } else { Ok(Some(name)) }
    }
}

/// What a parser may make of a name that ignores case (`Method`, `paramſ`, `to\u{212A}en`) or what stands around it
/// (`name\0`).
fn fold(name: &str) -> String {
    let inner = name.trim_matches(|c: char| c.is_control() || c.is_whitespace() || c == '\u{feff}');
    inner.to_uppercase().to_lowercase()
}

/// A name, borrowed where no escape stands in it.
pub(crate) struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A string, kept; anything else, only read.
pub(super) struct Text {
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Member;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Member, E> {
        Ok(Member::OtherType)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Member, E> {
        Ok(Member::OtherType)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Member, E> {
        Ok(Member::OtherType)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Member, E> {
        Ok(Member::OtherType)
    }

    fn visit_unit<E: Error>(self) -> Result<Member, E> {
        Ok(Member::OtherType)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Member, A::Error> {
        Skip { depth: self.depth }.visit_seq(seq).map(|()| Member::OtherType)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
        Skip { depth: self.depth }.visit_map(map).map(|()| Member::OtherType)
    }
}

/// Any value: read to its end and checked, not kept. `depth` counts the objects and lists around it.
pub(super) struct Skip {
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Skip {
    fn inner<E: Error>(&self) -> Result<Self, E> {
        if self.depth < MAX_DEPTH { Ok(Self { depth: self.depth + 1 }) } else { Err(E::custom("nested too deep")) }
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.inner::<A::Error>()?;
        while seq.next_element_seed(self.inner()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.inner::<A::Error>()?;
        let mut names = Names::new(&[]);
        while names.next(&mut map)?.is_some() {
            map.next_value_seed(self.inner()?)?;
        }
        Ok(())
    }
}
