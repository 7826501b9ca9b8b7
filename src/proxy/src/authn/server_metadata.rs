//! What an authorization server's metadata says to clients (RFC 8414, OpenID Connect Discovery): whether and how they can log
//! in there. It is read for the report alone: no token is judged by it, and nobody is kept out because it cannot be had.
//!
//! Does not know what follows from it: the operator says that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardea_contract::{Issuer, KeySource, LoginSupport, ServerMetadata, TokenKind};
use reqwest::Url;
use serde_json::{Map, Value};
use tokio_util::task::AbortOnDropHandle;

use super::discovery::beside;
use super::https::Https;
use super::jwks::KeyTimes;

/// Reads one authorization server's metadata, again and again.
pub(super) struct MetadataReader(Arc<Reader>);

struct Reader {
    /// What the document must call itself, to the byte.
    issuer: String,
    places: Vec<Url>,
    https: Https,
    times: KeyTimes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<ServerMetadata>,
    reading: Option<AbortOnDropHandle<()>>,
}

impl MetadataReader {
    /// None where there is nothing to log in to, or nothing is fetched.
    pub(super) fn new(issuer: &Issuer, https: Https, times: KeyTimes) -> Option<Self> {
        let fetched = !matches!(issuer.keys, KeySource::Inline { .. });
        if !fetched || !matches!(issuer.kind, TokenKind::Oidc { .. }) {
            return None;
        }
        let places = places(&https.url(&issuer.url)?)?;
        let issuer = issuer.url.clone();
        Some(Self(Arc::new(Reader { issuer, places, https, times, state: Mutex::default() })))
    }

    /// Begins to read, if that has not begun. Ends with this reader.
    pub(super) fn start(&self) {
        let mut state = self.0.state();
        if state.reading.is_some() {
            return;
        }
        let (weak, times) = (Arc::downgrade(&self.0), self.0.times);
        let task = tokio::spawn(async move {
            let mut pause = times.interval;
            while let Some(reader) = weak.upgrade() {
                let found = reader.read().await;
                // What was read once stays true for the report: that an issuer is away is told by its keys.
                if found != ServerMetadata::Unreadable || reader.found().is_none() {
                    reader.state().found = Some(found);
                }
                drop(reader);
                // An issuer need not have any, and is then asked no more often than one that has.
                pause = if found == ServerMetadata::Unreadable { pause.min(times.refresh) } else { times.refresh };
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
        });
        state.reading = Some(AbortOnDropHandle::new(task));
    }

    /// What was found last.
    pub(super) fn found(&self) -> Option<ServerMetadata> {
        self.0.found()
    }
}

impl Reader {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> Option<ServerMetadata> {
        self.state().found
    }

    /// The first document there is decides, as it does for a client.
    async fn read(&self) -> ServerMetadata {
        for place in &self.places {
            let Ok(document) = self.https.get(place).await else { continue };
            if let Ok(members) = serde_json::from_slice(&document) {
                return judge(&members, &self.issuer);
            }
        }
        ServerMetadata::Unreadable
    }
}

fn judge(members: &Map<String, Value>, issuer: &str) -> ServerMetadata {
    // RFC 8414 section 3.3: what speaks for another issuer must not be used.
    if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return ServerMetadata::OtherIssuer;
    }
    let says_yes = |member: &str| members.get(member) == Some(&Value::Bool(true));
    let endpoint =
        |member: &str| members.get(member).and_then(Value::as_str).is_some_and(|url| url.starts_with("https://"));
    let lists = |member: &str, wanted: &str| {
        members.get(member).and_then(Value::as_array).is_some_and(|list| list.iter().any(|value| value == wanted))
    };
    ServerMetadata::Read(LoginSupport {
        dynamic_registration: endpoint("registration_endpoint"),
        client_id_metadata_documents: says_yes("client_id_metadata_document_supported"),
        pkce_s256: lists("code_challenge_methods_supported", "S256"),
        issuer_parameter: says_yes("authorization_response_iss_parameter_supported"),
    })
}

/// Where a client of MCP looks, in its order (2025-11-25, Authorization Server Metadata Discovery).
fn places(url: &Url) -> Option<Vec<Url>> {
    let (path, at) = beside(url)?;
    let mut places = vec![
        at(format!("/.well-known/oauth-authorization-server{path}")),
        at(format!("/.well-known/openid-configuration{path}")),
        at(format!("{path}/.well-known/openid-configuration")),
    ];
    places.dedup();
    Some(places)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(document: &Value) -> ServerMetadata {
        judge(document.as_object().unwrap(), "https://login.example.com")
    }

    #[test]
    fn only_the_configured_issuer_counts_to_the_byte() {
        for other in ["https://login.example.com/", "https://LOGIN.example.com", "https://evil.example", ""] {
            assert_eq!(judged(&json!({"issuer": other})), ServerMetadata::OtherIssuer, "{other}");
        }
        assert_eq!(judged(&json!({})), ServerMetadata::OtherIssuer);
        let silent = json!({"issuer": "https://login.example.com"});
        assert_eq!(judged(&silent), ServerMetadata::Read(LoginSupport::default()));
    }

    #[test]
    fn what_is_of_another_type_is_not_offered() {
        for (member, value) in [
            ("registration_endpoint", json!(true)),
            ("registration_endpoint", json!("http://login.example.com/register")),
            ("client_id_metadata_document_supported", json!("true")),
            ("code_challenge_methods_supported", json!("S256")),
            ("code_challenge_methods_supported", json!(["plain", "s256"])),
            ("authorization_response_iss_parameter_supported", json!(1)),
        ] {
            let document = json!({"issuer": "https://login.example.com", member: value});
            assert_eq!(judged(&document), ServerMetadata::Read(LoginSupport::default()), "{document}");
        }
    }

    #[test]
    fn it_is_looked_for_where_clients_look() {
        let at =
            |issuer: &str| places(&issuer.parse().unwrap()).unwrap().iter().map(Url::to_string).collect::<Vec<_>>();
        assert_eq!(
            at("https://a.example"),
            [
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration"
            ]
        );
        assert_eq!(
            at("https://a.example/realms/x"),
            [
                "https://a.example/.well-known/oauth-authorization-server/realms/x",
                "https://a.example/.well-known/openid-configuration/realms/x",
                "https://a.example/realms/x/.well-known/openid-configuration"
            ]
        );
        assert!(places(&"https://a.example/?b=c".parse().unwrap()).is_none());
    }
}
