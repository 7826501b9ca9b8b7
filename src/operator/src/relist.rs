//! Whom a list after an interruption brings otherwise than the store still has them. The store takes a list as a whole when
//! it is over, and a reconcile that its first pages wake sees what was known before: a change that nobody watched would
//! count at the next resync only. So whoever is another is woken again when the list is over.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::heard::{Key, key_of};

/// Objects that a list has brought, and that the store does not have yet.
#[derive(Default)]
pub struct Relist(Mutex<BTreeSet<Key>>);

impl Relist {
    /// Takes in what a watch tells; `is_stored` says whether the store has an object as it is. Tells whom to wake.
    pub fn hear<K: Resource>(
        &self,
        event: &Event<DeserializeGuard<K>>,
        is_stored: impl FnOnce(&DeserializeGuard<K>) -> bool,
    ) -> BTreeSet<Key>
    where
        DeserializeGuard<K>: Resource,
    {
        let mut brought = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => brought.clear(),
            Event::InitApply(object) if !is_stored(object) => {
                brought.insert(key_of(object));
            }
            Event::InitDone => return std::mem::take(&mut brought),
            Event::InitApply(_) | Event::Apply(_) | Event::Delete(_) => {}
        }
        BTreeSet::new()
    }
}

#[cfg(test)]
mod tests {
    use cardea_api::v1alpha1::McpServer;
    use kube::ResourceExt as _;
    use kube::runtime::reflector::{ObjectRef, store};
    use serde_json::json;

    use super::*;

    fn server(name: &str, version: &str) -> DeserializeGuard<McpServer> {
        let metadata = json!({"namespace": "n", "name": name, "resourceVersion": version});
        let kind = json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer"});
        let mut whole = json!({"metadata": metadata, "spec": {"source": {}}});
        whole.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    /// What the store of kube does is part of this: were it to take objects one by one, nobody would have to be woken.
    #[test]
    fn whoever_changed_unwatched_is_woken_when_the_store_has_it() {
        let (reader, mut writer) = store::<DeserializeGuard<McpServer>>();
        let relist = Relist::default();
        let mut tell = |event: Event<DeserializeGuard<McpServer>>| {
            writer.apply_watcher_event(&event);
            let stored = |server: &DeserializeGuard<McpServer>| {
                let known = reader.get(&ObjectRef::from_obj(server));
                known.is_some_and(|known| known.resource_version() == server.resource_version())
            };
            let woken: Vec<String> = relist.hear(&event, stored).into_iter().map(|(_, name)| name).collect();
            let seen = reader.get(&ObjectRef::new("changed").within("n")).and_then(|server| server.resource_version());
            (woken, seen)
        };
        let old = Some("1".to_owned());
        for name in ["same", "changed"] {
            tell(Event::Apply(server(name, "1")));
        }
        tell(Event::Init);
        tell(Event::InitApply(server("same", "1")));
        assert_eq!(tell(Event::InitApply(server("changed", "2"))), (vec![], old));
        tell(Event::InitApply(server("new", "1")));
        assert_eq!(tell(Event::InitDone), (vec!["changed".into(), "new".into()], Some("2".to_owned())));
        assert_eq!(tell(Event::Apply(server("same", "3"))).0, Vec::<String>::new());
    }
}
