//! Tokens whose signature was verified a moment ago, so that the same one again costs a digest instead. They belong to one
//! set of keys of one issuer: where either changes there is another set, and nothing that stands here is believed any more.
//!
//! Does not know who a token is about; what else decides (the time, a certificate, an introspection) is asked each time.

use std::sync::Arc;

use moka::future::Cache;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::claims::{LEEWAY, end, seconds};

/// About how many bytes of claims are remembered for one set of keys.
const MAX_REMEMBERED: u64 = 2 << 20;
/// What a token costs beside its text.
const OVERHEAD: usize = 256;

/// Claims that a signature vouches for.
pub(super) type Claims = Map<String, Value>;

/// SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

#[derive(Clone)]
struct Remembered {
    claims: Arc<Claims>,
    /// Bytes of the token.
    size: usize,
}

/// What one set of keys has verified.
pub(super) struct Verified(Cache<TokenDigest, Remembered>);

impl Default for Verified {
    fn default() -> Self {
        // A tree of values is larger than its text.
        let weight = |_: &_, token: &Remembered| u32::try_from(OVERHEAD + token.size * 4).unwrap_or(u32::MAX);
        Self(Cache::builder().max_capacity(MAX_REMEMBERED).weigher(weight).build())
    }
}

impl Verified {
    /// The claims of a token that was verified before, if they hold at this time too.
    pub(super) async fn find(&self, digest: TokenDigest, now: u64) -> Option<Arc<Claims>> {
        self.0.get(&digest).await.map(|token| token.claims).filter(|claims| hold(claims, now))
    }

    pub(super) async fn remember(&self, digest: TokenDigest, token: &str, claims: &Arc<Claims>) {
        self.0.insert(digest, Remembered { claims: claims.clone(), size: token.len() }).await;
    }
}

/// As strict as the first check: what is doubtful is verified anew.
fn hold(claims: &Claims, now: u64) -> bool {
    end(claims).is_some_and(|end| now <= end + LEEWAY)
        && claims.get("nbf").is_none_or(|start| seconds(start).is_some_and(|start| start <= now + LEEWAY))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_token_is_remembered_until_it_ends() {
        let verified = Verified::default();
        let claims = |claims: Value| Arc::new(claims.as_object().unwrap().clone());
        let (digest, other) = (TokenDigest::of("one"), TokenDigest::of("other"));
        verified.remember(digest, "one", &claims(json!({"exp": 1000, "nbf": 500}))).await;
        for (now, expected) in [(469, false), (470, true), (1000, true), (1030, true), (1031, false)] {
            assert_eq!(verified.find(digest, now).await.is_some(), expected, "{now}");
        }
        assert!(verified.find(other, 1000).await.is_none());
        verified.remember(other, "other", &claims(json!({"sub": "without end"}))).await;
        assert!(verified.find(other, 1000).await.is_none());
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let verified = Verified::default();
        let claims = Arc::new(Claims::new());
        let large = "x".repeat(16 << 10);
        for number in 0..500 {
            verified.remember(TokenDigest::of(&number.to_string()), &large, &claims).await;
        }
        verified.0.run_pending_tasks().await;
        assert!(verified.0.weighted_size() <= MAX_REMEMBERED);
        assert!((1..100).contains(&verified.0.entry_count()), "{}", verified.0.entry_count());
    }
}
