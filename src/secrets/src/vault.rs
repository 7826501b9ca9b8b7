//! HashiCorp Vault and OpenBao: key/value with and without versions, and credentials that live as long as their lease.
//!
//! Does not know how one logs in ([`session`]), nor when to ask again.

mod session;
mod way;
mod wire;

use bytes::Bytes;
use cardea_contract::secrets::{Location, TroubleKind, VaultEngine};
use futures::future::BoxFuture;
use http::{Method, Response, StatusCode};
use reqwest::Url;

use self::session::Session;
use self::way::Way;
use self::wire::{Envelope, KvMetadata, KvVersion, LeaseTerms, Renewal, body, of_leases, of_secrets};
use crate::answer::Question;
use crate::https::NoAnswer;
use crate::members::Members;
use crate::open::Means;
use crate::path;
use crate::store::{Lease, Reading, Store, StoreError, Version};
use crate::value::Values;

/// One Vault, as one role.
pub(crate) struct Vault {
    way: Way,
    session: Session,
}

/// Where a secret is: a mount and a path below it, both fit for a URL.
struct Place<'a> {
    engine: VaultEngine,
    mount: Vec<&'a str>,
    path: Vec<&'a str>,
    version: Option<u64>,
    /// As failures name it.
    name: String,
}

impl<'a> Place<'a> {
    fn of(at: &'a Location) -> Result<Self, StoreError> {
        let Location::Vault { engine, mount, path, version } = at else {
            return Err(StoreError::new(TroubleKind::Unusable, "the secret is not in Vault, but its store is one"));
        };
        Ok(Self {
            engine: *engine,
            mount: path::segments("mount", mount)?,
            path: path::segments("path", path)?,
            version: *version,
            name: format!("{mount}/{path}"),
        })
    }

    /// Its path of the API. `part` of it is asked for, where a secret has parts.
    fn url(&self, way: &Way, part: Option<&'a str>) -> Url {
        way.url(self.mount.iter().copied().chain(part).chain(self.path.iter().copied()))
    }

    fn question<'q>(&'q self, way: &'q Way) -> Question<'q> {
        Question { whom: &way.whom, what: &self.name, meaning: of_secrets }
    }
}

impl Vault {
    pub(crate) fn new(
        address: &str,
        namespace: Option<&str>,
        login_mount: &str,
        role: &str,
        means: Means,
    ) -> Result<Self, StoreError> {
        let way = Way::new(means.https, address, namespace)?;
        Ok(Self { way, session: Session::new(login_mount, role, means.identity)? })
    }

    /// Asks with the token. One that Vault no longer knows is replaced, once.
    async fn ask(
        &self,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Result<Response<Bytes>, NoAnswer>, StoreError> {
        let token = self.session.token(&self.way).await?;
        let answer = self.way.ask(method.clone(), url, Some(&token.header), body.clone()).await;
        let denied = answer.as_ref().is_ok_and(|answer| answer.status() == StatusCode::FORBIDDEN);
        if !denied || self.session.is_known(&self.way, &token).await {
            return Ok(answer);
        }
        self.session.forget(&token).await;
        let token = self.session.token(&self.way).await?;
        Ok(self.way.ask(method, url, Some(&token.header), body).await)
    }

    async fn get(&self, url: &Url) -> Result<Result<Response<Bytes>, NoAnswer>, StoreError> {
        self.ask(Method::GET, url, Bytes::new()).await
    }

    async fn current_version(&self, place: &Place<'_>) -> Result<Option<Version>, StoreError> {
        if place.engine != VaultEngine::KvV2 {
            return Ok(None);
        }
        if let Some(version) = place.version {
            return Ok(Some(version.to_string()));
        }
        let question = place.question(&self.way);
        let text = question.json(self.get(&place.url(&self.way, Some("metadata"))).await?)?;
        let KvMetadata { current_version, versions } = question.parsed::<Envelope<_>>(&text)?.data;
        let version = current_version.to_string();
        match versions.get(version.as_str()) {
            Some(state) if state.destroyed => Err(deleted(&question)),
            // That time may lie ahead, so only reading tells.
            Some(state) if !state.deletion_time.is_empty() => Ok(None),
            _ => Ok(Some(version)),
        }
    }

    async fn reading(&self, place: &Place<'_>) -> Result<Reading, StoreError> {
        match place.engine {
            VaultEngine::KvV2 => self.version_of_kv(place).await,
            VaultEngine::KvV1 | VaultEngine::Dynamic => {
                let question = place.question(&self.way);
                let text = question.json(self.get(&place.url(&self.way, None)).await?)?;
                let values = values(&question, question.parsed::<Envelope<_>>(&text)?.data)?;
                let lease = question.parsed::<LeaseTerms<'_>>(&text)?.lease();
                Ok(Reading { values, version: None, lease })
            }
        }
    }

    async fn version_of_kv(&self, place: &Place<'_>) -> Result<Reading, StoreError> {
        let question = place.question(&self.way);
        let mut url = place.url(&self.way, Some("data"));
        if let Some(version) = place.version {
            url.query_pairs_mut().append_pair("version", &version.to_string());
        }
        let answer = self.get(&url).await?;
        // A version that was deleted is not found, and what is left of it says so.
        if let Ok(answer) = &answer
            && answer.status() == StatusCode::NOT_FOUND
            && question.parsed::<Envelope<KvVersion<'_>>>(answer.body()).is_ok()
        {
            return Err(deleted(&question));
        }
        let text = question.json(answer)?;
        let KvVersion { data, metadata } = question.parsed::<Envelope<_>>(&text)?.data;
        let values = values(&question, data.ok_or_else(|| deleted(&question))?)?;
        Ok(Reading { values, version: Some(metadata.version.to_string()), lease: None })
    }

    async fn prolonged(&self, lease: &Lease) -> Result<Lease, StoreError> {
        let question = Question { whom: &self.way.whom, what: "a longer lease", meaning: of_leases };
        let url = self.way.url(["sys", "leases", "renew"]);
        let wanted = Renewal { lease_id: &lease.id, increment: lease.lasts.as_secs() };
        let text = question.json(self.ask(Method::POST, &url, body(&wanted)).await?)?;
        question.parsed::<LeaseTerms<'_>>(&text)?.lease().ok_or_else(|| question.unusable("without a lease"))
    }
}

impl Store for Vault {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        Box::pin(async move { self.current_version(&Place::of(at)?).await })
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        Box::pin(async move { self.reading(&Place::of(at)?).await })
    }

    fn renew<'a>(&'a self, lease: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        Box::pin(self.prolonged(lease))
    }
}

fn values(question: &Question<'_>, members: Members<'_>) -> Result<Values, StoreError> {
    // Only a member named twice stops here.
    members.values().map(Values::Members).map_err(|_| question.unusable("with a secret that names a key twice"))
}

fn deleted(question: &Question<'_>) -> StoreError {
    let (whom, what) = (question.whom, question.what);
    let message = format!("{whom} has {what} in a version that was deleted: undelete it or write a new one");
    StoreError::new(TroubleKind::NotFound, message)
}
