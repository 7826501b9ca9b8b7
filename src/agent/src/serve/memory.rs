//! What a session has told its process, to be told again to the next one: a process that ended, or makes room for one
//! with newer secrets, must not cost its callers their session.
//!
//! Pure. Holds what was said and not what came of it.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{self, Kind, Message, text_at};
use super::router::Owner;

/// Most subscriptions that are remembered.
const MAX_SUBSCRIPTIONS: usize = 1000;

/// What was told.
#[derive(Default)]
pub(crate) struct Memory {
    /// `params` of `initialize`.
    pub(crate) initialize: Option<Box<str>>,
    /// `result` of `initialize`, as the first process gave it.
    pub(crate) result: Option<Box<str>>,
    initialized: bool,
    /// `params` of the last `logging/setLevel`.
    level: Option<Box<str>>,
    /// Who has subscribed to a resource.
    subscriptions: BTreeMap<String, BTreeSet<Owner>>,
}

impl Memory {
    /// Takes note of what goes to the process.
    pub(crate) fn note(&mut self, owner: Owner, message: &Message<'_>) {
        let (method, params) = match &message.kind {
            Kind::Request { method, params, .. } | Kind::Notification { method, params } => (&**method, *params),
            Kind::Response { .. } => return,
        };
        match (method, params) {
            ("initialize", Some(params)) if self.initialize.is_none() => self.initialize = Some(params.into()),
            ("notifications/initialized", _) => self.initialized = true,
            ("logging/setLevel", Some(params)) => self.level = Some(params.into()),
            ("resources/subscribe", Some(params)) => {
                let uri = text_at(params, &["uri"]).filter(|_| self.subscriptions.len() < MAX_SUBSCRIPTIONS);
                if let Some(uri) = uri {
                    self.subscriptions.entry(uri).or_default().insert(owner);
                }
            }
            ("resources/unsubscribe", Some(params)) => {
                if let Some(uri) = text_at(params, &["uri"]) {
                    self.forget(owner, &uri);
                }
            }
            _ => {}
        }
    }

    fn forget(&mut self, owner: Owner, uri: &str) {
        if let Some(owners) = self.subscriptions.get_mut(uri) {
            owners.remove(&owner);
            if owners.is_empty() {
                self.subscriptions.remove(uri);
            }
        }
    }

    /// Forgets an owner; the resources that nobody wants to hear of any more.
    pub(crate) fn forget_all(&mut self, owner: Owner) -> Vec<String> {
        let mut unwanted = Vec::new();
        self.subscriptions.retain(|uri, owners| {
            if owners.remove(&owner) && owners.is_empty() {
                unwanted.push(uri.clone());
            }
            !owners.is_empty()
        });
        unwanted
    }

    /// Whether others than this owner want to hear of a resource.
    pub(crate) fn others_want(&self, owner: Owner, uri: &str) -> bool {
        self.subscriptions.get(uri).is_some_and(|owners| owners.iter().any(|other| *other != owner))
    }

    /// Whether this owner wants to hear of a resource.
    pub(crate) fn wants(&self, owner: Owner, uri: &str) -> bool {
        self.subscriptions.get(uri).is_some_and(|owners| owners.contains(&owner))
    }

    /// The revision that was agreed on.
    pub(crate) fn version(&self) -> Option<String> {
        text_at(self.result.as_ref()?, &["protocolVersion"])
    }

    /// What follows `initialize`: whether the handshake was finished, and the requests after it.
    pub(crate) fn rest(&self) -> (bool, Vec<String>) {
        let level = self.level.iter().map(|params| message::request("logging/setLevel", params));
        let subscribe = |uri: &String| {
            let uri = serde_json::to_string(uri).unwrap_or_default();
            message::request("resources/subscribe", &format!(r#"{{"uri":{uri}}}"#))
        };
        (self.initialized, level.chain(self.subscriptions.keys().map(subscribe)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(memory: &mut Memory, owner: Owner, text: &str) {
        memory.note(owner, &Message::read(text.as_bytes()).unwrap());
    }

    #[test]
    fn what_was_told_is_told_again_and_what_was_taken_back_is_not() {
        let mut memory = Memory::default();
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","x":1.0}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"logging/setLevel","params":{"level":"error"}}"#,
            r#"{"jsonrpc":"2.0","id":4,"method":"resources/subscribe","params":{"uri":"a\"b"}}"#,
            r#"{"jsonrpc":"2.0","id":5,"method":"resources/subscribe","params":{"uri":"c"}}"#,
            r#"{"jsonrpc":"2.0","id":6,"method":"resources/unsubscribe","params":{"uri":"c"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}"#,
        ] {
            note(&mut memory, 1, text);
        }
        assert_eq!(memory.initialize.as_deref(), Some(r#"{"protocolVersion":"2025-06-18","x":1.0}"#));
        let (initialized, requests) = memory.rest();
        assert!(initialized);
        assert_eq!(
            requests,
            [
                r#"{"jsonrpc":"2.0","id":0,"method":"logging/setLevel","params":{"level":"error"}}"#,
                r#"{"jsonrpc":"2.0","id":0,"method":"resources/subscribe","params":{"uri":"a\"b"}}"#,
            ]
        );
    }

    #[test]
    fn a_resource_is_wanted_as_long_as_anybody_wants_it() {
        let mut memory = Memory::default();
        let subscribe = r#"{"jsonrpc":"2.0","id":4,"method":"resources/subscribe","params":{"uri":"a"}}"#;
        note(&mut memory, 1, subscribe);
        note(&mut memory, 2, subscribe);
        assert!(memory.wants(1, "a") && memory.others_want(1, "a") && !memory.wants(3, "a"));
        assert!(memory.forget_all(1).is_empty());
        assert!(!memory.others_want(2, "a"));
        assert_eq!(memory.forget_all(2), ["a"]);
    }
}
