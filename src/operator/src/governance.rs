//! Which McpAccessPolicy governs which McpServer, and by which of its versions: while the newest makes no sense, the last that
//! did. Pure: what the two watches tell goes in, who is concerned comes out.
//!
//! Does not know what rules say ([`crate::validate`] does), nor what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cardea_api::v1alpha1::{McpAccessPolicy, McpAccessPolicySpec, McpAccessPolicyStatus, McpServer};
use cardea_contract::Rule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use kube::core::{DeserializeGuard, Selector, SelectorExt as _};
use kube::runtime::watcher::Event;
use kube::{Resource as _, ResourceExt as _};

use crate::heard::{Change, Heard, Key};
use crate::validate::policy_rules;

type Labels = BTreeMap<String, String>;

/// A version of a policy that makes sense.
#[derive(Debug, PartialEq)]
pub struct Version {
    /// Name of the policy.
    pub policy: String,
    /// Its generation.
    pub generation: i64,
    /// Its rules, by the names that audit lines call them by; known to compile.
    pub rules: Vec<Rule>,
    target: Target,
}

/// A version that makes none.
#[derive(Clone, Debug, PartialEq)]
pub struct Unaccepted {
    /// What is wrong, and what helps.
    pub problem: String,
    /// What it would govern, and what the version governed that its status tells of.
    targets: Vec<Target>,
}

/// Which servers of its namespace a policy is about.
#[derive(Clone, Debug, PartialEq)]
enum Target {
    Named(BTreeSet<String>),
    Selected(Selector),
}

/// What is known of a policy.
#[derive(Clone, PartialEq)]
struct Held {
    uid: String,
    generation: i64,
    /// The last version that makes sense, since this operator leads.
    good: Option<Arc<Version>>,
    /// Why it is not the newest.
    unaccepted: Option<Unaccepted>,
}

/// The policies of one server.
#[derive(Clone, Debug, Default)]
pub struct Governing {
    /// Versions that count, by name.
    pub policies: Vec<Arc<Version>>,
    /// Policies of which none counts, with what is wrong. They may refuse what others permit, so nothing can be decided.
    pub unknown: Vec<(String, String)>,
}

impl Governing {
    /// Those of these policies that govern a server, for whoever has them at hand and no watch.
    pub fn among(policies: Vec<McpAccessPolicy>, server: &McpServer) -> Self {
        let governance = Governance::default();
        let namespace = server.namespace().unwrap_or_default();
        for mut policy in policies {
            // Left out of either, it is that of the command or of the context, which the other may be in.
            if server.namespace().is_none() || policy.metadata.namespace.is_none() {
                policy.metadata.namespace = Some(namespace.clone());
            }
            governance.hear_policy(&Event::Apply(DeserializeGuard(Ok(policy))));
        }
        governance.of_server(&(namespace, server.name_any()), server.labels())
    }
}

/// Who is concerned by something that was heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Servers, of which other rules may count now.
    pub servers: BTreeSet<Key>,
    /// Policies, which may govern others now.
    pub policies: BTreeSet<Key>,
}

/// Which policy governs which server.
#[derive(Default)]
pub struct Governance {
    servers: Heard<Labels>,
    policies: Heard<Held>,
}

impl Governance {
    /// Takes in what the watch on the servers tells.
    pub fn hear_server(&self, event: &Event<DeserializeGuard<McpServer>>) -> Concerned {
        let changes = self.servers.hear(event, |server, _| Some(server.labels().clone()));
        let mut concerned = Concerned::default();
        for Change { key, before, now } in changes {
            let governs = |held: &Held, labels: &Option<Labels>| {
                labels.as_ref().is_some_and(|labels| held.targets().iter().any(|target| target.holds(&key.1, labels)))
            };
            for (name, held) in self.policies.of_namespace(&key.0) {
                let (was, is) = (governs(&held, &before), governs(&held, &now));
                if was != is {
                    concerned.policies.insert((key.0.clone(), name));
                    concerned.servers.insert(key.clone());
                }
            }
        }
        concerned
    }

    /// Takes in what the watch on the policies tells.
    pub fn hear_policy(&self, event: &Event<DeserializeGuard<McpAccessPolicy>>) -> Concerned {
        let changes = self.policies.hear(event, |policy, former| Some(Held::of(policy, former)));
        let mut concerned = Concerned::default();
        for Change { key, before, now } in changes {
            let both = [before, now];
            let targets: Vec<&Target> = both.iter().flatten().flat_map(Held::targets).collect();
            for (server, labels) in self.servers.of_namespace(&key.0) {
                if targets.iter().any(|target| target.holds(&server, &labels)) {
                    concerned.servers.insert((key.0.clone(), server));
                }
            }
            concerned.policies.insert(key);
        }
        concerned
    }

