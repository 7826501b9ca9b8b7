//! The way out for the clients of Azure: that of every store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use http::Response;

use crate::answer::Question;
use crate::https::{Https, NoAnswer};

/// What a client sends with.
pub(super) struct Through {
    https: Arc<Https>,
    /// Whose answers the client only takes when they say yes, and what is asked for there.
    judged: Option<Judged>,
}

struct Judged {
    whom: String,
    what: String,
}

impl Through {
    /// The way to a vault. Its client reads answers of every status.
    pub(super) fn vault(https: &Arc<Https>) -> Self {
        Self { https: https.clone(), judged: None }
    }

    /// The way to Entra ID. Its client expects JSON with every status, and forgets the status where there is none.
    pub(super) fn entra(https: &Arc<Https>, whom: String, what: String) -> Self {
        Self { https: https.clone(), judged: Some(Judged { whom, what }) }
    }
}

impl fmt::Debug for Through {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Through")
    }
}

#[async_trait]
impl HttpClient for Through {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = match translated(request) {
            Some(request) => self.https.answer(request).await,
            None => Err(NoAnswer::Request),
        };
        match &self.judged {
            None => Ok(back(answer.map_err(|error| Error::new(ErrorKind::Other, error))?)),
            Some(Judged { whom, what }) => {
                let body = Question { whom, what, help: super::identity::help }.granted(answer);
                Ok(back(Response::new(body.map_err(|error| Error::new(ErrorKind::Credential, error))?)))
            }
        }
    }
}

fn translated(request: &Request) -> Option<http::Request<Bytes>> {
    // A stream, which neither client ever sends.
    let Body::Bytes(body) = request.body() else {
        return None;
    };
    let mut translated = http::Request::builder().method(request.method().as_str()).uri(request.url().as_str());
    for (name, value) in request.headers().iter() {
        translated = translated.header(name.as_str(), value.as_str());
    }
    translated.body(body.clone()).ok()
}

fn back(answer: Response<Bytes>) -> AsyncRawResponse {
    let (parts, body) = answer.into_parts();
    let mut headers = Headers::new();
    for (name, value) in &parts.headers {
        // Of those that are no text, none is of use.
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    AsyncRawResponse::from_bytes(parts.status.as_u16().into(), headers, body)
}
