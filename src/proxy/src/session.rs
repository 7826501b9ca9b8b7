//! Sessions of the legacy era, sealed to whom they were handed out: the id that a caller gets is a code over its verified
//! identity and the server's id, followed by the server's id. Every replica has the key, so none needs a store, and an id
//! is worth nothing to anybody else (rows 15 to 19, E16).
//!
//! A session proves nothing: who calls is asked on every request. Does not know what a session is used for.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cardea_policy::{Evidence, Principal};
use http::{HeaderMap, HeaderValue};

use crate::headers::{Era, LAST_EVENT_ID, SESSION_ID};
use crate::mcp::Asked;
use crate::refusal::Refusal;
use crate::response::Unfit;

/// What is sealed, so that nothing passes for the other.
const SESSION: &str = "cardea session 1";
const ENDPOINT: &str = "cardea endpoint 1";
const PARTITION: &str = "cardea partition 1";
/// Length of the code in front of an id: SHA-256 in base64.
const CODE: usize = 43;
/// Longest id of a server's.
const MAX_ID: usize = 512;

/// The key that sealed ids are made and known with. Shows nothing of itself.
pub(crate) struct Seal(hmac::Key);

impl Seal {
    /// With a key of at least 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        (key.len() >= 32).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The server's id of the session that a request names, if it names one. A stream is only taken up again within a
    /// session, since nothing else tells whose it was (E17). The modern era has neither (row 31).
    pub(crate) fn session_of(
        &self,
        headers: &HeaderMap,
        asked: &Asked<'_>,
        principal: &Principal,
    ) -> Result<Option<HeaderValue>, Refusal> {
        if asked.era == Era::Modern {
            return Ok(None);
        }
        let Some(sealed) = headers.get(SESSION_ID) else {
            return if headers.contains_key(LAST_EVENT_ID) { Err(Refusal::NoSession) } else { Ok(None) };
        };
        let id = sealed.to_str().ok().and_then(|sealed| self.open(principal, sealed)).ok_or(Refusal::NoSession)?;
        HeaderValue::try_from(id).map(Some).map_err(|_| Refusal::NoSession)
    }

    /// The session that an answer begins, as the caller gets it. One begins with `initialize` and nowhere else (row 15).
    pub(crate) fn session_from(
        &self,
        answer: &HeaderMap,
        asked: &Asked<'_>,
        principal: &Principal,
    ) -> Result<Option<HeaderValue>, Unfit> {
        let Some(id) = answer.get(SESSION_ID).filter(|_| asked.method == "initialize") else {
            return Ok(None);
        };
        let sealed = id.to_str().ok().and_then(|id| self.close(principal, id));
        let header = sealed.and_then(|sealed| HeaderValue::try_from(sealed).ok());
        header.map(Some).ok_or(Unfit("the server's session id is none"))
    }

    /// The endpoint for messages of a server of 2024-11-05 as it may stand in a query.
    pub(crate) fn close_endpoint(&self, principal: &Principal, endpoint: &str) -> String {
        let mut sealed = self.code(ENDPOINT, principal, endpoint);
        URL_SAFE_NO_PAD.encode_string(endpoint, &mut sealed);
        sealed
    }

    /// The server's endpoint, if this is what this caller got for it.
    pub(crate) fn open_endpoint(&self, principal: &Principal, sealed: &str) -> Option<String> {
        let (code, encoded) = sealed.split_at_checked(CODE)?;
        let endpoint = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()?;
        self.is_code(ENDPOINT, principal, &endpoint, code).then_some(endpoint)
    }

    /// A word for all that this caller asks, which says nothing of who it is.
    pub(crate) fn partition(&self, principal: &Principal) -> Option<HeaderValue> {
        HeaderValue::try_from(self.code(PARTITION, principal, "")).ok()
    }

