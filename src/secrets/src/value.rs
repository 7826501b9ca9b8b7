//! Values, which are wiped when they are dropped and cannot be shown.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// One value.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Zeroizing<Vec<u8>>);

impl Value {
    /// Takes it over, so that no copy is left.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// To hand it to whom it is for.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// The values of one secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Values {
    /// One text, which may be a JSON object.
    Text(Value),
    /// Named members.
    Members(BTreeMap<String, Value>),
}
