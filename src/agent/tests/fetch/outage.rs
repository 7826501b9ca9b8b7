//! A store that is down, says no or says nonsense: nothing starts without its secrets, nothing that runs loses them.

use cardea_contract::secrets::TroubleKind;
use serde_json::json;

use crate::bed::{Bed, eventually, file, secret};
use crate::vault::Mood;

async fn one() -> Bed {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("token")]))])).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    bed
}

#[tokio::test]
async fn nothing_starts_without_its_secrets_and_all_is_well_when_the_store_is_back() {
    let bed = one().await;
    bed.vault.set(Mood::Sealed);
    let _fetcher = bed.start();
    eventually("it is reported", || bed.reported("db").trouble.is_some()).await;
    let trouble = bed.reported("db").trouble.unwrap();
    assert_eq!((trouble.kind, trouble.stale), (TroubleKind::Unavailable, false));
    assert!(trouble.message.contains("503"), "{}", trouble.message);
    assert_eq!(bed.report().stores[0].reached_at, None);
    assert_eq!(bed.report().stores[0].trouble.as_ref().map(|trouble| trouble.kind), Some(TroubleKind::Unavailable));
    let said = bed.run("ready", &[]);
    assert!(!said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with("1 of 1 secrets are not there: db: ") && said.contains("503"), "{said}");
    let asked = bed.vault.asked("");
    eventually("it is tried again", || bed.vault.asked("") > asked + 1).await;
    assert!(!bed.is_ready() && !bed.secret("db").join("..data").exists());
    bed.vault.set(Mood::Well);
    eventually("it is ready", || bed.is_ready()).await;
    eventually("all is well", || bed.reported("db").trouble.is_none()).await;
    assert!(bed.report().stores[0].trouble.is_none() && bed.report().stores[0].reached_at.is_some());
}

#[tokio::test]
async fn what_runs_keeps_its_values_through_every_kind_of_no() {
    for (mood, kind) in [
        (Mood::Sealed, TroubleKind::Unavailable),
        (Mood::Page, TroubleKind::Unusable),
        (Mood::Refusing, TroubleKind::Refused),
        (Mood::Empty, TroubleKind::NotFound),
    ] {
        let mut bed = one().await;
        bed.edit(|config| config["secrets"][0]["maxStalenessSeconds"] = json!(2));
        let fetcher = bed.start();
        eventually("it is ready", || bed.is_ready()).await;
        let before = bed.reported("db");
        bed.vault.set(mood);
        bed.vault.put("db", json!({"token": "t-2"}));
        eventually("it is reported", || bed.reported("db").trouble.is_some()).await;
        let trouble = bed.reported("db").trouble.unwrap();
        assert_eq!(trouble.kind, kind, "{}", trouble.message);
        assert!(!trouble.message.contains("leaked-by-the-store"), "{}", trouble.message);
        eventually("it is stale", || bed.reported("db").trouble.is_some_and(|trouble| trouble.stale)).await;
        assert_eq!(bed.reported("db").trouble.unwrap().since, trouble.since);
        assert_eq!(bed.reported("db").version, before.version);
        assert_eq!(bed.value("db", "token").as_deref(), Some("t-1"), "nothing is taken away");
        assert!(bed.is_ready(), "what has started goes on");

        // A fetcher that starts anew meanwhile takes nothing away either.
        fetcher.kill();
        let asked = bed.vault.asked("");
        let _fetcher = bed.start();
        eventually("it asks", || bed.vault.asked("") > asked).await;
        assert!(bed.is_ready());
        assert_eq!(bed.reported("db").trouble.unwrap().since, trouble.since);

        bed.vault.set(Mood::Well);
        eventually("it is rotated", || bed.value("db", "token").as_deref() == Some("t-2")).await;
        eventually("all is well", || bed.reported("db").trouble.is_none()).await;
        assert_eq!(bed.reported("db").version.as_deref(), Some("2"));
        assert!(bed.reported("db").rotated);
    }
}

#[tokio::test]
async fn an_identity_that_is_not_mounted_yet_is_waited_for() {
    let bed = one().await;
    let token = bed.path("stores/vault/token");
    std::fs::rename(&token, bed.path("token")).unwrap();
    let _fetcher = bed.start();
    eventually("it is reported", || bed.reported("db").trouble.is_some()).await;
    std::fs::rename(bed.path("token"), &token).unwrap();
    eventually("it is ready", || bed.is_ready()).await;
}
