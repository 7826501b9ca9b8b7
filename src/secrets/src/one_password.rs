//! 1Password Connect: items of vaults, by id or by name. Connect lies in the cluster and keeps a copy of what it may give, so
//! names are looked up whenever they are asked for.
//!
//! Does not know when to ask again.

mod wire;

use std::sync::Arc;

use bytes::Bytes;
use cardea_contract::secrets::{Location, TroubleKind};
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Url;
use zeroize::Zeroizing;

use self::wire::{Entry, Item, of_all};
use crate::answer::Question;
use crate::https::Https;
use crate::identity::Identity;
use crate::open::Means;
use crate::path;
use crate::store::{Lease, Reading, Store, StoreError, Version};

/// One Connect server, as one token.
pub(crate) struct OnePassword {
    https: Arc<Https>,
    base: Url,
    identity: Identity,
    /// As failures name it.
    whom: String,
}

/// Where a secret is.
struct Place<'a> {
    vault: &'a str,
    item: &'a str,
    /// As failures name it.
    name: String,
}

/// What a list says of one that is in it.
struct Found {
    id: String,
    version: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(at: &'a Location) -> Result<Self, StoreError> {
        let Location::OnePasswordConnect { vault, item } = at else {
            return Err(StoreError::new(TroubleKind::Unusable, "the secret is not in 1Password, but its store is"));
        };
        for (field, name) in [("vault", vault), ("item", item)] {
            if name.is_empty() || name.contains(char::is_control) {
                let message = format!("{field} cannot be asked for: it must be a name or an id");
                return Err(StoreError::new(TroubleKind::Unusable, message));
            }
        }
        Ok(Self { vault, item, name: format!("item {item:?} of vault {vault:?}") })
    }
}

impl OnePassword {
    pub(crate) fn new(url: &str, means: Means) -> Result<Self, StoreError> {
        let base = path::base("url", url)?;
        let whom = format!("1Password Connect at {}", base.as_str().trim_end_matches('/'));
        Ok(Self { https: means.https, base, identity: means.identity, whom })
    }

    fn question<'a>(&'a self, what: &'a str) -> Question<'a> {
        Question { whom: &self.whom, what, meaning: of_all }
    }

    async fn get(&self, url: &Url, question: &Question<'_>) -> Result<Bytes, StoreError> {
        let token = self.identity.token().await?;
        let bearer = Zeroizing::new(["Bearer ", &token].concat());
        let mut bearer = HeaderValue::from_maybe_shared(Bytes::from_owner(bearer)).map_err(|_| no_token())?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        question.json(self.https.ask(Method::GET, url, headers, Bytes::new()).await)
    }

    /// The one of a list that is called so. Names go into a filter, never into a path.
    async fn find(
        &self,
        list: &[&str],
        member: &str,
        name: &str,
        question: &Question<'_>,
    ) -> Result<Found, StoreError> {
        let mut url = self.url(list.iter().copied());
        url.query_pairs_mut().append_pair("filter", &format!("{member} eq {}", serde_json::Value::from(name)));
        let text = self.get(&url, question).await?;
        let listed: Vec<Entry<'_>> = question.parsed(&text)?;
        let mut called_so = listed.iter().filter(|entry| entry.is_called(name));
        match (called_so.next(), called_so.next()) {
            (Some(entry), None) if is_id(&entry.id) => {
                Ok(Found { id: entry.id.clone().into_owned(), version: entry.version })
            }
            (Some(_), None) => Err(question.unusable("with an id that is none")),
            (Some(_), Some(_)) => Err(StoreError::new(
                TroubleKind::Unusable,
                format!("{} has more than one {}: give the id of the one that is meant", question.whom, question.what),
            )),
            (None, _) => Err(StoreError::new(
                TroubleKind::NotFound,
                format!(
                    "{} has no {}: check how it is spelled, and that the token may read that vault",
                    question.whom, question.what
                ),
            )),
        }
    }

    async fn vault(&self, place: &Place<'_>) -> Result<String, StoreError> {
        if is_id(place.vault) {
            return Ok(place.vault.to_owned());
        }
        let what = format!("vault {:?}", place.vault);
        Ok(self.find(&["vaults"], "name", place.vault, &self.question(&what)).await?.id)
    }

    async fn listed_version(&self, place: &Place<'_>) -> Result<Option<Version>, StoreError> {
        // By its id an item comes with its values.
        if is_id(place.item) {
            return Ok(None);
        }
        let vault = self.vault(place).await?;
        let question = self.question(&place.name);
        let found = self.find(&["vaults", &vault, "items"], "title", place.item, &question).await?;
        Ok(found.version.map(|version| version.to_string()))
    }

    async fn reading(&self, place: &Place<'_>) -> Result<Reading, StoreError> {
        let vault = self.vault(place).await?;
        let question = self.question(&place.name);
        let item = match place.item {
            id if is_id(id) => id.to_owned(),
            title => self.find(&["vaults", &vault, "items"], "title", title, &question).await?.id,
        };
        let text = self.get(&self.url(["vaults", &vault, "items", &item]), &question).await?;
        let item: Item<'_> = question.parsed(&text)?;
        let version = Some(item.version.to_string());
        let values = item.values().map_err(|_| question.unusable("with a field whose value cannot be read"))?;
        Ok(Reading { values, version, lease: None })
    }

    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        path::below(&self.base, ["v1"].into_iter().chain(segments))
    }
}

impl Store for OnePassword {
    fn version<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Option<Version>, StoreError>> {
        Box::pin(async move { self.listed_version(&Place::of(at)?).await })
    }

    fn read<'a>(&'a self, at: &'a Location) -> BoxFuture<'a, Result<Reading, StoreError>> {
        Box::pin(async move { self.reading(&Place::of(at)?).await })
    }

    fn renew<'a>(&'a self, _: &'a Lease) -> BoxFuture<'a, Result<Lease, StoreError>> {
        let none = StoreError::new(TroubleKind::Unusable, "1Password hands out no leases");
        Box::pin(std::future::ready(Err(none)))
    }
}

/// Ids are 26 letters and digits; nothing else of what is said goes into a path.
fn is_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn no_token() -> StoreError {
    StoreError::new(TroubleKind::Unusable, "the identity for the store is no token")
}
