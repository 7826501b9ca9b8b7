//! Messages without what their reader may not see.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cardea_policy::{Catalog, Principal};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{CATALOGS, TOO_MUCH, Unfit};
use crate::config::{ConfigStore, Snapshot};
use crate::headers::Era;
use crate::jsonrpc::Name;
use crate::known::{Known, TOOLS_CHANGED};
use crate::limits::{MAX_ALL_FILTERED_BYTES, Slot, Slots};
use crate::metrics::{Metrics, Unapproved};
use crate::pinning;
use crate::sse::Event;

/// Most members of a message or a result. Each is compared with those before it.
const MAX_MEMBERS: usize = 256;
/// By whose rules lists are filtered. The rules are looked up for each message, so that a long stream follows a change.
#[derive(Clone)]
pub(crate) struct Filter {
    pub(crate) config: Arc<ConfigStore>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) principal: Arc<Principal>,
    pub(crate) era: Era,
    /// Whether any result is nobody else's, not only a list (row 37).
    pub(crate) private: bool,
    /// Told of what a list shows.
    pub(crate) known: Arc<Known>,
    /// Bytes of lists that are read whole, of all callers.
    pub(crate) read: Slots,
}

impl Filter {
    /// Room for a list or an event, of no bytes yet.
    pub(super) fn room(&self) -> Result<Slot, Unfit> {
        self.read.take(0, MAX_ALL_FILTERED_BYTES).ok_or(TOO_MUCH)
    }

    /// A message without what the caller may not see; none if nothing has to change.
    pub(super) fn message(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Unfit> {
        let unreadable = Unfit("the server's list cannot be read");
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable)?;
        let message: Members<'_> = serde_json::from_str(text).map_err(|_| unreadable)?;
        if message.text("method").is_some_and(|method| method == TOOLS_CHANGED) {
            self.known.changed();
        }
        // The modern era has no requests from servers (row 33); a client might answer one.
        if self.era == Era::Modern && message.get("method").is_some() && message.get("id").is_some() {
            return Err(Unfit("the server asks, which this revision does not know"));
        }
        let Some(result) = message.get("result").filter(|result| result.get().starts_with('{')) else {
            return Ok(None);
        };
        let result: Members<'_> = serde_json::from_str(result.get()).map_err(|_| unreadable)?;
        if !self.private && !CATALOGS.iter().any(|catalog| result.get(catalog.member()).is_some()) {
            return Ok(None);
        }
        let filtered = result.write(|name, value| self.member(name, value), self.scope(&result))?;
        message
            .write(|name, _| Ok((name == "result").then(|| filtered.clone())), None)
            .map(Some)
            .map(|text| text.map(String::into_bytes))
    }

    /// A result that is nobody else's (row 37): a shared cache must not keep it.
    fn scope(&self, result: &Members<'_>) -> Option<(&'static str, &'static str)> {
        let missing = self.era == Era::Modern && result.get("cacheScope").is_none();
        missing.then_some(("cacheScope", "\"private\""))
    }

    fn member(&self, name: &str, value: &RawValue) -> Result<Option<String>, Unfit> {
        if name == "cacheScope" {
            return Ok(Some("\"private\"".into()));
        }
        let Some(catalog) = CATALOGS.into_iter().find(|catalog| catalog.member() == name) else {
            return Ok(None);
        };
        let elements: Vec<&RawValue> =
            serde_json::from_str(value.get()).map_err(|_| Unfit("the server's list is no list"))?;
        let elements: Vec<_> =
            elements.into_iter().map(|element| (key(catalog, element.get()), element.get())).collect();
        let snapshot = self.config.current();
        let shown: Vec<&str> = match catalog {
            Catalog::Tools if pinning::is_enforced(&snapshot.config) => self.approved(&snapshot, &elements),
            _ => {
                elements.iter().filter(|(key, _)| self.shows(&snapshot, catalog, key)).map(|(_, text)| *text).collect()
            }
        };
        Ok(Some(format!("[{}]", shown.join(","))))
    }

    fn shows(&self, snapshot: &Snapshot, catalog: Catalog, key: &Option<Cow<'_, str>>) -> bool {
        key.as_ref().is_some_and(|key| snapshot.policy.shows(&self.principal, catalog, key))
    }

    /// Of the tools that the caller may see, those that are as they were approved. Of two of one name nobody can tell which
    /// is called.
    fn approved<'e>(&self, snapshot: &Snapshot, elements: &[(Option<Cow<'_, str>>, &'e str)]) -> Vec<&'e str> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for name in elements.iter().filter_map(|(name, _)| name.as_deref()) {
            *counts.entry(name).or_default() += 1;
        }
        let visible = elements.iter().filter(|(key, _)| self.shows(snapshot, Catalog::Tools, key));
        let approved = visible.filter(|(name, element)| {
            let name = name.as_deref().unwrap_or_default();
            let as_approved = pinning::permits_listed(&snapshot.config, &self.known, name, element);
            let approved = as_approved && counts.get(name) == Some(&1);
            if !approved {
                self.metrics.unapproved(Unapproved::Listed);
            }
            approved
        });
        approved.map(|(_, element)| *element).collect()
    }

    /// An event as the caller may see it; none if it is not fit to be seen.
    pub(crate) fn event(&self, event: Event) -> Option<Event> {
        let Some(data) = event.data().filter(|data| !data.trim_ascii().is_empty()) else {
            return Some(event);
        };
        match self.message(&data) {
            Ok(None) => Some(event),
            Ok(Some(filtered)) => Some(event.with_data(&filtered)),
            // A laxer reader than ours could make a list of it.
            Err(Unfit(why)) => {
                self.metrics.event_dropped();
                tracing::warn!(why, "an event is not passed on");
                None
            }
        }
    }
}

/// By what rules know an element. One without a readable key, or with two, could be asked for by nothing that was decided
/// on.
fn key(catalog: Catalog, element: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Members<'_>>(element).ok()?.text(catalog.key())
}

/// The members of an object in their order, each value as it stands there.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        serde_json::from_str::<Text<'_>>(self.get(name)?.get()).ok().map(|Text(text)| text)
    }

    /// Writes the object anew: `change` gives another value for a member, `further` is put at its end.
    fn write(
        &self,
        change: impl Fn(&str, &RawValue) -> Result<Option<String>, Unfit>,
        further: Option<(&str, &str)>,
    ) -> Result<String, Unfit> {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            let changed = change(name, value)?;
            append(&mut text, name, changed.as_deref().unwrap_or(value.get()));
        }
        if let Some((name, value)) = further {
            append(&mut text, name, value);
        }
        text.push('}');
        Ok(text)
    }
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn append(text: &mut String, name: &str, value: &str) {
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&serde_json::Value::from(name).to_string());
    text.push(':');
    text.push_str(value);
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members(Vec::new());
                while let Some(name) = map.next_key_seed(Name)? {
                    // Of two results one would be filtered and the other read.
                    if members.0.len() == MAX_MEMBERS || members.get(&name).is_some() {
                        return Err(serde::de::Error::custom("a name that is there twice, or too many names"));
                    }
                    members.0.push((name, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests;
