//! `cardea-agent check`: whether secrets can be had, without a word of what they are.

use serde_json::{Value, json};

use crate::bed::{Bed, file, secret};
use crate::vault::Mood;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_secret_is_told_of() {
    let secrets = json!([
        secret("there", "there", &json!([file("token")])),
        secret("gone", "gone", &json!([file("token")])),
        secret("keyless", "there", &json!([file("other")])),
    ]);
    let bed = Bed::with(secrets).await;
    bed.vault.put("there", json!({"token": "canary-value"}));
    let checked = bed.run("check", &["-o", "json"]);
    assert!(!checked.status.success());
    let findings: Vec<Value> = serde_json::from_slice(&checked.stdout).unwrap();
    let told: Vec<_> = findings
        .iter()
        .map(|it| (it["secret"].as_str().unwrap(), it["readable"].as_bool().unwrap(), it["trouble"].as_str()))
        .collect();
    let expected = [("there", true, None), ("gone", false, Some("NotFound")), ("keyless", false, Some("NotFound"))];
    assert_eq!(told, expected);
    assert_eq!(findings[0]["version"], "1");
    assert!(findings[2]["message"].as_str().unwrap().contains("other"));
    assert_eq!(bed.vault.asked("secret/data/there"), 1, "one read for all who ask for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_says_whether_all_is_well() {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("token")]))])).await;
    bed.vault.put("db", json!({"token": "canary-value"}));
    let well = bed.run("check", &[]);
    assert_eq!(String::from_utf8(well.stdout).unwrap(), "db\tvault\tyes, version 1\n");
    assert!(well.status.success());
    bed.vault.set(Mood::Sealed);
    let down = bed.run("check", &[]);
    assert!(!down.status.success());
    let said = String::from_utf8(down.stdout).unwrap();
    assert!(said.starts_with("db\tvault\tno answer, ") && said.contains("503"), "{said}");
    bed.vault.set(Mood::Refusing);
    let said = String::from_utf8(bed.run("check", &[]).stdout).unwrap();
    assert!(said.starts_with("db\tvault\tno, ") && said.contains("403"), "{said}");
}
