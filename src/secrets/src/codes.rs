//! Codes of values: equal for equal values, and of no use to who lacks the key. They tell a version where a store has no
//! word for one, and spare keeping values for a comparison.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use zeroize::Zeroizing;

use crate::value::Values;

/// What codes are made with, so that no other use of the same key gives the same bytes.
const USE: &[u8] = b"cardea/codes of secret values/1";
/// Hexadecimal digits of a code that is shown.
const SHOWN: usize = 16;

/// Makes codes. Those of two makers with the same key are the same.
pub struct Codes(hmac::Key);

/// A code of some values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code([u8; 32]);

impl Codes {
    /// Derives a key of its own from one that serves other purposes too.
    pub fn new(key: &[u8]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(HMAC_SHA256, key), USE);
        Self(hmac::Key::new(HMAC_SHA256, derived.as_ref()))
    }

    /// The code of named values. Their order counts.
    pub fn code<'a>(&self, values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Code {
        let mut context = hmac::Context::with_key(&self.0);
        for (name, value) in values {
            for part in [name.as_bytes(), value] {
                // With its length before it no part can pass for two.
                context.update(&(part.len() as u64).to_be_bytes());
                context.update(part);
            }
        }
        let mut code = [0; 32];
        for (byte, signed) in code.iter_mut().zip(context.sign().as_ref()) {
            *byte = *signed;
        }
        Code(code)
    }

    /// The code of all that was read.
    pub fn code_of(&self, values: &Values) -> Code {
        match values {
            Values::Text(text) => self.code([("", text.expose())]),
            Values::Members(members) => self.code(
                members.iter().map(|(name, value)| (name.as_str(), value.expose())).chain([("members", &[][..])]),
            ),
        }
    }
}

impl Code {
    /// As a version is shown: `hmac:` and the first 64 bits.
    pub fn shown(&self) -> String {
        let digits = Zeroizing::new(self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        format!("hmac:{}", digits.get(..SHOWN).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::value::Value;

    #[test]
    fn a_code_is_short_and_depends_on_the_key() {
        let of = |key: &[u8]| Codes::new(key).code([("token", &b"value"[..])]).shown();
        assert_eq!(of(b"a"), of(b"a"));
        assert_ne!(of(b"a"), of(b"b"));
        let digits = of(b"a").strip_prefix("hmac:").unwrap().to_owned();
        assert_eq!(digits.len(), 16);
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    proptest! {
        #[test]
        fn equal_codes_are_those_of_equal_values(
            one in proptest::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3),
            other in proptest::collection::btree_map("[ab]{0,2}", "[ab]{0,2}", 0..3),
        ) {
            let codes = Codes::new(b"key");
            let members = |from: &BTreeMap<String, String>| {
                Values::Members(from.iter().map(|(k, v)| (k.clone(), Value::new(v.clone().into_bytes()))).collect())
            };
            prop_assert_eq!(one == other, codes.code_of(&members(&one)) == codes.code_of(&members(&other)));
            let text = Values::Text(Value::new(one.values().next().cloned().unwrap_or_default().into_bytes()));
            prop_assert!(codes.code_of(&members(&one)) != codes.code_of(&text));
        }
    }
}
