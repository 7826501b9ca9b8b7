//! Nothing of a value, of the pod's identity or of the store's token in anything that the fetcher writes but the files.

use serde_json::json;

use crate::bed::{Bed, IDENTITY, eventually, file, secret};
use crate::leaks::find;
use crate::vault::Mood;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_is_said_anywhere() {
    let canaries = ["canary-one/+ \"9e41\"", "canary-two-9e42-ü", "canary-three-9e43", "canary-four-9e44"];
    let keys = json!([file("token"), {"key": "user", "to": {"env": "DB_USER"}}]);
    let bed = Bed::with(json!([
        secret("db", "db", &keys),
        secret("bad", "bad", &keys),
        secret("gone", "gone", &json!([file("token")])),
    ]))
    .await;
    bed.vault.put("db", json!({"token": canaries[0], "user": canaries[1]}));
    // One that cannot be delivered.
    bed.vault.put("bad", json!({"token": canaries[2], "user": format!("{}\0", canaries[3])}));
    let fetcher = bed.start();
    eventually("both are told of", || bed.reported("db").version.is_some() && bed.reported("bad").trouble.is_some())
        .await;
    for mood in [Mood::Sealed, Mood::Page, Mood::Refusing, Mood::Empty] {
        bed.vault.set(mood);
        let asked = bed.vault.asked("");
        eventually("it is asked", || bed.vault.asked("") > asked + 3).await;
    }
    bed.vault.set(Mood::Well);
    bed.vault.put("db", json!({"token": canaries[2], "user": canaries[3]}));
    eventually("it is rotated", || bed.value("db", "token").as_deref() == Some(canaries[2])).await;
    eventually("it is reported", || bed.reported("db").rotated).await;

    let mut said =
        vec![("log", bed.log()), ("report", std::fs::read_to_string(bed.path("report/secrets.json")).unwrap())];
    for (name, arguments) in [("ready", &[][..]), ("check", &[]), ("check", &["-o", "json"])] {
        let output = bed.run(name, arguments);
        said.push((name, String::from_utf8([output.stdout, output.stderr].concat()).unwrap()));
    }
    let process = format!("/proc/{}", fetcher.id());
    said.push(("command line", std::fs::read_to_string(format!("{process}/cmdline")).unwrap()));
    said.push(("environment", std::fs::read_to_string(format!("{process}/environ")).unwrap()));
    fetcher.stop().await;
    assert!(bed.log().contains(r#""message":"delivered""#), "something is logged: {}", bed.log());
    for (what, text) in said {
        for value in canaries.into_iter().chain([IDENTITY, "hvs.canary-token", "leaked-by-the-store"]) {
            assert_eq!(find(value, &text), None, "{value} in the {what}: {text}");
        }
    }
}
