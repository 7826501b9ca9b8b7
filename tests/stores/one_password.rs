//! Items of 1Password Connect, by name and by id; and that the double is one to its official client.

use std::path::PathBuf;
use std::process::Command;

use cardea_contract::secrets::TroubleKind;
use cardea_tests::cluster::setting;
use serde_json::{Value, json};

use crate::bed::{Bed, connect_at, given, item, trouble, value};
use crate::connect::{Connect, FOREIGN, TOKEN, VAULT};

const API: &str = "itemaaaaaaaaaaaaaaaaaaaaaa";
const TWIN: &str = "itembbbbbbbbbbbbbbbbbbbbbb";

async fn with_api() -> Connect {
    let connect = Connect::start().await;
    connect.put(API, "GitHub \"API\"", 3, fields("first"));
    connect
}

fn fields(token: &str) -> Value {
    json!([
        {"id": "username", "type": "STRING", "purpose": "USERNAME", "label": "username", "value": "robot"},
        {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": token},
        {"id": "notesPlain", "type": "STRING", "purpose": "NOTES", "label": "notesPlain"},
        {"id": "f1", "type": "STRING", "label": "host", "value": "db.example", "section": {"id": "db"}},
        {"id": "f2", "type": "STRING", "label": "host", "value": "www.example", "section": {"id": "web"}},
    ])
}

#[tokio::test]
async fn an_item_is_found_by_name_and_by_id() {
    let connect = with_api().await;
    let bed = Bed::new(TOKEN);
    let store = given(bed.open(&connect_at(&connect.url)).await);
    for vault in ["Production", VAULT] {
        for title in ["GitHub \"API\"", API] {
            let reading = given(store.read(&item(vault, title)).await);
            assert_eq!(reading.version.as_deref(), Some("3"));
            assert_eq!(value(&reading, "username"), "robot");
            assert_eq!(value(&reading, "password"), "first");
            assert_eq!(value(&reading, "database.host"), "db.example");
            assert_eq!(value(&reading, "website.host"), "www.example");
            for absent in ["host", "notesPlain", "Password"] {
                let error = trouble(reading.values.value(Some(absent)));
                assert_eq!(error.kind, TroubleKind::NotFound);
                assert!(error.message.contains(&format!("{absent:?}")), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_new_version_is_told_without_its_values() {
    let connect = with_api().await;
    let bed = Bed::new(TOKEN);
    let store = given(bed.open(&connect_at(&connect.url)).await);
    let here = item("Production", "GitHub \"API\"");
    assert_eq!(given(store.version(&here).await).as_deref(), Some("3"));
    connect.put(API, "GitHub \"API\"", 4, fields("second"));
    assert_eq!(given(store.version(&here).await).as_deref(), Some("4"));
    assert!(!connect.asked().iter().any(|path| path.ends_with(API)), "values were read to learn of a version");
    let reading = given(store.read(&here).await);
    assert_eq!((value(&reading, "password").as_str(), reading.version.as_deref()), ("second", Some("4")));
    // By its id an item comes with its values only.
    assert_eq!(given(store.version(&item(VAULT, API)).await), None);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let connect = with_api().await;
    let bed = Bed::new(TOKEN);
    let store = given(bed.open(&connect_at(&connect.url)).await);
    for (vault, title, named) in [
        ("Nowhere", "GitHub \"API\"", "vault \"Nowhere\""),
        ("production", "GitHub \"API\"", "vault \"production\""),
        ("Production", "Nothing", "item \"Nothing\" of vault \"Production\""),
        ("Production", TWIN, TWIN),
        ("vaultcccccccccccccccccccccc", API, "vaultcccccccccccccccccccccc"),
    ] {
        let error = trouble(store.read(&item(vault, title)).await);
        assert_eq!(error.kind, TroubleKind::NotFound, "{error}");
        assert!(error.message.contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_name_that_fits_two_items_fits_none() {
    let connect = with_api().await;
    connect.put(TWIN, "GitHub \"API\"", 1, fields("canary"));
    let bed = Bed::new(TOKEN);
    let store = given(bed.open(&connect_at(&connect.url)).await);
    let here = item("Production", "GitHub \"API\"");
    for error in [trouble(store.version(&here).await), trouble(store.read(&here).await)] {
        assert_eq!(error.kind, TroubleKind::Unusable);
        assert!(error.message.contains("more than one") && error.message.contains("id"), "{error}");
    }
    assert_eq!(value(&given(store.read(&item("Production", TWIN)).await), "password"), "canary");
}

#[tokio::test]
async fn a_token_is_refused_where_it_has_no_rights_and_read_anew_for_each_question() {
    let connect = with_api().await;
    let bed = Bed::new("another.canary.token");
    let store = given(bed.open(&connect_at(&connect.url)).await);
    let error = trouble(store.read(&item("Production", API)).await);
    assert_eq!(error.kind, TroubleKind::Refused);
    assert!(error.message.contains("status 401") && error.message.contains("access token"), "{error}");
    assert!(!error.message.contains("canary"), "{error}");

    bed.write("token", TOKEN);
    given(store.read(&item("Production", API)).await);
    let error = trouble(store.read(&item(FOREIGN, API)).await);
    assert_eq!(error.kind, TroubleKind::Refused);
    assert!(error.message.contains("status 403") && error.message.contains("that vault"), "{error}");
}

#[tokio::test]
async fn the_official_client_takes_the_double_for_one() {
    let folder = setting("CARDEA_STORES_NODE").expect("CARDEA_STORES_NODE says where it is: run `make test-stores`");
    let folder = PathBuf::from(folder);
    let connect = Connect::start().await;
    connect.put(API, "GitHub API", 3, fields("first"));
    let url = connect.url.clone();
    let run = move || Command::new(folder.join("node")).arg(folder.join("connect.mjs")).args([&url, TOKEN]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["vaults"], json!([{"id": VAULT, "name": "Production"}]));
    assert_eq!(read["vaultByName"], VAULT);
    assert_eq!(read["listed"], json!([{"id": API, "title": "GitHub API", "version": 3}]));
    for how in ["byTitle", "byId"] {
        assert_eq!(read[how]["version"], 3, "{read}");
        assert_eq!(read[how]["fields"]["password"], "first");
        assert_eq!(read[how]["sections"], json!(["database", "website"]));
    }
    assert_eq!(read["refused"], 401);
    assert_eq!(read["foreign"], 403);
    assert_eq!(read["missing"], 404);
}
