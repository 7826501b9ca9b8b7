//! What may not be written down: values by the name they stand under, by their place, by their shape. The defaults always
//! hold; a manifest only adds to them.
//!
//! Does not know what is written, nor where ([`Redaction::hides`] is asked on the way down, so it sees one place at a time).

use std::borrow::Cow;
use std::sync::LazyLock;

use cardea_contract::Redact;
use regex::{Regex, RegexBuilder};

use crate::pointer::{Step, steps};

/// What stands where something was cut out.
const CUT: &str = "[redacted]";
/// The same after what an expression keeps.
const KEPT_AND_CUT: &str = "${kept}[redacted]";
/// Words in a name that make its value a secret. Compared without case and separators, so `X-Api-Key` is `apikey`.
const KEYS: [&str; 13] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "cookie",
    "bearer",
    "signature",
];
/// Shapes of secrets in any text. ASCII classes: those of Unicode take a hundred times the room.
const SHAPES: &[&str] = &[
    // JWT and JWE: the encoded `{"`.
    r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)+",
    // GitHub, GitLab, Slack, npm, Hugging Face, Stripe, OpenAI and Anthropic, Google, Vault, DigitalOcean.
    r"gh[a-z]_[A-Za-z0-9]{10,}",
    r"github_pat_[A-Za-z0-9_]{10,}",
    r"gl[a-z]{2,4}-[A-Za-z0-9_-]{10,}",
    r"xox[a-z]-[A-Za-z0-9-]{6,}",
    r"xapp-[A-Za-z0-9-]{6,}",
    r"(?:npm|hf)_[A-Za-z0-9]{20,}",
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{8,}",
    r"sk-[A-Za-z0-9_-]{12,}",
    r"AIza[A-Za-z0-9_-]{20,}",
    r"ya29\.[A-Za-z0-9_-]+",
    r"hv[sbr]\.[A-Za-z0-9_-]{12,}",
    r"do[opr]_v1_[A-Za-z0-9]{12,}",
    // AWS key ids.
    r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{8,}",
    // Private keys, also cut short. A quotation mark ends what is quoted: logs are JSON, and stay so.
    r#"-----BEGIN [A-Z ]*PRIVATE KEY(?:[^"]*?-----END [A-Z ]*PRIVATE KEY[A-Z ]*-----|[^"]*)"#,
    // Credentials as a header, a URL, a query or a settings file has them. What is kept says what was there.
    r"(?i:(?:bearer|basic|dpop)[ \t:]+[A-Za-z0-9._~+/=-]{6,})",
    r#"//[^/ @:"]*:[^/ @"]+@"#,
    r#"(?i:(?P<kept>(?:token|secret|password|passwd|passphrase|api[_-]?key|access[_-]?key|authorization|signature)(?:\\?["'])? *[=:] *(?:\\?["'])?)(?:(?:bearer|basic|dpop) +)?[^& "',;\\]+)"#,
];
/// Memory that one expression may take when compiled.
const COMPILED_BYTES: usize = 256 << 10;

/// [`SHAPES`] as one expression, compiled when first asked for.
static DEFAULTS: LazyLock<Result<Regex, RedactionError>> = LazyLock::new(|| expression(&SHAPES.join("|")));

/// Compiled, asked often.
#[derive(Debug)]
pub struct Redaction {
    keys: Vec<String>,
    paths: Vec<Vec<Step>>,
    patterns: Vec<Regex>,
}

/// Why it cannot be compiled.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedactionError {
    /// A word without a letter or digit would be part of every name.
    #[error("keys: {0:?} has no letter or digit: name a part of the members to cut out")]
    Key(String),
    /// Not a pointer.
    #[error(
        "paths: {0:?} is no JSON pointer: begin it with '/', and write '~0' for '~', '~1' for '/' and '~2' for '*' in a name"
    )]
    Path(String),
    /// Not an expression, or one that takes too much room.
    #[error("patterns: {pattern:?} is no usable regular expression (syntax of the Rust crate regex): {problem}")]
    Pattern {
        /// As it was written.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Redaction {
    /// Compiles what is asked for, on top of the defaults.
    ///
    /// # Errors
    /// The first entry that makes no sense.
    pub fn compile(asked: &Redact) -> Result<Self, RedactionError> {
        let mut keys: Vec<String> = KEYS.map(str::to_owned).into();
        for key in &asked.keys {
            let folded = folded(key);
            if folded.is_empty() {
                return Err(RedactionError::Key(key.clone()));
            }
            keys.push(folded);
        }
        let pointer = |path: &String| steps(path).ok_or_else(|| RedactionError::Path(path.clone()));
        let paths = asked.paths.iter().map(pointer).collect::<Result<_, _>>()?;
        let further = asked.patterns.iter().map(|pattern| expression(pattern));
        let patterns = std::iter::once(DEFAULTS.clone()).chain(further).collect::<Result<_, _>>()?;
        Ok(Self { keys, paths, patterns })
    }

    /// Whether the value at this place (names and positions from the top) must not be shown.
    pub fn hides(&self, place: &[Cow<'_, str>]) -> bool {
        let by_name = place.last().is_some_and(|name| {
            let name = folded(name);
            self.keys.iter().any(|key| name.contains(key.as_str()))
        });
        by_name || self.paths.iter().any(|path| matches(path, place))
    }

    /// The text without what looks like a secret.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.patterns.iter().fold(Cow::Borrowed(text), |text, pattern| match text {
            Cow::Borrowed(text) => pattern.replace_all(text, KEPT_AND_CUT),
            Cow::Owned(text) => Cow::Owned(pattern.replace_all(&text, KEPT_AND_CUT).into_owned()),
        })
    }

    /// What stands in place of a hidden value.
    pub fn cut() -> &'static str {
        CUT
    }
}

