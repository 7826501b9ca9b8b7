//! JSON in one form (RFC 8785), so that what says the same reads the same; and, since it is all looked at, what characters
//! there are in it.
//!
//! Does not know what the JSON is about.

use std::cell::Cell;
use std::fmt;

use cardea_contract::ToolFlag;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::text::is_invisible;

/// Most values that are read: a definition is words for a reader. Depth is bounded by `serde_json`, at 128.
const MAX_VALUES: usize = 20_000;

/// Writes values, and remembers what was seen in their texts.
#[derive(Default)]
pub(super) struct Canonical {
    values: Cell<usize>,
    controls: Cell<bool>,
    invisible: Cell<bool>,
}

impl Canonical {
    /// A value in its one form. None if it is not JSON, or one value too many.
    pub(super) fn value(&self, json: &str) -> Option<String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let written = self.deserialize(&mut deserializer).ok()?;
        deserializer.end().ok().map(|()| written)
    }

    /// Looks at a text.
    pub(super) fn look(&self, text: &str) {
        if text.contains(|letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')) {
            self.controls.set(true);
        }
        if has_invisible(text) {
            self.invisible.set(true);
        }
    }

    /// What was seen in all texts so far.
    pub(super) fn flags(&self) -> Vec<ToolFlag> {
        let seen = [(&self.invisible, ToolFlag::InvisibleText), (&self.controls, ToolFlag::ControlCharacters)];
        seen.into_iter().filter(|(seen, _)| seen.get()).map(|(_, flag)| flag).collect()
    }

    fn one<T, E: Error>(&self, value: T) -> Result<T, E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES { Err(E::custom("more values than are read")) } else { Ok(value) }
    }
}

/// An object of these members, their values written already.
pub(super) fn object(mut members: Vec<(String, String)>) -> String {
    // By UTF-16, as RFC 8785 section 3.2.3 says. Of one name they stay as they were.
    members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    let length = members.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>();
    let mut text = String::with_capacity(length + 2);
    for (name, value) in &members {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(&quoted(name));
        text.push(':');
        text.push_str(value);
    }
    if text.is_empty() {
        text.push('{');
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text holds what nobody sees, but for what writing needs: a joiner between letters beyond ASCII (Persian, Hindi,
/// emoji of several), and one selector of how the letter before it looks.
fn has_invisible(text: &str) -> bool {
    let mut before = None;
    text.chars().any(|letter| {
        let after = before.replace(letter);
        let needed = match letter {
            '\u{fe0e}' | '\u{fe0f}' => after.is_some_and(|after| !is_invisible(after) && !after.is_control()),
            '\u{200c}' | '\u{200d}' => {
                after.is_some_and(|after| !after.is_ascii() && (!is_invisible(after) || after == '\u{fe0f}'))
            }
            _ => false,
        };
        is_invisible(letter) && !needed
    })
}

/// A number as ECMAScript writes it (RFC 8785 section 3.2.2.3).
fn float(number: f64) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let written = format!("{:e}", number.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let digits = mantissa.replace('.', "");
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or_default().min(digits.len()));
    let plain = match point {
        1..=21 if count <= point => format!("{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, fraction) = split(point);
            format!("{whole}.{fraction}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = split(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{:+}", point - 1)
        }
    };
    if number < 0.0 { format!("-{plain}") } else { plain }
}

impl<'de> DeserializeSeed<'de> for &Canonical {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Canonical {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        self.look(text);
        self.one(quoted(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.one(value.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        self.one(number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        self.one(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        self.one(float(number))
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        self.one("null".to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<String, A::Error> {
        let mut all = String::from("[");
        while let Some(element) = elements.next_element_seed(self)? {
            if all.len() > 1 {
                all.push(',');
            }
            all.push_str(&element);
        }
        all.push(']');
        self.one(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<String, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            self.look(&name);
            all.push((name, members.next_value_seed(self)?));
        }
        self.one(object(all))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn written(json: &str) -> Option<String> {
        Canonical::default().value(json)
    }

    /// The example of RFC 8785 section 3.2.2, and its order of section 3.2.3.
    #[test]
    fn what_the_rfc_shows() {
        let input = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(written(input).as_deref(), Some(expected));
        let names = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let sorted = "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}";
        assert_eq!(written(names).as_deref(), Some(sorted));
    }

    #[test]
    fn numbers_as_everybody_writes_them() {
        for (number, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1.0", "1"),
            ("1e2", "100"),
            ("100", "100"),
            ("-1.5", "-1.5"),
            ("123456789012345680000", "123456789012345680000"),
            ("1e21", "1e+21"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740993", "9007199254740993"),
        ] {
            assert_eq!(written(number).as_deref(), Some(expected), "{number}");
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("a number", |number| number.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same, its members turned round and spread over lines.
    fn otherwise(value: &Value) -> String {
        match value {
            Value::Array(elements) => {
                format!("[ {}\n]", elements.iter().map(otherwise).collect::<Vec<_>>().join(" ,\t"))
            }
            Value::Object(members) => {
                let turned = members.iter().rev().map(|(name, value)| format!("{} :{}", json!(name), otherwise(value)));
                format!("{{\r\n{}}} ", turned.collect::<Vec<_>>().join(" , "))
            }
            value => value.to_string(),
        }
    }

    proptest! {
        #[test]
        fn what_says_the_same_reads_the_same(value in any_value()) {
            let form = written(&value.to_string()).unwrap();
            prop_assert_eq!(written(&otherwise(&value)), Some(form.clone()));
            prop_assert_eq!(written(&form), Some(form.clone()));
            // And nothing is lost of it: numbers apart, which have more than one way to be written.
            let back: Value = serde_json::from_str(&form).unwrap();
            prop_assert_eq!(plain(back), plain(value));
        }
    }

    /// With every number as it reads.
    fn plain(value: Value) -> Value {
        match value {
            Value::Number(number) => json!(number.as_f64()),
            Value::Array(elements) => elements.into_iter().map(plain).collect(),
            Value::Object(members) => members.into_iter().map(|(name, value)| (name, plain(value))).collect(),
            value => value,
        }
    }

    #[test]
    fn what_is_no_json_or_too_much_has_no_form() {
        let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for json in ["", "{", "1 2", "{\"a\":}", "\"\\ud800\"", &deep(200), &format!("[{}0]", "0,".repeat(MAX_VALUES))]
        {
            assert_eq!(written(json), None, "{}", &json[..json.len().min(20)]);
        }
        assert!(written(&deep(100)).is_some());
    }
}
