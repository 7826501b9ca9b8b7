//! Messages without what their reader may not see.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cardea_policy::{Catalog, Principal};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{CATALOGS, TOO_MUCH, Unfit};
use crate::config::ConfigStore;
use crate::headers::Era;
use crate::jsonrpc::Name;
use crate::limits::{MAX_ALL_FILTERED_BYTES, Slot, Slots};
use crate::metrics::Metrics;
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
        let shown: Vec<&str> =
            elements.into_iter().map(RawValue::get).filter(|element| self.shows(catalog, element)).collect();
        Ok(Some(format!("[{}]", shown.join(","))))
    }

    /// An element without a readable key, or with two, could be asked for by nothing that was decided on.
    fn shows(&self, catalog: Catalog, element: &str) -> bool {
        let Ok(members) = serde_json::from_str::<Members<'_>>(element) else { return false };
        let key = members.get(catalog.key()).and_then(|key| serde_json::from_str::<Cow<'_, str>>(key.get()).ok());
        key.is_some_and(|key| self.config.current().policy.shows(&self.principal, catalog, &key))
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

/// The members of an object in their order, each value as it stands there.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
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
