//! Token introspection (RFC 7662): what the authorization server says of a token, asked on every request unless the
//! manifest asks for a memory. Whatever is not a clear yes or no is neither: nobody is let in on it (row 54).
//!
//! Does not know which tokens are asked about ([`super::bearer`]), nor who a token is about ([`super::claims`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cardea_contract as contract;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use moka::future::Cache;
use reqwest::Url;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::claims::{LEEWAY, seconds};
use super::https::{Https, NoAnswer};
use super::jwks::{IssuerKeys, KeySourceError};
use super::{Means, Stop};
use crate::metrics::Outcome;

/// About how many bytes of answers are remembered.
const MAX_REMEMBERED: u64 = 8 << 20;
/// What an answer costs beside its text.
const OVERHEAD: usize = 256;
/// Longest client secret.
const MAX_SECRET: u64 = 4096;

/// The introspection of one issuer's tokens.
pub(super) struct Introspection {
    issuer: String,
    https: Https,
    /// None: the issuer's metadata says.
    endpoint: Option<Url>,
    client_id: String,
    secret_file: PathBuf,
    /// Answers by SHA-256 of the token.
    remembered: Option<Cache<[u8; 32], Answer>>,
    means: Means,
    misconfigured: AtomicBool,
}

/// What the authorization server says of a token.
#[derive(Clone)]
pub(super) enum Answer {
    /// It holds, and this is what is known of it.
    Active(Arc<Known>),
    /// It is worth nothing.
    Inactive,
}

/// Members of an answer (RFC 7662 section 2.2).
pub(super) struct Known {
    pub(super) claims: Map<String, Value>,
    /// Bytes of the answer that they were read from.
    size: usize,
}

/// Why nothing is known of a token.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("its metadata names no introspection endpoint: set introspection.url")]
    NoEndpoint,
    #[error("the client secret cannot be read")]
    Secret(#[source] std::io::Error),
    #[error("the client secret is empty or no text")]
    NoSecret,
    #[error("the introspection endpoint does not answer as it should")]
    NoAnswer(#[from] NoAnswer),
    #[error("the answer is not one of RFC 7662")]
    Malformed,
}

impl Unanswered {
    /// Whether another token would fare no better. What one token alone may bring about says nothing of the issuer, or
    /// anybody could make it look broken.
    fn is_of_every_token(&self) -> bool {
        match self {
            Self::NoEndpoint | Self::Secret(_) | Self::NoSecret => true,
            Self::NoAnswer(NoAnswer::Http(_)) => true,
            Self::NoAnswer(NoAnswer::Status(status)) => [401, 403, 404, 405].contains(status),
            Self::NoAnswer(NoAnswer::TooLarge) | Self::Malformed => false,
        }
    }
}

impl Introspection {
    pub(super) fn new(
        issuer: &contract::Issuer,
        asked: &contract::Introspection,
        https: &Https,
        means: &Means,
    ) -> Result<Self, KeySourceError> {
        let endpoint = asked.url.as_ref().map(|url| https.url(url).ok_or(KeySourceError::Url)).transpose()?;
        let remembered = asked.cache_seconds.map(|seconds| {
            Cache::builder()
                .time_to_live(Duration::from_secs(seconds.into()))
                .max_capacity(MAX_REMEMBERED)
                .weigher(|_, answer: &Answer| u32::try_from(OVERHEAD + answer.size()).unwrap_or(u32::MAX))
                .build()
        });
        Ok(Self {
            issuer: issuer.name.clone(),
            https: https.clone(),
            endpoint,
            client_id: asked.client_id.clone(),
            secret_file: means.credentials.join(contract::pod::INTROSPECTION_SECRET),
            remembered,
            means: means.clone(),
            misconfigured: AtomicBool::new(false),
        })
    }

    /// Whether no question can be answered, as far as the last one showed.
    pub(super) fn is_misconfigured(&self) -> bool {
        self.misconfigured.load(Ordering::Relaxed)
    }

    /// What the authorization server says of this token.
    pub(super) async fn answer(&self, token: &str, keys: &IssuerKeys) -> Result<Answer, Stop> {
        match &self.remembered {
            None => self.ask(token, keys).await,
            // Of those who come with the same token at once, one asks. No answer is not remembered.
            Some(remembered) => {
                let asking = self.ask(token, keys);
                remembered.try_get_with(Sha256::digest(token).into(), asking).await.map_err(|stop| *stop)
            }
        }
    }

    async fn ask(&self, token: &str, keys: &IssuerKeys) -> Result<Answer, Stop> {
        let outcome = self.put(token, keys).await;
        self.means.metrics.introspection(if outcome.is_ok() { Outcome::Ok } else { Outcome::Failed });
        let misconfigured = outcome.as_ref().is_err_and(Unanswered::is_of_every_token);
        let before = self.misconfigured.swap(misconfigured, Ordering::Relaxed);
        outcome.map_err(|error| {
            let error = crate::config::reason(&error);
            if misconfigured && !before {
                // Once, not with every request.
                tracing::error!(issuer = self.issuer, error, "tokens cannot be introspected");
            } else {
                tracing::debug!(issuer = self.issuer, error, "a token cannot be introspected");
            }
            Stop::Unavailable("introspection-unavailable")
        })
    }

    async fn put(&self, token: &str, keys: &IssuerKeys) -> Result<Answer, Unanswered> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => keys.introspection().await.ok_or(Unanswered::NoEndpoint)?,
        };
        let form = Serializer::new(String::new())
            .extend_pairs([("token", token), ("token_type_hint", "access_token")])
            .finish();
        let document = self.https.post(&endpoint, self.authorization()?, form).await?;
        read(&document).ok_or(Unanswered::Malformed)
    }

    /// RFC 6749 section 2.3.1. Read anew for each question, so that a rotated secret counts at once.
    fn authorization(&self) -> Result<HeaderValue, Unanswered> {
        let bytes =
            Zeroizing::new(crate::reload::read_bounded(&self.secret_file, MAX_SECRET).map_err(Unanswered::Secret)?);
        // Who writes a file often ends it with a line feed; no client secret ends with one.
        let secret = str::from_utf8(&bytes).map_err(|_| Unanswered::NoSecret)?.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Unanswered::NoSecret);
        }
        let mut pair = Zeroizing::new(String::new());
        pair.extend(byte_serialize(self.client_id.as_bytes()));
        pair.push(':');
        pair.extend(byte_serialize(secret.as_bytes()));
        let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&value).map_err(|_| Unanswered::NoSecret)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Answer {
    fn size(&self) -> usize {
        match self {
            // A tree of values is larger than its text.
            Self::Active(known) => known.size * 4,
            Self::Inactive => 0,
        }
    }
}

