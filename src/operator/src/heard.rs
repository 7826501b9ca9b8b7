//! Something known of each object of a kind, as its watch tells it: also which of them went while nobody watched. Pure: what
//! is heard goes in, what changed comes out.
//!
//! Does not know what is kept, nor what a change means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

/// Namespace and name.
pub type Key = (String, String);

/// What is known of each object.
pub struct Heard<T>(Mutex<Known<T>>);

struct Known<T> {
    of: BTreeMap<Key, T>,
    /// Objects known before a list that it has not brought yet.
    unlisted: BTreeSet<Key>,
    /// Whether a list was brought to its end: before, that something is not known means nothing.
    complete: bool,
}

/// What is known of an object now that was not before, or no more.
#[derive(Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The object.
    pub key: Key,
    /// Known before.
    pub before: Option<T>,
    /// Known now.
    pub now: Option<T>,
}

impl<T> Default for Heard<T> {
    fn default() -> Self {
        Self(Mutex::new(Known { of: BTreeMap::new(), unlisted: BTreeSet::new(), complete: false }))
    }
}

impl<T: Clone + PartialEq> Heard<T> {
    /// Takes in what a watch tells. `read` says what is to be known of an object, given what is known of it.
    pub fn hear<K: Resource>(
        &self,
        event: &Event<DeserializeGuard<K>>,
        read: impl FnOnce(&DeserializeGuard<K>, Option<&T>) -> Option<T>,
    ) -> Vec<Change<T>>
    where
        DeserializeGuard<K>: Resource,
    {
        let mut known = self.known();
        match event {
            Event::Init => {
                known.unlisted = known.of.keys().cloned().collect();
                Vec::new()
            }
            Event::InitApply(object) | Event::Apply(object) => {
                let key = key_of(object);
                known.unlisted.remove(&key);
                let now = read(object, known.of.get(&key));
                known.set(key, now).into_iter().collect()
            }
            Event::Delete(object) => known.set(key_of(object), None).into_iter().collect(),
            Event::InitDone => {
                known.complete = true;
                let gone = std::mem::take(&mut known.unlisted);
                gone.into_iter().filter_map(|key| known.set(key, None)).collect()
            }
        }
    }

    /// All of a namespace, by name.
    pub fn of_namespace(&self, namespace: &str) -> Vec<(String, T)> {
        let known = self.known();
        let neighbours = known.of.range((namespace.to_owned(), String::new())..);
        let here = neighbours.take_while(|((space, _), _)| space == namespace);
        here.map(|((_, name), known)| (name.clone(), known.clone())).collect()
    }

    /// What is known of an object.
    pub fn get(&self, key: &Key) -> Option<T> {
        self.known().of.get(key).cloned()
    }

    /// Whether all that there are have been heard of.
    pub fn is_complete(&self) -> bool {
        self.known().complete
    }

    fn known(&self) -> MutexGuard<'_, Known<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + PartialEq> Known<T> {
    fn set(&mut self, key: Key, now: Option<T>) -> Option<Change<T>> {
        let before = match now.clone() {
            Some(now) => self.of.insert(key.clone(), now),
            None => self.of.remove(&key),
        };
        (before != now).then_some(Change { key, before, now })
    }
}

/// Namespace and name of an object that may not be readable.
pub fn key_of<K: Resource>(object: &DeserializeGuard<K>) -> Key
where
    DeserializeGuard<K>: Resource,
{
    (object.namespace().unwrap_or_default(), object.name_any())
}
