//! Static tokens: long random words that a file knows by their SHA-256 alone, for callers that no authorization server
//! knows. A token begins with `cardea_`, so that a scanner finds one that leaked and none is ever shown to an
//! authorization server.
//!
//! Does not know when to look at the file again ([`crate::reload`]).

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use cardea_policy::{Evidence, Principal};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Stop;
use super::claims::{MAX_VALUES, NO_END, is_name};
use crate::identity::unix_now;
use crate::reload::{Reload, Seen, read_bounded};

/// With what a static token begins.
const PREFIX: &str = "cardea_";
/// Letters that must follow: fewer could be guessed, given the digest.
const MIN_SECRET: usize = 32;
/// Name of the issuer in rules and audit lines.
pub(super) const ISSUER: &str = "static";
/// Largest file. A Secret holds 1 MiB at most.
const MAX_BYTES: u64 = 1 << 20;
/// Most tokens.
const MAX_TOKENS: usize = 1000;

/// Why a file of static tokens is not put in force. Nothing of the file is repeated here: somebody may have written the
/// token where its digest belongs.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the file of static tokens cannot be read")]
    Read(#[source] std::io::Error),
    #[error("the file of static tokens is not JSON of the documented form: see line {line}, column {column}")]
    Malformed { line: usize, column: usize },
    #[error("more than {MAX_TOKENS} static tokens")]
    TooMany,
    #[error("tokens[{index}].{field}: {problem}")]
    Entry { index: usize, field: &'static str, problem: &'static str },
}

/// The static tokens in force, and why the newest file is not, if it is not.
pub(crate) struct StaticTokens {
    path: PathBuf,
    table: ArcSwap<Vec<Entry>>,
    seen: Mutex<Seen>,
}

struct Entry {
    digest: [u8; 32],
    principal: Principal,
}

/// Whether a token is of this kind, known or not.
pub(super) fn is_one(token: &str) -> bool {
    token.starts_with(PREFIX)
}

impl StaticTokens {
    /// Those of a file. One that is no good lets nobody in, and is reported.
    pub(crate) fn load(path: PathBuf) -> Self {
        let tokens = Self { path, table: ArcSwap::default(), seen: Mutex::default() };
        tokens.reload();
        tokens
    }

    /// Why the newest file is not in force, if it is not.
    pub(crate) fn rejected(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).rejected()
    }

    /// Looks at the file again.
    pub(crate) fn reload(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.look(read_bounded(&self.path, MAX_BYTES).map_err(Unfit::Read), |bytes| {
            self.table.store(read(bytes)?.into());
            Ok(())
        })
    }

    /// Who bears this token.
    pub(super) fn principal(&self, token: &str) -> Result<Principal, Stop> {
        if token.len() < PREFIX.len() + MIN_SECRET {
            return Err(Stop::InvalidToken("token-too-short"));
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        // Every digest is compared to its end, so time tells nothing of how near a guess came.
        let mut found = None;
        let table = self.table.load();
        for entry in table.iter() {
            if verify_slices_are_equal(&entry.digest, &digest).is_ok() {
                found = Some(entry);
            }
        }
        let Entry { principal, .. } = found.ok_or(Stop::InvalidToken("token-unknown"))?;
        if principal.expires_at <= unix_now() {
            return Err(Stop::InvalidToken("token-expired"));
        }
        Ok(principal.clone())
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, Unfit> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        tokens: Vec<Written>,
    }
    let file: File = serde_json::from_slice(bytes)
        .map_err(|error| Unfit::Malformed { line: error.line(), column: error.column() })?;
    if file.tokens.len() > MAX_TOKENS {
        return Err(Unfit::TooMany);
    }
    let mut digests = HashSet::new();
    let entries = file.tokens.into_iter().enumerate().map(|(index, written)| {
        let entry = written.entry().map_err(|(field, problem)| Unfit::Entry { index, field, problem })?;
        if digests.insert(entry.digest) {
            Ok(entry)
        } else {
            Err(Unfit::Entry { index, field: "sha256", problem: "is that of another entry too" })
        }
    });
    entries.collect()
}

/// An entry as a person writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    subject: String,
    sha256: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, Vec<String>>,
    not_after: Option<String>,
}