/// `active` is true or false; a string that says so is neither.
fn read(document: &[u8]) -> Option<Answer> {
    let claims: Map<String, Value> = serde_json::from_slice(document).ok()?;
    match claims.get("active")? {
        Value::Bool(true) => Some(Answer::Active(Arc::new(Known { claims, size: document.len() }))),
        Value::Bool(false) => Some(Answer::Inactive),
        _ => None,
    }
}

/// Whether an active token is an access token of this issuer, and holds now by its own account. Our clock is asked too,
/// since an answer may be remembered: no leeway beyond its end.
pub(super) fn agrees(claims: &Map<String, Value>, issuer: &contract::Issuer, now: u64) -> bool {
    let or_absent = |name: &str, holds: &dyn Fn(&Value) -> bool| claims.get(name).is_none_or(holds);
    let word = |value: &Value, words: &[&str]| {
        value.as_str().is_some_and(|text| words.iter().any(|word| word.eq_ignore_ascii_case(text)))
    };
    or_absent("iss", &|iss| *iss == issuer.url)
        && or_absent("exp", &|exp| seconds(exp).is_some_and(|exp| exp > now))
        && or_absent("nbf", &|nbf| seconds(nbf).is_some_and(|nbf| nbf <= now + LEEWAY))
        && or_absent("token_type", &|kind| word(kind, &["Bearer", "access_token"]))
        && or_absent("token_use", &|kind| word(kind, &["access", "access_token"]))
}

/// Whether `aud`, a string or a list of strings, names one of these.
pub(super) fn is_for(audience: &Value, audiences: &[String]) -> bool {
    let one = |value: &Value| value.as_str().is_some_and(|name| audiences.iter().any(|known| known == name));
    match audience {
        Value::Array(list) => list.iter().any(one),
        single => one(single),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_true_is_yes_and_only_false_is_no() {
        let said = |document: &str| match read(document.as_bytes()) {
            Some(Answer::Active(_)) => "yes",
            Some(Answer::Inactive) => "no",
            None => "nothing",
        };
        for (document, expected) in [
            (r#"{"active":true}"#, "yes"),
            (r#"{"active":false,"sub":"alice"}"#, "no"),
            (r#"{"active":"true"}"#, "nothing"),
            (r#"{"active":1}"#, "nothing"),
            (r#"{"active":null}"#, "nothing"),
            (r#"{"sub":"alice"}"#, "nothing"),
            (r#"[{"active":true}]"#, "nothing"),
            ("true", "nothing"),
            ("", "nothing"),
        ] {
            assert_eq!(said(document), expected, "{document}");
        }
    }

    #[test]
    fn an_audience_is_named_whole() {
        let ours = ["https://mcp.test/mcp".to_owned()];
        for (audience, expected) in [
            (json!("https://mcp.test/mcp"), true),
            (json!(["other", "https://mcp.test/mcp"]), true),
            (json!("https://mcp.test/mcp/"), false),
            (json!("https://mcp.test"), false),
            (json!(["other"]), false),
            (json!([]), false),
            (json!(null), false),
            (json!({"https://mcp.test/mcp": true}), false),
        ] {
            assert_eq!(is_for(&audience, &ours), expected, "{audience}");
        }
    }
}
