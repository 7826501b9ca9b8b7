//! Which server uses which shared object, learnt from the watch on the servers. Pure: what is heard goes in, the objects
//! concerned come out.

use std::collections::BTreeSet;

use cardea_api::v1alpha1::McpServer;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;

use crate::heard::{Heard, Key};

/// Who uses which objects of a kind.
pub struct Users {
    heard: Heard<BTreeSet<String>>,
    uses: fn(&McpServer) -> BTreeSet<String>,
}

impl Users {
    /// Of the objects that a server uses by this account.
    pub fn new(uses: fn(&McpServer) -> BTreeSet<String>) -> Self {
        Self { heard: Heard::default(), uses }
    }

    /// Takes in what the watch on the servers tells. Gives the objects whose users are others now.
    pub fn hear(&self, event: &Event<DeserializeGuard<McpServer>>) -> BTreeSet<Key> {
        let changes = self.heard.hear(event, |server, former| match &server.0 {
            Ok(server) => Some((self.uses)(server)),
            // What it asks for now nobody knows; what it runs with is the former.
            Err(_) => former.cloned(),
        });
        let concerned = changes.into_iter().flat_map(|change| {
            let (before, now) = (change.before.unwrap_or_default(), change.now.unwrap_or_default());
            let others: Vec<String> = before.symmetric_difference(&now).cloned().collect();
            others.into_iter().map(move |name| (change.key.0.clone(), name))
        });
        concerned.collect()
    }

    /// Names of the servers that use an object; none while not all servers are known.
    pub fn of(&self, (namespace, name): &Key) -> Option<Vec<String>> {
        let servers = self.heard.of_namespace(namespace).into_iter();
        let users = servers.filter(|(_, used)| used.contains(name)).map(|(server, _)| server);
        self.heard.is_complete().then(|| users.collect())
    }
}

/// The McpAuthPolicy that a server names.
pub fn policy_of(server: &McpServer) -> Option<String> {
    Some(server.spec.auth.as_ref()?.policy_ref.as_ref()?.name.clone())
}

/// The McpSecretStores that a server names.
pub fn stores_of(server: &McpServer) -> BTreeSet<String> {
    server.spec.secrets.iter().filter_map(|secret| Some(secret.store_ref.as_ref()?.name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(namespace: &str, name: &str, policy: Option<&str>) -> DeserializeGuard<McpServer> {
        let auth = policy.map(|policy| json!({"policyRef": {"name": policy}}));
        serde_json::from_value(json!({
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "metadata": {"namespace": namespace, "name": name},
            "spec": {"source": {"image": {"ref": "a"}}, "auth": auth},
        }))
        .unwrap()
    }

    fn policies(names: &[&str]) -> BTreeSet<Key> {
        names.iter().map(|name| ("n".to_owned(), (*name).to_owned())).collect()
    }

    #[test]
    fn nobody_is_known_before_the_list_is_whole() {
        let users = Users::new(|server| policy_of(server).into_iter().collect());
        let policy = ("n".to_owned(), "p".to_owned());
        users.hear(&Event::Init);
        users.hear(&Event::InitApply(server("n", "a", Some("p"))));
        assert_eq!(users.of(&policy), None);
        users.hear(&Event::InitDone);
        assert_eq!(users.of(&policy), Some(vec!["a".to_owned()]));
    }

    #[test]
    fn former_and_new_policy_are_concerned_and_nobody_else() {
        let users = Users::new(|server| policy_of(server).into_iter().collect());
        users.hear(&Event::InitDone);
        assert_eq!(users.hear(&Event::Apply(server("n", "a", Some("p")))), policies(&["p"]));
        assert_eq!(users.hear(&Event::Apply(server("n", "a", Some("p")))), policies(&[]));
        assert_eq!(users.hear(&Event::Apply(server("n", "a", Some("q")))), policies(&["p", "q"]));
        assert_eq!(users.hear(&Event::Apply(server("n", "b", Some("q")))), policies(&["q"]));
        assert_eq!(users.hear(&Event::Apply(server("o", "c", Some("q")))).len(), 1);
        assert_eq!(users.of(&("n".to_owned(), "q".to_owned())), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(users.hear(&Event::Apply(server("n", "b", None))), policies(&["q"]));
        assert_eq!(users.hear(&Event::Delete(server("n", "a", Some("q")))), policies(&["q"]));
        assert_eq!(users.of(&("n".to_owned(), "q".to_owned())), Some(vec![]));
    }

    #[test]
    fn who_went_while_nobody_watched_is_noticed() {
        let users = Users::new(|server| policy_of(server).into_iter().collect());
        users.hear(&Event::InitDone);
        users.hear(&Event::Apply(server("n", "a", Some("p"))));
        users.hear(&Event::Apply(server("n", "b", Some("p"))));
        users.hear(&Event::Init);
        users.hear(&Event::InitApply(server("n", "b", Some("p"))));
        assert_eq!(users.of(&("n".to_owned(), "p".to_owned())).unwrap().len(), 2);
        assert_eq!(users.hear(&Event::InitDone), policies(&["p"]));
        assert_eq!(users.of(&("n".to_owned(), "p".to_owned())), Some(vec!["b".to_owned()]));
    }

    #[test]
    fn a_store_that_a_server_goes_on_using_is_not_concerned() {
        let server = |stores: &[&str]| -> DeserializeGuard<McpServer> {
            let entry = |name: &&str| {
                let from = json!({"vault": {"mount": "secret", "path": "a"}});
                json!({"name": name, "from": from, "storeRef": {"name": name}, "keys": [{"key": "k", "file": "f"}]})
            };
            let secrets: Vec<_> = stores.iter().map(entry).collect();
            serde_json::from_value(json!({
                "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer", "metadata": {"namespace": "n", "name": "a"},
                "spec": {"source": {"image": {"ref": "a"}}, "secrets": secrets},
            }))
            .unwrap()
        };
        let users = Users::new(stores_of);
        users.hear(&Event::InitDone);
        assert_eq!(users.hear(&Event::Apply(server(&["p", "q"]))), policies(&["p", "q"]));
        assert_eq!(users.hear(&Event::Apply(server(&["q", "r"]))), policies(&["p", "r"]));
    }

    #[test]
    fn an_unreadable_server_keeps_what_it_used() {
        let users = Users::new(|server| policy_of(server).into_iter().collect());
        users.hear(&Event::InitDone);
        users.hear(&Event::Apply(server("n", "a", Some("p"))));
        let unreadable = serde_json::from_value(json!({
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"namespace": "n", "name": "a"}, "spec": {"source": 5},
        }))
        .unwrap();
        assert_eq!(users.hear(&Event::Apply(unreadable)), policies(&[]));
        assert_eq!(users.of(&("n".to_owned(), "p".to_owned())), Some(vec!["a".to_owned()]));
    }
}