    /// The policies of a server.
    pub fn of_server(&self, (namespace, name): &Key, labels: &Labels) -> Governing {
        let mut governing = Governing::default();
        for (policy, held) in self.policies.of_namespace(namespace) {
            match (held.good, held.unaccepted) {
                (Some(good), _) if good.target.holds(name, labels) => governing.policies.push(good),
                (None, Some(bad)) if bad.targets.iter().any(|target| target.holds(name, labels)) => {
                    governing.unknown.push((policy, bad.problem));
                }
                _ => {}
            }
        }
        governing
    }

    /// The servers that a policy governs, by name, with those that it names and that do not exist; none while not all servers
    /// are known.
    pub fn of_policy(&self, key: &Key) -> Option<Reach> {
        let held = self.policies.get(key)?;
        if !self.servers.is_complete() {
            return None;
        }
        let servers = self.servers.of_namespace(&key.0);
        let targets = held.targets();
        let holds = |server: &str, labels: &Labels| targets.iter().any(|target| target.holds(server, labels));
        // Of what it governed before, one that is gone is missed by nobody.
        let missing = match targets.first() {
            Some(Target::Named(names)) => {
                names.iter().filter(|name| servers.iter().all(|(server, _)| server != *name)).cloned().collect()
            }
            _ => Vec::new(),
        };
        let governed = servers.into_iter().filter(|(server, labels)| holds(server, labels)).map(|(server, _)| server);
        Some(Reach {
            servers: governed.collect(),
            missing,
            problem: held.unaccepted.map(|unaccepted| unaccepted.problem),
            in_force: held.good.map(|good| good.generation),
        })
    }
}

/// What a policy reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Servers that it governs, by name.
    pub servers: Vec<String>,
    /// Servers that it names and that do not exist.
    pub missing: Vec<String>,
    /// What is wrong with its newest version, if something is.
    pub problem: Option<String>,
    /// Generation of the version that counts, if one does.
    pub in_force: Option<i64>,
}

impl Held {
    fn of(guarded: &DeserializeGuard<McpAccessPolicy>, former: Option<&Self>) -> Self {
        let (uid, generation) = (guarded.uid().unwrap_or_default(), guarded.meta().generation.unwrap_or_default());
        let former = former.filter(|former| former.uid == uid);
        if let Some(known) = former.filter(|former| former.generation == generation) {
            return known.clone();
        }
        let good = former.and_then(|former| former.good.clone());
        match version(guarded, generation) {
            Ok(version) => Self { uid, generation, good: Some(Arc::new(version)), unaccepted: None },
            Err(unaccepted) => Self { uid, generation, good, unaccepted: Some(unaccepted) },
        }
    }

    /// What it governs: what counts of it does, or else whatever it may be about.
    fn targets(&self) -> &[Target] {
        let unaccepted = || self.unaccepted.as_ref().map(|unaccepted| unaccepted.targets.as_slice());
        let good = self.good.as_deref().map(|good| std::slice::from_ref(&good.target));
        good.or_else(unaccepted).unwrap_or_default()
    }
}

fn version(guarded: &DeserializeGuard<McpAccessPolicy>, generation: i64) -> Result<Version, Unaccepted> {
    // Whatever it was about, it may have refused something there.
    let of_all = |problem| Unaccepted { problem, targets: vec![Target::Selected(Selector::default())] };
    let policy = guarded.0.as_ref().map_err(|invalid| {
        of_all(format!(
            "the McpAccessPolicy cannot be read: apply the current CRDs, then the object again: {}",
            invalid.error
        ))
    })?;
    let target = Target::of(&policy.spec).map_err(of_all)?;
    let name = policy.name_any();
    match policy_rules(&name, &policy.spec.access) {
        Ok(rules) => Ok(Version { policy: name, generation, rules, target }),
        Err(problem) => {
            let former = policy.status.as_ref().and_then(Target::former);
            Err(Unaccepted { problem, targets: [target].into_iter().chain(former).collect() })
        }
    }
}