fn folded(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn matches(path: &[Step], place: &[Cow<'_, str>]) -> bool {
    path.len() == place.len()
        && path.iter().zip(place).all(|(segment, name)| match segment {
            Step::Any => true,
            Step::Named(wanted) => **wanted == **name,
        })
}

fn expression(pattern: &str) -> Result<Regex, RedactionError> {
    let problem = |problem: &dyn std::fmt::Display| RedactionError::Pattern {
        pattern: pattern.to_owned(),
        problem: problem.to_string(),
    };
    let regex = RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(COMPILED_BYTES)
        .nest_limit(32)
        .build()
        .map_err(|error| problem(&error))?;
    if regex.is_match("") {
        return Err(problem(&"it matches the empty text, so it would cut everywhere"));
    }
    Ok(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(keys: &[&str], paths: &[&str], patterns: &[&str]) -> Result<Redaction, RedactionError> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Redaction::compile(&Redact { keys: owned(keys), paths: owned(paths), patterns: owned(patterns) })
    }

    fn hides(redaction: &Redaction, place: &[&str]) -> bool {
        redaction.hides(&place.iter().map(|name| Cow::Borrowed(*name)).collect::<Vec<_>>())
    }

    #[test]
    fn names_that_mean_secrets_however_they_are_spelt() {
        let redaction = compiled(&["Internal-Id"], &[], &[]).unwrap();
        for name in
            ["password", "DB_PASSWORD", "X-Api-Key", "apiKey", "api key", "accessToken", "client.secret", "internalID"]
        {
            assert!(hides(&redaction, &["a", name]), "{name}");
        }
        for name in ["name", "key", "passport", "id", ""] {
            assert!(!hides(&redaction, &["a", name]), "{name}");
        }
        assert!(!hides(&redaction, &[]));
    }

    #[test]
    fn places_with_any_member_and_any_element() {
        let redaction = compiled(&[], &["/users/*/ssn", "/a~1b/~0c", "/*"], &[]).unwrap();
        for (place, hidden) in [
            (&["users", "0", "ssn"][..], true),
            (&["users", "x", "ssn"], true),
            (&["users", "ssn"], false),
            (&["a/b", "~c"], true),
            (&["anything"], true),
            (&["users", "0"], false),
        ] {
            assert_eq!(hides(&redaction, place), hidden, "{place:?}");
        }
    }

    #[test]
    fn shapes_of_secrets_and_nothing_beside_them() {
        let redaction = compiled(&[], &[], &["acct-[0-9]{4}"]).unwrap();
        for (text, expected) in [
            ("take eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln now", "take [redacted] now"),
            ("ghp_0123456789abcdefghij", "[redacted]"),
            ("AKIAIOSFODNN7EXAMPLE!", "[redacted]!"),
            ("xoxb-12345678-abc", "[redacted]"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest", "[redacted]\nrest"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE", "[redacted]"),
            ("authorization: Bearer abcdef.ghi end", "authorization: [redacted] end"),
            ("BEARER abcdefghi", "[redacted]"),
            ("https://me:hunter2@host/x", "https:[redacted]host/x"),
            ("/mcp?access_token=abc&x=1", "/mcp?access_token=[redacted]&x=1"),
            ("password=\"abc\"", "password=\"[redacted]\""),
            (
                r#"{"m":"a \"token\": \"abc\"","authorization":"Bearer x"}"#,
                r#"{"m":"a \"token\": \"[redacted]\"","authorization":"[redacted]"}"#,
            ),
            ("acct-1234 acct-12", "[redacted] acct-12"),
            ("deploy the token service to ops", "deploy the token service to ops"),
            ("tools/call", "tools/call"),
            ("spiffe://cluster.local/ns/a/sa/b", "spiffe://cluster.local/ns/a/sa/b"),
            ("system:serviceaccount:agents:runner", "system:serviceaccount:agents:runner"),
            ("alice@example.com", "alice@example.com"),
        ] {
            assert_eq!(redaction.text(text), expected);
        }
    }

    #[test]
    fn what_cannot_be_compiled_is_named() {
        assert!(compiled(&["--"], &[], &[]).unwrap_err().to_string().contains("keys: \"--\""));
        for path in ["a/b", "", "/a~3", "/a~"] {
            assert_eq!(compiled(&[], &[path], &[]).unwrap_err(), RedactionError::Path(path.into()));
        }
        for pattern in ["(", "a*", r"\w{5000}{5000}", "(a)(?=b)"] {
            let problem = compiled(&[], &[], &[pattern]).unwrap_err().to_string();
            assert!(problem.starts_with(&format!("patterns: {pattern:?}")), "{problem}");
        }
    }
}
