//! How a store stands: what the pods of servers tell of it, summed up for its status. Pure.

use std::collections::BTreeMap;

use cardea_api::v1alpha1::conditions::{Finding, settle};
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{McpSecretStore, McpSecretStoreStatus};
use cardea_contract::ProxyReport;
use cardea_contract::secrets::{SecretTrouble, TroubleKind};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::hold;

/// What the pods of a server tell of its stores, by name.
pub type Told = BTreeMap<String, Seen>;

/// What the pods of a server tell of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it last answered one of them, seconds since 1970.
    reached_at: Option<i64>,
    /// What keeps one of them from it, the longest.
    trouble: Option<SecretTrouble>,
}

/// What reports tell of stores.
pub fn told<'r>(reports: impl Iterator<Item = &'r ProxyReport>) -> Told {
    let mut told = Told::new();
    for report in reports.filter_map(|report| report.secrets.as_ref()).flat_map(|secrets| &secrets.stores) {
        let seen = told.entry(report.name.clone()).or_default();
        seen.reached_at = seen.reached_at.max(report.reached_at);
        let longer = |trouble: &&SecretTrouble| seen.trouble.as_ref().is_none_or(|known| trouble.since < known.since);
        if let Some(trouble) = report.trouble.as_ref().filter(longer) {
            seen.trouble = Some(trouble.clone());
        }
    }
    told
}

/// The status of a store with these users, of which these told of it.
pub(super) fn status(
    store: &McpSecretStore,
    authorities: Option<&str>,
    users: &[String],
    told: &[(String, Seen)],
    former: &McpSecretStoreStatus,
    now: Timestamp,
) -> McpSecretStoreStatus {
    let generation = store.metadata.generation;
    let (accepted, mut reached) = (accepted(store, authorities), reached(users, told));
    let before = former.conditions.iter().find(|found| found.type_ == condition::REACHED);
    if let Some(before) = before.filter(|before| before.status == "True" && reached.reason == reasons::PENDING) {
        // Nobody tells at present: it was reached when it was.
        reached = Finding::new(condition::REACHED, Some(true), reasons::STORE_REACHED, before.message.clone());
    }
    let mut found = summary(&accepted, &reached).to_vec();
    found.extend([accepted, reached]);
    found.extend(hold::held(&store.metadata, users, "spec.secrets[].storeRef"));
    let last = told.iter().filter_map(|(_, seen)| seen.reached_at).max();
    let last = last.and_then(|second| Timestamp::from_second(second).ok()).map(Time);
    McpSecretStoreStatus {
        observed_generation: generation,
        conditions: settle(&former.conditions, &found, generation, now),
        last_reached_time: last.max(former.last_reached_time.clone()),
        servers: hold::listed(users),
        server_count: i32::try_from(users.len()).ok(),
    }
}

fn accepted(store: &McpSecretStore, authorities: Option<&str>) -> Finding {
    match &store.spec.ca_bundle_ref {
        Some(reference) if authorities.is_none() => Finding::new(
            condition::ACCEPTED,
            Some(false),
            reasons::CA_NOT_FOUND,
            format!(
                "spec.caBundleRef names the ConfigMap {:?}, which does not exist or has no certificate under the key ca.crt: create it",
                reference.name
            ),
        ),
        _ => Finding::new(condition::ACCEPTED, Some(true), reasons::ACCEPTED, "the spec makes sense"),
    }
}

fn reached(users: &[String], told: &[(String, Seen)]) -> Finding {
    let finding = |status, reason, message: String| Finding::new(condition::REACHED, status, reason, message);
    let mut troubled: Vec<(&String, &SecretTrouble)> =
        told.iter().filter_map(|(server, seen)| Some((server, seen.trouble.as_ref()?))).collect();
    troubled.sort_by_key(|(_, trouble)| trouble.since);
    if let Some((_, trouble)) = troubled.first() {
        let reason = match trouble.kind {
            TroubleKind::Unavailable | TroubleKind::Unusable => reasons::STORE_UNAVAILABLE,
            TroubleKind::Refused => reasons::STORE_REFUSES,
            TroubleKind::NotFound => reasons::SECRET_NOT_IN_STORE,
        };
        let servers: Vec<String> = troubled.iter().map(|(server, _)| (*server).clone()).collect();
        let since = since(trouble);
        return finding(Some(false), reason, format!("{} ({}, since {since})", trouble.message, hold::names(&servers)));
    }
    if users.is_empty() {
        return finding(None, reasons::NOT_USED, "no server uses it, so nobody asks it".to_owned());
    }
    match told.iter().filter(|(_, seen)| seen.reached_at.is_some()).count() {
        0 => finding(None, reasons::PENDING, "no pod of a server has told yet".to_owned()),
        count => finding(Some(true), reasons::STORE_REACHED, format!("it answers the pods of {count} servers")),
    }
}

/// The moment from which a trouble lasts.
pub(crate) fn since(trouble: &SecretTrouble) -> String {
    Timestamp::from_second(trouble.since).map_or_else(|_| "long ago".to_owned(), |since| since.to_string())
}