impl Target {
    fn of(spec: &McpAccessPolicySpec) -> Result<Self, String> {
        let Some(selector) = &spec.selector else {
            return Ok(Self::Named(spec.target_refs.iter().map(|reference| reference.name.clone()).collect()));
        };
        for (index, asked) in selector.match_expressions.iter().flatten().enumerate() {
            if !makes_sense(asked) {
                return Err(format!(
                    "spec.selector.matchExpressions[{index}]: In and NotIn need values, Exists and DoesNotExist have none, and there is no other operator: correct it, as in {{key: team, operator: In, values: [payments]}}"
                ));
            }
        }
        Selector::try_from(selector.clone()).map(Self::Selected).map_err(|error| format!("spec.selector: {error}"))
    }

    /// What the version governs that was accepted last, by the status that tells of it: a newer one that makes no sense may
    /// be about others, and these still decide by the former.
    fn former(status: &McpAccessPolicyStatus) -> Option<Self> {
        let listed: BTreeSet<String> = status.servers.iter().map(|server| server.name.clone()).collect();
        let count = usize::try_from(status.server_count.unwrap_or_default()).unwrap_or_default();
        if count > listed.len() {
            return Some(Self::Selected(Selector::default()));
        }
        (!listed.is_empty()).then_some(Self::Named(listed))
    }

    fn holds(&self, server: &str, labels: &Labels) -> bool {
        match self {
            Self::Named(names) => names.contains(server),
            Self::Selected(selector) => selector.matches(labels),
        }
    }
}

