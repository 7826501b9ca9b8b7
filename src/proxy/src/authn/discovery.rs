//! The metadata of an authorization server (OpenID Connect Discovery, RFC 8414): where it stands, and what of it counts.
//!
//! Does not know how often it is read.

use reqwest::Url;
use serde::Deserialize;

use super::https::{Https, NoAnswer};

/// What of the metadata counts.
pub(super) struct Metadata {
    /// Where its keys stand, if it has any.
    pub(super) jwks: Option<Url>,
    /// Where it tells what a token is worth (RFC 7662), if it does so at a URL that may be asked.
    pub(super) introspection: Option<Url>,
}

/// Why there is no metadata.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoMetadata {
    #[error("the issuer's metadata cannot be fetched")]
    NoAnswer(#[from] NoAnswer),
    #[error("the issuer's metadata cannot be read")]
    Malformed,
    #[error("the metadata is about another issuer")]
    OtherIssuer,
    #[error("the metadata names keys at a URL that may not be asked")]
    Url,
}

/// OpenID Connect Discovery section 4.1, then RFC 8414 section 3.1.
pub(super) fn places(https: &Https, issuer: &str) -> Option<[Url; 2]> {
    let url = https.url(issuer)?;
    let (path, at) = beside(&url)?;
    Some([
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ])
}

/// The path of an issuer without slashes at its end, and what makes a URL beside it of another path; none for what is no
/// issuer (RFC 8414 section 2).
pub(super) fn beside(issuer: &Url) -> Option<(&str, impl Fn(String) -> Url)> {
    if issuer.query().is_some() || issuer.fragment().is_some() {
        return None;
    }
    let at = |path: String| {
        let mut url = issuer.clone();
        url.set_path(&path);
        url
    };
    Some((issuer.path().trim_end_matches('/'), at))
}

/// Reads the metadata of `issuer` at the first of these places that has any.
pub(super) async fn discover(https: &Https, places: &[Url; 2], issuer: &str) -> Result<Metadata, NoMetadata> {
    #[derive(Deserialize)]
    struct Document {
        issuer: String,
        jwks_uri: Option<String>,
        introspection_endpoint: Option<String>,
    }
    let mut last = NoMetadata::Malformed;
    for place in places {
        let document = match https.get(place).await {
            Ok(document) => document,
            Err(error) => {
                last = error.into();
                continue;
            }
        };
        let Ok(document) = serde_json::from_slice::<Document>(&document) else {
            last = NoMetadata::Malformed;
            continue;
        };
        // RFC 8414 section 3.3: or one authorization server could speak for another.
        if document.issuer != issuer {
            return Err(NoMetadata::OtherIssuer);
        }
        let jwks = document.jwks_uri.map(|text| https.url(&text).ok_or(NoMetadata::Url)).transpose()?;
        let introspection = document.introspection_endpoint.and_then(|text| https.url(&text));
        return Ok(Metadata { jwks, introspection });
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::addresses::Reach;
    use super::super::https::SystemNames;
    use super::*;

    #[test]
    fn metadata_stands_where_the_standards_say() {
        let https = Https::new(None, Reach::of([]), Arc::new(SystemNames::default())).unwrap();
        let urls = |issuer| places(&https, issuer).unwrap().map(|url| url.to_string());
        assert_eq!(
            urls("https://idp.example/realms/a"),
            [
                "https://idp.example/realms/a/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server/realms/a"
            ]
        );
        assert_eq!(
            urls("https://idp.example/"),
            [
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server"
            ]
        );
        assert!(places(&https, "https://idp.example/?a=b").is_none());
    }
}
