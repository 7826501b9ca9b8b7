//! The endpoint that is answered, and what RFC 9728 publishes about it: protected-resource metadata and the challenges of
//! 401 and 403. All of it comes from the configured resource, never from a request, so that no header steers a client to
//! another authorization server (E30).
//!
//! Does not know who is calling.

use bytes::Bytes;
use cardea_contract::{ClientAuth, ProxyConfig, TokenKind};
use http::HeaderValue;
use http::uri::{Scheme, Uri};
use serde_json::json;

use crate::config::ConfigError;

/// Well-known prefix, RFC 9728 section 3.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The MCP endpoint, as its clients see it.
pub(crate) struct Endpoint {
    /// Its path.
    pub(crate) path: String,
    metadata_path: String,
    metadata: Bytes,
    /// Last parameter of every challenge.
    resource_metadata: String,
    challenge: HeaderValue,
    challenge_invalid: HeaderValue,
}

impl Endpoint {
    /// `least_scopes` are what a first token should ask for: more is asked for when it is needed.
    pub(crate) fn new(config: &ProxyConfig, least_scopes: &[String]) -> Result<Self, ConfigError> {
        let bad = |problem| ConfigError::Field { field: "resource", problem };
        let uri: Uri = config.resource.parse().map_err(|_| bad("must be a URL"))?;
        if uri.scheme() != Some(&Scheme::HTTPS) || uri.query().is_some() || config.resource.contains('#') {
            return Err(bad("must be an https URL without query and fragment"));
        }
        let authority = uri.authority().ok_or_else(|| bad("must name a host"))?;
        // The URL stands in a quoted string of a header.
        if config.resource.contains(['"', '\\', '@']) {
            return Err(bad("must not hold quotes or user information"));
        }
        let path = uri.path().to_owned();
        let metadata_path = match path.as_str() {
            "/" => WELL_KNOWN.to_owned(),
            path => format!("{WELL_KNOWN}{path}"),
        };
        let resource_metadata = format!("resource_metadata=\"https://{authority}{metadata_path}\"");
        let least = match least_scopes {
            [] => resource_metadata.clone(),
            scopes => format!("scope=\"{}\", {resource_metadata}", scopes.join(" ")),
        };
        let header = |text: String| HeaderValue::try_from(text).map_err(|_| bad("must be printable ASCII"));
        Ok(Self {
            path,
            metadata_path,
            metadata: metadata(config, least_scopes).into(),
            challenge: header(format!("Bearer {least}"))?,
            challenge_invalid: header(format!("Bearer error=\"invalid_token\", {least}"))?,
            resource_metadata,
        })
    }

    /// The metadata, if `path` is where it stands.
    pub(crate) fn metadata_at(&self, path: &str) -> Option<Bytes> {
        (path == WELL_KNOWN || path == self.metadata_path).then(|| self.metadata.clone())
    }

    /// `WWW-Authenticate` of a 401. `error` is only named when a token was sent (RFC 6750 section 3.1).
    pub(crate) fn challenge(&self, token_was_sent: bool) -> HeaderValue {
        if token_was_sent { self.challenge_invalid.clone() } else { self.challenge.clone() }
    }

    /// `WWW-Authenticate` of a 403 that a token with these scopes would not have met (RFC 6750 section 3.1).
    pub(crate) fn step_up(&self, scopes: &[String]) -> Option<HeaderValue> {
        let scopes = scopes.join(" ");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\", {}", self.resource_metadata);
        HeaderValue::try_from(challenge).ok()
    }
}

fn metadata(config: &ProxyConfig, least_scopes: &[String]) -> String {
    let servers: Vec<_> = config
        .authentication
        .issuers
        .iter()
        .filter(|issuer| matches!(issuer.kind, TokenKind::Oidc { .. }))
        .map(|issuer| issuer.url.as_str())
        .collect();
    let mut document = json!({
        "resource": config.resource,
        "bearer_methods_supported": ["header"],
        "resource_name": format!("{}/{}", config.namespace, config.name),
        // RFC 8705: without certificates on the connection no token could prove that it is bound to one.
        "tls_client_certificate_bound_access_tokens": config.client_auth != ClientAuth::None,
    });
    if let Some(document) = document.as_object_mut() {
        for (name, list) in [("authorization_servers", json!(servers)), ("scopes_supported", json!(least_scopes))] {
            if list != json!([]) {
                document.insert(name.into(), list);
            }
        }
    }
    document.to_string()
}