    /// What the caller gets for a server's id; none if that is not one (visible ASCII, row 15).
    fn close(&self, principal: &Principal, id: &str) -> Option<String> {
        if !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut sealed = self.code(SESSION, principal, id);
        sealed.push_str(id);
        Some(sealed)
    }

    /// The server's id, if this is what this caller got for it.
    fn open<'a>(&self, principal: &Principal, sealed: &'a str) -> Option<&'a str> {
        let (code, id) = sealed.split_at_checked(CODE)?;
        self.is_code(SESSION, principal, id, code).then_some(id)
    }

    fn code(&self, purpose: &str, principal: &Principal, id: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &bound(purpose, principal, id)))
    }

    /// In constant time.
    fn is_code(&self, purpose: &str, principal: &Principal, id: &str, code: &str) -> bool {
        let code = URL_SAFE_NO_PAD.decode(code).unwrap_or_default();
        hmac::verify(&self.0, &bound(purpose, principal, id), &code).is_ok()
    }
}

/// What it is for, who it is for and what it is, each with its length, so that no two of them read alike. Two issuers, or a certificate
/// and a token, may know different callers by one name.
fn bound(purpose: &str, principal: &Principal, id: &str) -> Vec<u8> {
    let kind = match &principal.evidence {
        Evidence::Token { .. } => "token",
        Evidence::ServiceAccount { .. } => "service-account",
        Evidence::Certificate { .. } => "certificate",
        Evidence::Anonymous => "anonymous",
    };
    let parts = [purpose, kind, principal.issuer(), &principal.subject, id];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(issuer: &str, subject: &str) -> Principal {
        Principal::named(subject.into(), u64::MAX, Evidence::Token { issuer: issuer.into() })
    }

    #[test]
    fn an_id_opens_for_whom_it_was_sealed_and_nobody_else() {
        let seal = Seal::new(&[7; 32]).unwrap();
        let alice = token("corp", "alice");
        let sealed = seal.close(&alice, "a-1").unwrap();
        assert!(sealed.bytes().all(|byte| byte.is_ascii_graphic()) && sealed.ends_with("a-1"));
        assert_eq!(seal.open(&alice, &sealed), Some("a-1"));
        // Another token of hers: a wider one, a fresh one.
        let mut later = alice.clone();
        (later.expires_at, later.scopes) = (1, vec!["all".into()]);
        assert_eq!(seal.open(&later, &sealed), Some("a-1"));
        let certificate = Principal::named("alice".into(), 0, Evidence::Certificate { spiffe_id: None });
        for other in [token("corp", "bob"), token("partner", "alice"), token("corpa", "lice"), certificate] {
            assert_eq!(seal.open(&other, &sealed), None, "{other:?}");
        }
        let endpoint = seal.close_endpoint(&alice, "/m?a=1");
        assert_eq!(seal.open_endpoint(&alice, &endpoint).as_deref(), Some("/m?a=1"));
        assert_eq!(seal.open_endpoint(&token("corp", "bob"), &endpoint), None);
        assert_eq!(seal.open_endpoint(&alice, &seal.close(&alice, "YS0x").unwrap()), None);
        let other_key = Seal::new(&[8; 32]).unwrap();
        let altered = sealed.replace("a-1", "a-2");
        for (seal, text) in [
            (&other_key, sealed.as_str()),
            (&seal, &altered),
            (&seal, "a-1"),
            (&seal, ""),
            (&seal, &sealed[..CODE]),
            (&seal, &"\u{e9}".repeat(40)),
        ] {
            assert_eq!(seal.open(&alice, text), None, "{text}");
        }
    }

    #[test]
    fn a_key_and_an_id_are_what_they_should_be() {
        assert!(Seal::new(&[0; 31]).is_none());
        let seal = Seal::new(&[0; 32]).unwrap();
        let long = "a".repeat(MAX_ID + 1);
        for id in ["", "a b", "a\n", "\u{e9}", long.as_str()] {
            assert_eq!(seal.close(&token("corp", "alice"), id), None, "{id}");
        }
    }
}