impl Written {
    fn entry(self) -> Result<Entry, (&'static str, &'static str)> {
        let names = |list: &[String]| list.len() <= MAX_VALUES && list.iter().all(|name| is_name(name));
        if !is_name(&self.subject) {
            return Err(("subject", "must be 1 to 1024 characters without control characters"));
        }
        let digest = digest(&self.sha256).ok_or((
            "sha256",
            "must be the SHA-256 of the whole token in 64 hexadecimal digits: printf %s TOKEN | sha256sum",
        ))?;
        if !names(&self.groups) {
            return Err(("groups", "must be at most 1000 names without control characters"));
        }
        if !names(&self.scopes) || self.scopes.iter().any(|scope| scope.contains(' ')) {
            return Err(("scopes", "must be at most 1000 names without spaces and control characters"));
        }
        if !self.attributes.iter().all(|(name, values)| is_name(name) && names(values)) {
            return Err(("attributes", "must be lists of at most 1000 values without control characters"));
        }
        let expires_at = match &self.not_after {
            None => NO_END,
            Some(moment) => moment
                .parse::<jiff::Timestamp>()
                .ok()
                .and_then(|moment| u64::try_from(moment.as_second()).ok())
                .ok_or(("notAfter", "must be a moment such as 2027-01-31T00:00:00Z"))?,
        };
        let evidence = Evidence::Token { issuer: ISSUER.to_owned() };
        let (groups, scopes, attributes) = (self.groups, self.scopes, self.attributes);
        let principal = Principal { subject: self.subject, groups, scopes, attributes, expires_at, evidence };
        Ok(Entry { digest, principal })
    }
}

fn digest(hexadecimal: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = hexadecimal.as_bytes().chunks_exact(2);
    if hexadecimal.len() != 2 * digest.len() || !hexadecimal.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn refused(entries: &str) -> String {
        match read(format!("{{\"tokens\":[{entries}]}}").as_bytes()) {
            Ok(entries) => format!("{} entries", entries.len()),
            Err(unfit) => unfit.to_string(),
        }
    }

    #[test]
    fn each_mistake_is_named_and_nothing_is_repeated() {
        let good = format!(r#"{{"subject":"ci","sha256":"{DIGEST}"}}"#);
        assert_eq!(refused(&good), "1 entries");
        assert_eq!(refused(""), "0 entries");
        for (entries, expected) in [
            (format!("{good},{good}"), "tokens[1].sha256: is that of another"),
            (r#"{"subject":"ci","sha256":"cardea_verysecret"}"#.to_owned(), "tokens[0].sha256: must be the SHA-256"),
            (format!(r#"{{"subject":"ci","sha256":"{}"}}"#, "g".repeat(64)), "tokens[0].sha256"),
            (format!(r#"{{"subject":"","sha256":"{DIGEST}"}}"#), "tokens[0].subject"),
            (format!(r#"{{"subject":"a\nb","sha256":"{DIGEST}"}}"#), "tokens[0].subject"),
            (format!(r#"{{"subject":"ci","sha256":"{DIGEST}","groups":[""]}}"#), "tokens[0].groups"),
            (format!(r#"{{"subject":"ci","sha256":"{DIGEST}","scopes":["a b"]}}"#), "tokens[0].scopes"),
            (format!(r#"{{"subject":"ci","sha256":"{DIGEST}","attributes":{{"a":["\t"]}}}}"#), "tokens[0].attributes"),
            (format!(r#"{{"subject":"ci","sha256":"{DIGEST}","notAfter":"tomorrow"}}"#), "tokens[0].notAfter"),
            (
                format!(r#"{{"subject":"ci","sha256":"{DIGEST}","role":"verysecret"}}"#),
                "not JSON of the documented form",
            ),
            (r#"{"subject":"ci","sha256":7}"#.to_owned(), "line 1, column"),
        ] {
            let problem = refused(&entries);
            assert!(problem.contains(expected), "{entries}: {problem}");
            assert!(!problem.contains("verysecret"), "{problem}");
        }
        let many: Vec<_> =
            (0..=MAX_TOKENS).map(|number| format!(r#"{{"subject":"ci","sha256":"{number:064x}"}}"#)).collect();
        assert!(refused(&many.join(",")).contains("more than 1000"));
    }
}
