//! OAuth scopes: what one may look like, and what is missing for an action that is several.
//!
//! Knows nothing of what a rule is about, nor how a challenge is written.

use std::sync::Arc;

use crate::DenialReason;

/// A scope token (RFC 6749 section 3.3). `offline_access` is none that a resource may ask for (MCP 2026-07-28, Refresh
/// Tokens).
pub(crate) fn is_scope(scope: &str) -> bool {
    let printable = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    (1..=128).contains(&scope.len()) && scope.bytes().all(printable) && scope != "offline_access"
}

/// What is missing for all parts of one action: a client that was told of one part after the other would have to log in
/// anew each time.
#[derive(Default)]
pub(crate) struct Missing(Option<(Arc<str>, Vec<String>)>);

impl Missing {
    /// Takes a judgement of one part. Missing scopes are kept for [`Self::end`], any other reason is final: who would be
    /// refused anyway is not told of scopes.
    pub(crate) fn part(&mut self, judged: Result<Arc<str>, DenialReason>) -> Result<Option<Arc<str>>, DenialReason> {
        let (rule, scopes) = match judged {
            Ok(rule) => return Ok(Some(rule)),
            Err(DenialReason::MissingScopes { rule, scopes }) => (rule, scopes),
            Err(reason) => return Err(reason),
        };
        let (_, all) = self.0.get_or_insert((rule, Vec::new()));
        for scope in scopes.iter() {
            if !all.contains(scope) {
                all.push(scope.clone());
            }
        }
        Ok(None)
    }

    /// What was missing, if anything was.
    pub(crate) fn end(self) -> Result<(), DenialReason> {
        match self.0 {
            None => Ok(()),
            Some((rule, scopes)) => Err(DenialReason::MissingScopes { rule, scopes: scopes.into() }),
        }
    }
}