/// The three that every kstatus reader knows. One that nobody uses is as ready as it can be.
fn summary(accepted: &Finding, reached: &Finding) -> [Finding; 3] {
    let why = if accepted.status == Some(true) { reached } else { accepted };
    let ready = accepted.status == Some(true) && (reached.status == Some(true) || reached.reason == reasons::NOT_USED);
    let reconciling = accepted.status == Some(true) && !ready;
    let state = |kind, on: bool| {
        let (reason, message) = if on { (why.reason, why.message.as_str()) } else { (reasons::SETTLED, "") };
        Finding::new(kind, Some(on), reason, message)
    };
    [
        Finding::new(condition::READY, Some(ready), why.reason, why.message.clone()),
        state(condition::RECONCILING, reconciling),
        state(condition::STALLED, accepted.status != Some(true)),
    ]
}

/// Whether a condition is worth an event: it says since now that something is wrong.
pub(super) fn is_news(former: &[Condition], now: &Condition) -> bool {
    let wrong = match now.type_.as_str() {
        condition::ACCEPTED | condition::REACHED => now.status == "False",
        condition::DELETION_HELD => now.status == "True",
        _ => false,
    };
    let before = former.iter().find(|former| former.type_ == now.type_);
    wrong && before.is_none_or(|before| (&before.status, &before.reason) != (&now.status, &now.reason))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn store() -> McpSecretStore {
        let vault = json!({"address": "https://vault.example", "kubernetes": {"role": "web"}});
        let spec = json!({"vault": vault});
        McpSecretStore::new("vault", serde_json::from_value(spec).unwrap())
    }

    fn report(reached_at: Option<i64>, trouble: Option<(&str, i64)>) -> ProxyReport {
        let trouble = trouble.map(
            |(kind, since)| json!({"kind": kind, "message": "the store is away: wait", "since": since, "stale": false}),
        );
        let stores = json!([{"name": "vault", "reachedAt": reached_at, "trouble": trouble}]);
        serde_json::from_value(json!({
            "generation": 1, "trustBundle": "", "leaf": {"serial": "", "notAfter": 0},
            "handshake": {"failed": {"message": ""}}, "secrets": {"secrets": [], "stores": stores},
        }))
        .unwrap()
    }

    fn of(reports: &[(&str, ProxyReport)], users: &[&str]) -> McpSecretStoreStatus {
        let told: Vec<_> = reports
            .iter()
            .map(|(server, report)| ((*server).to_owned(), told(std::iter::once(report))["vault"].clone()))
            .collect();
        let users: Vec<String> = users.iter().map(|user| (*user).to_owned()).collect();
        status(&store(), None, &users, &told, &Default::default(), Timestamp::UNIX_EPOCH)
    }

    fn word(status: &McpSecretStoreStatus, kind: &str) -> (String, String, String) {
        let found = status.conditions.iter().find(|found| found.type_ == kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }

    #[test]
    fn one_that_nobody_asks_is_ready_and_one_that_is_not_asked_yet_is_not() {
        let unused = of(&[], &[]);
        assert_eq!((&*word(&unused, "Ready").0, &*word(&unused, "Reached").0), ("True", "Unknown"));
        let awaited = of(&[], &["a"]);
        assert_eq!((&*word(&awaited, "Ready").0, &*word(&awaited, "Ready").1), ("False", "Pending"));
        assert_eq!(word(&awaited, "Reconciling").0, "True");
        let well = of(&[("a", report(Some(600), None)), ("b", report(Some(900), None))], &["a", "b"]);
        assert_eq!((&*word(&well, "Ready").0, &*word(&well, "Reached").1), ("True", "Answers"));
        assert_eq!(well.last_reached_time.clone().unwrap().0.as_second(), 900);
        // As after a start of the operator.
        let users = ["a".to_owned(), "b".to_owned()];
        assert_eq!(status(&store(), None, &users, &[], &well, Timestamp::UNIX_EPOCH), well);
    }

    #[test]
    fn the_longest_trouble_is_told_with_whom_it_keeps_waiting() {
        let status = of(
            &[
                ("a", report(Some(600), Some(("Refused", 300)))),
                ("b", report(None, Some(("Unavailable", 60)))),
                ("c", report(Some(900), None)),
            ],
            &["a", "b", "c"],
        );
        let (holds, reason, message) = word(&status, "Reached");
        assert_eq!((&*holds, &*reason), ("False", "StoreUnavailable"));
        assert!(message.contains("wait (b, a, since 1970-01-01T00:01:00Z)"), "{message}");
        assert_eq!(word(&status, "Stalled").0, "False");
    }

    #[test]
    fn of_the_pods_of_a_server_the_longest_trouble_and_the_last_answer_count() {
        let reports = [
            report(Some(600), Some(("Unavailable", 300))),
            report(Some(900), None),
            report(None, Some(("Refused", 60))),
            report(Some(300), Some(("NotFound", 200))),
        ];
        let seen = told(reports.iter())["vault"].clone();
        assert_eq!((seen.reached_at, seen.trouble.map(|trouble| trouble.since)), (Some(900), Some(60)));
    }

    #[test]
    fn authorities_that_are_not_there_are_named() {
        let mut store = store();
        store.spec.ca_bundle_ref = serde_json::from_value(json!({"name": "corp-ca"})).unwrap();
        let of = |authorities| status(&store, authorities, &[], &[], &Default::default(), Timestamp::UNIX_EPOCH);
        let (holds, reason, message) = word(&of(None), "Ready");
        assert_eq!((&*holds, &*reason), ("False", "CaNotFound"));
        assert!(message.contains("\"corp-ca\"") && message.contains("create it"), "{message}");
        assert_eq!(word(&of(None), "Stalled").0, "True");
        assert_eq!(word(&of(Some("pem")), "Ready").0, "True");
    }
}
