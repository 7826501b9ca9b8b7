//! An authorization server: keys, tokens, and an https endpoint that counts who asks.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PublicKeyData};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Authority;

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    key: KeyPair,
}

impl SigningKey {
    pub(crate) fn new(kid: &str) -> Self {
        Self { kid: kid.into(), key: KeyPair::generate().unwrap() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let (x, y) = self.key.der_bytes()[1..].split_at(32);
        let encode = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": encode(x), "y": encode(y)})
    }

    /// A token with these claims, over the usual ones; null takes one away.
    pub(crate) fn token(&self, issuer: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        self.token_with(&header, issuer, claims)
    }

    pub(crate) fn token_with(&self, header: &Header, issuer: &str, claims: &Value) -> String {
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        jsonwebtoken::encode(header, &usual(issuer, claims), &key).unwrap()
    }
}

/// Usual claims with others over them.
pub(crate) fn usual(issuer: &str, claims: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut all = json!({
        "iss": issuer, "sub": "alice", "aud": super::RESOURCE, "iat": now, "exp": now + 300, "groups": ["dev"]
    });
    for (name, value) in claims.as_object().unwrap() {
        match value {
            Value::Null => all.as_object_mut().unwrap().remove(name),
            value => all.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    all
}

/// A token with this header and these claims, and whatever signature.
pub(crate) fn encode_unsigned(header: &Value, issuer: &str, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(&usual(issuer, claims)));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(sign(signed.as_bytes())))
}

/// What is answered at a path.
#[derive(Clone)]
enum Page {
    Answer(StatusCode, Vec<(&'static str, String)>, Bytes),
    /// The question is heard and never answered.
    Silence,
}

type Pages = HashMap<String, Page>;

/// A question that came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

/// The https endpoint.
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) authority: Authority,
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Issuer {
    /// Starts with metadata that names `/jwks`, and no keys there yet.
    pub(crate) async fn start() -> Self {
        let authority = Authority::new("issuer authority");
        let leaf = authority.sign(1, "issuer", &["127.0.0.1"]);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der.clone()], leaf.private_key())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (pages, asked) = (Arc::new(Mutex::new(Pages::new())), Arc::new(Mutex::new(Vec::new())));
        let (told, remembered) = (pages.clone(), asked.clone());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, pages, asked) = (acceptor.clone(), told.clone(), remembered.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(async |request: http::Request<hyper::body::Incoming>| {
                        let (head, body) = request.into_parts();
                        let path = head.uri.path().to_owned();
                        let authorization =
                            head.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
                        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                        let question = Asked { path: path.clone(), authorization: authorization.into(), body };
                        asked.lock().unwrap().push(question);
                        let page = pages.lock().unwrap().get(&path).cloned();
                        let (status, headers, body) = match page {
                            Some(Page::Answer(status, headers, body)) => (status, headers, body),
                            Some(Page::Silence) => std::future::pending().await,
                            None => (StatusCode::NOT_FOUND, vec![], Bytes::new()),
                        };
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(body)).unwrap())
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let issuer = Self { url, authority, pages, asked };
        let metadata = json!({"issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url)});
        issuer.page("/.well-known/openid-configuration", &metadata.to_string());
        issuer
    }

    pub(crate) fn page(&self, path: &str, body: &str) {
        self.page_with(path, StatusCode::OK, body);
    }

    pub(crate) fn page_with(&self, path: &str, status: StatusCode, body: &str) {
        let page = Page::Answer(
            status,
            vec![("content-type", "application/json".to_owned())],
            Bytes::copy_from_slice(body.as_bytes()),
        );
        self.pages.lock().unwrap().insert(path.into(), page);
    }

    /// From now on questions there are never answered.
    pub(crate) fn hush(&self, path: &str) {
        self.pages.lock().unwrap().insert(path.into(), Page::Silence);
    }

    pub(crate) fn redirect(&self, path: &str, to: &str) {
        let page = Page::Answer(StatusCode::FOUND, vec![("location", to.to_owned())], Bytes::new());
        self.pages.lock().unwrap().insert(path.into(), page);
    }

    pub(crate) fn remove(&self, path: &str) {
        self.pages.lock().unwrap().remove(path);
    }

    pub(crate) fn keys(&self, keys: &[&SigningKey]) {
        self.keys_at("/jwks", keys);
    }

    pub(crate) fn keys_at(&self, path: &str, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.page(path, &json!({ "keys": keys }).to_string());
    }

    /// How often this path was asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.questions(path).len()
    }

    /// What was asked at this path.
    pub(crate) fn questions(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).cloned().collect()
    }
}
