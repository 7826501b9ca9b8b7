//! The way out for the clients of AWS: that of every store.

use std::fmt;
use std::sync::Arc;

use aws_sdk_secretsmanager::config::http::{HttpRequest, HttpResponse};
use aws_sdk_secretsmanager::config::{HttpClient, RuntimeComponents};
use aws_sdk_secretsmanager::error::ConnectorError;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use crate::https::{Https, NoAnswer};

/// What the clients send with.
#[derive(Clone)]
pub(super) struct Transport(Arc<Https>);

impl Transport {
    pub(super) fn new(https: Arc<Https>) -> Self {
        Self(https)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let https = self.0.clone();
        HttpConnectorFuture::new(async move {
            sent(&https, request).await.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

async fn sent(https: &Https, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
    let request = request.try_into_http1x().map_err(|_| NoAnswer::Request)?;
    // None: a stream, which neither client ever sends.
    let request = request.map(|body| body.bytes().map(Bytes::copy_from_slice));
    let (parts, Some(body)) = request.into_parts() else {
        return Err(NoAnswer::Request);
    };
    let answer = https.answer(http::Request::from_parts(parts, body)).await?;
    HttpResponse::try_from(answer.map(SdkBody::from)).map_err(|_| NoAnswer::Broken(Default::default()))
}
