//! One token for everything that is asked of a Vault: taken by a login with the pod's identity, renewed before it ends, or
//! where that no longer helps taken anew. However many ask, one of them logs in and the others wait for what becomes of it.
//!
//! Does not know what the token is used for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::way::Way;
use super::wire::{Auth, LoginAnswer, LoginRequest, body, of_logins};
use crate::answer::Question;
use crate::identity::Identity;
use crate::path;
use crate::store::StoreError;

/// How long a token that could not be renewed is used before that is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Logs in, and remembers.
pub(super) struct Session {
    mount: String,
    role: String,
    identity: Identity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// When there last was none to be had, and why.
    failed: Option<(Instant, StoreError)>,
}

/// A token of Vault's.
#[derive(Clone)]
pub(super) struct Token {
    /// As it is sent.
    pub(super) header: HeaderValue,
    renewable: bool,
    /// None: it lasts for ever.
    life: Option<Life>,
}

#[derive(Clone, Copy)]
struct Life {
    lasts: Duration,
    renew_at: Instant,
    ends: Instant,
}

impl Token {
    fn is_good(&self, now: Instant) -> bool {
        self.life.is_none_or(|life| now < life.ends)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.life.is_some_and(|life| now >= life.renew_at)
    }

    /// The same, to be renewed a little later.
    fn postponed(&self, now: Instant) -> Self {
        let life = self.life.map(|life| Life { renew_at: now + PAUSE, ..life });
        Self { life, ..self.clone() }
    }
}

impl Session {
    pub(super) fn new(mount: &str, role: &str, identity: Identity) -> Result<Self, StoreError> {
        path::segments("loginMount", mount)?;
        Ok(Self { mount: mount.to_owned(), role: role.to_owned(), identity, state: Mutex::default() })
    }

    /// A token that is good for now.
    pub(super) async fn token(&self, way: &Way) -> Result<Arc<Token>, StoreError> {
        let since = Instant::now();
        let mut state = self.state.lock().await;
        let now = Instant::now();
        let old = state.token.take().filter(|token| token.is_good(now));
        if let Some(token) = old.as_ref().filter(|token| !token.is_due(now)) {
            return Ok(state.token.insert(token.clone()).clone());
        }
        // Whoever has waited while another tried has been answered too.
        if let Some((at, error)) = &state.failed
            && *at >= since
        {
            return Err(error.clone());
        }
        match (self.next(way, old.as_deref()).await, old) {
            (Ok(token), _) => {
                state.failed = None;
                Ok(state.token.insert(Arc::new(token)).clone())
            }
            (Err(_), Some(old)) => Ok(state.token.insert(Arc::new(old.postponed(Instant::now()))).clone()),
            (Err(error), None) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Whether Vault still knows a token, so that what it denied is denied by a policy. A token may ask about itself.
    pub(super) async fn is_known(&self, way: &Way, token: &Token) -> bool {
        let url = way.url(["auth", "token", "lookup-self"]);
        let answer = way.ask(Method::GET, &url, Some(&token.header), Bytes::new()).await;
        answer.is_ok_and(|answer| answer.status() != StatusCode::FORBIDDEN)
    }

    /// Gives up a token that is no longer known, unless another has already.
    pub(super) async fn forget(&self, token: &Token) {
        let mut state = self.state.lock().await;
        state.token.take_if(|held| held.header == token.header);
    }

    async fn next(&self, way: &Way, old: Option<&Token>) -> Result<Token, StoreError> {
        match old.filter(|token| token.renewable) {
            Some(old) => match self.renewed(way, old).await {
                Ok(renewed) => Ok(renewed),
                Err(_) => self.login(way).await,
            },
            None => self.login(way).await,
        }
    }

    async fn renewed(&self, way: &Way, old: &Token) -> Result<Token, StoreError> {
        let question = Question { whom: &way.whom, what: "a longer life of its token", meaning: of_logins };
        let asked = Instant::now();
        let url = way.url(["auth", "token", "renew-self"]);
        let answer = way.ask(Method::POST, &url, Some(&old.header), Bytes::from_static(b"{}")).await;
        let text = question.json(answer)?;
        let renewed = token(&question, question.parsed::<LoginAnswer<'_>>(&text)?.auth, asked)?;
        // One that comes to the end of what it may be renewed for is given shorter lives.
        let lasts = |token: &Token| token.life.map_or(Duration::MAX, |life| life.lasts);
        let renewable = renewed.renewable && lasts(&renewed) >= lasts(old) / 2;
        Ok(Token { renewable, ..renewed })
    }

    async fn login(&self, way: &Way) -> Result<Token, StoreError> {
        let what = format!("the login as {} at {}", self.role, self.mount);
        let question = Question { whom: &way.whom, what: &what, meaning: of_logins };
        let jwt = self.identity.token().await?;
        let asked = Instant::now();
        let url = way.url(["auth"].into_iter().chain(self.mount.split('/')).chain(["login"]));
        let sent = body(&LoginRequest { role: &self.role, jwt: &jwt });
        let text = question.json(way.ask(Method::POST, &url, None, sent).await)?;
        token(&question, question.parsed::<LoginAnswer<'_>>(&text)?.auth, asked)
    }
}

/// `asked` is when the question was sent: it lasts no longer than from then.
fn token(question: &Question<'_>, auth: Auth<'_>, asked: Instant) -> Result<Token, StoreError> {
    let text = Zeroizing::new(auth.client_token.into_owned());
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(text))
        .ok()
        .filter(|header| !header.is_empty())
        .ok_or_else(|| question.unusable("with a token that is none"))?;
    header.set_sensitive(true);
    let lasts = Duration::from_secs(auth.lease_duration.into());
    let life = (!lasts.is_zero()).then(|| Life { lasts, renew_at: asked + lasts * 2 / 3, ends: asked + lasts });
    Ok(Token { header, renewable: auth.renewable, life })
}
