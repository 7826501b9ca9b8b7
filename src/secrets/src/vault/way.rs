//! How one Vault is asked, by whomever: its address, its namespace and the headers that it wants.

use std::sync::Arc;

use bytes::Bytes;
use cardea_contract::secrets::TroubleKind;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use reqwest::Url;

use crate::https::{Https, NoAnswer};
use crate::path;
use crate::store::StoreError;

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's own agents pass on nothing without it, so that no page in a browser can ask them.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

/// The way to one Vault.
pub(super) struct Way {
    https: Arc<Https>,
    base: Url,
    headers: HeaderMap,
    /// As failures name it.
    pub(super) whom: String,
}

impl Way {
    pub(super) fn new(https: Arc<Https>, address: &str, namespace: Option<&str>) -> Result<Self, StoreError> {
        let base = path::base("address", address)?;
        let mut headers = HeaderMap::from_iter([(REQUEST, HeaderValue::from_static("true"))]);
        if let Some(namespace) = namespace {
            let value = HeaderValue::try_from(namespace).map_err(|_| {
                StoreError::new(TroubleKind::Unusable, "namespace is none: it must be a path of visible characters")
            })?;
            headers.insert(NAMESPACE, value);
        }
        let whom = format!("Vault at {}", base.as_str().trim_end_matches('/'));
        Ok(Self { https, base, headers, whom })
    }

    /// A path of the API.
    pub(super) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        path::below(&self.base, ["v1"].into_iter().chain(segments))
    }

    pub(super) async fn ask(
        &self,
        method: Method,
        url: &Url,
        token: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Bytes>, NoAnswer> {
        let mut headers = self.headers.clone();
        if let Some(token) = token {
            headers.insert(TOKEN, token.clone());
        }
        self.https.ask(method, url, headers, body).await
    }
}