fn makes_sense(asked: &LabelSelectorRequirement) -> bool {
    let values = asked.values.as_ref().is_some_and(|values| !values.is_empty());
    match asked.operator.as_str() {
        "In" | "NotIn" => values,
        "Exists" | "DoesNotExist" => !values,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn server(name: &str, labels: &Value) -> DeserializeGuard<McpServer> {
        serde_json::from_value(json!({
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"namespace": "n", "name": name, "labels": labels}, "spec": {"source": {}},
        }))
        .unwrap()
    }

    fn policy(name: &str, generation: i64, spec: &Value) -> DeserializeGuard<McpAccessPolicy> {
        serde_json::from_value(json!({
            "apiVersion": "cardea.dev/v1alpha1", "kind": "McpAccessPolicy",
            "metadata": {"namespace": "n", "name": name, "generation": generation, "uid": "u"}, "spec": spec,
        }))
        .unwrap()
    }

    fn rules(tool: &str) -> Value {
        json!([{"name": "read", "principals": [{"anyAuthenticated": true}], "tools": [tool]}])
    }

    fn keys(names: &[&str]) -> BTreeSet<Key> {
        names.iter().map(|name| ("n".to_owned(), (*name).to_owned())).collect()
    }

    /// Rules of a server with such labels.
    fn of(governance: &Governance, server: &str, labels: &[(&str, &str)]) -> (Vec<(String, i64)>, usize) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let governing = governance.of_server(&("n".to_owned(), server.to_owned()), &labels);
        let versions = governing.policies.iter().map(|version| (version.policy.clone(), version.generation));
        (versions.collect(), governing.unknown.len())
    }

    #[test]
    fn who_is_named_or_selected_is_governed_and_woken() {
        let governance = Governance::default();
        governance.hear_server(&Event::Apply(server("a", &json!({"team": "x"}))));
        governance.hear_server(&Event::Apply(server("b", &json!({}))));
        let named = json!({"targetRefs": [{"name": "b"}, {"name": "c"}], "rules": rules("read")});
        let concerned = governance.hear_policy(&Event::Apply(policy("p", 1, &named)));
        assert_eq!((concerned.servers, concerned.policies), (keys(&["b"]), keys(&["p"])));
        let selected = json!({"selector": {"matchLabels": {"team": "x"}}, "rules": rules("read")});
        assert_eq!(governance.hear_policy(&Event::Apply(policy("q", 1, &selected))).servers, keys(&["a"]));
        assert_eq!(of(&governance, "b", &[]), (vec![("p".into(), 1)], 0));
        assert_eq!(of(&governance, "a", &[("team", "x")]), (vec![("q".into(), 1)], 0));
        // By its labels a server comes under a policy and leaves it, by its name it is under it from the first moment.
        let concerned = governance.hear_server(&Event::Apply(server("a", &json!({"team": "y"}))));
        assert_eq!((concerned.servers, concerned.policies), (keys(&["a"]), keys(&["q"])));
        let concerned = governance.hear_server(&Event::Apply(server("c", &json!({}))));
        assert_eq!((concerned.servers, concerned.policies), (keys(&["c"]), keys(&["p"])));
        assert_eq!(governance.hear_server(&Event::Apply(server("c", &json!({"colour": "red"})))), Concerned::default());
        let all = json!({"selector": {}, "rules": rules("read")});
        assert_eq!(governance.hear_policy(&Event::Apply(policy("q", 2, &all))).servers, keys(&["a", "b", "c"]));
        let gone = policy("p", 1, &json!({"targetRefs": [{"name": "b"}]}));
        assert_eq!(governance.hear_policy(&Event::Delete(gone)).servers, keys(&["b", "c"]));
    }

    #[test]
    fn while_a_version_makes_no_sense_the_last_that_did_counts() {
        let governance = Governance::default();
        for name in ["a", "b"] {
            governance.hear_server(&Event::Apply(server(name, &json!({}))));
        }
        governance.hear_server(&Event::InitDone);
        let of_a = |tool: &str| json!({"targetRefs": [{"name": "a"}], "rules": rules(tool)});
        governance.hear_policy(&Event::Apply(policy("p", 1, &of_a("read"))));
        let wrong = json!({"targetRefs": [{"name": "b"}], "rules": rules("re ad")});
        governance.hear_policy(&Event::Apply(policy("p", 2, &wrong)));
        assert_eq!(of(&governance, "a", &[]), (vec![("p".into(), 1)], 0));
        assert_eq!(of(&governance, "b", &[]), (vec![], 0));
        let reach = governance.of_policy(&("n".into(), "p".into())).unwrap();
        assert_eq!((reach.servers, reach.in_force), (vec!["a".to_owned()], Some(1)));
        assert!(reach.problem.unwrap().contains("\"re ad\""));
        governance.hear_policy(&Event::Apply(policy("p", 3, &of_a("write"))));
        assert_eq!(of(&governance, "a", &[]), (vec![("p".into(), 3)], 0));
        // One that never made sense leaves its servers undecided.
        governance.hear_policy(&Event::Apply(policy("never", 1, &wrong)));
        assert_eq!(of(&governance, "b", &[]), (vec![], 1));
        assert_eq!(of(&governance, "a", &[]), (vec![("p".into(), 3)], 0));
    }

    /// After a restart nothing is known but the newest version. Were only those left as they are that it is about, the servers
    /// of the version in force would lose what that refuses.
    #[test]
    fn after_a_restart_the_servers_of_the_version_in_force_are_left_as_they_are_too() {
        let governed = |servers: Value, count: i32| {
            let governance = Governance::default();
            for name in ["a", "b", "c"] {
                governance.hear_server(&Event::Apply(server(name, &json!({}))));
            }
            governance.hear_server(&Event::InitDone);
            let wrong = json!({"targetRefs": [{"name": "b"}], "rules": rules("re ad")});
            let mut policy = policy("p", 2, &wrong);
            let status = json!({"servers": servers, "serverCount": count});
            policy.0.as_mut().unwrap().status = Some(serde_json::from_value(status).unwrap());
            governance.hear_policy(&Event::Apply(policy));
            governance.of_policy(&("n".into(), "p".into())).unwrap().servers
        };
        assert_eq!(governed(json!([]), 0), ["b"]);
        assert_eq!(governed(json!([{"name": "a"}, {"name": "gone"}]), 2), ["a", "b"]);
        // Not all of them stand there.
        assert_eq!(governed(json!([{"name": "a"}]), 101), ["a", "b", "c"]);
    }

    #[test]
    fn one_that_cannot_be_read_may_be_about_any_server() {
        let governance = Governance::default();
        governance.hear_server(&Event::Apply(server("a", &json!({}))));
        for spec in [
            json!({"selector": {}, "rules": 5}),
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}, "rules": []}),
        ] {
            governance.hear_policy(&Event::Apply(policy("p", 1, &spec)));
            assert_eq!(of(&governance, "a", &[]), (vec![], 1));
            governance.hear_policy(&Event::Delete(policy("p", 1, &json!({}))));
            assert_eq!(of(&governance, "a", &[]), (vec![], 0));
        }
    }

    #[test]
    fn nobody_is_counted_before_all_servers_are_known() {
        let governance = Governance::default();
        let key = ("n".to_owned(), "p".to_owned());
        let spec = json!({"targetRefs": [{"name": "a"}, {"name": "b"}], "rules": []});
        governance.hear_policy(&Event::Apply(policy("p", 1, &spec)));
        governance.hear_server(&Event::InitApply(server("a", &json!({}))));
        assert_eq!(governance.of_policy(&key), None);
        governance.hear_server(&Event::InitDone);
        let reach = governance.of_policy(&key).unwrap();
        assert_eq!((reach.servers, reach.missing), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }
}
