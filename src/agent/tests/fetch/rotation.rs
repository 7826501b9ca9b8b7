//! A new version is in force for all files of a secret at once, and the one before it stays while it is in use.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::bed::{Bed, eventually, file, secret};

/// Reads all files of a secret through its link, over and over, as a server does; panics on a mix or on nothing.
fn read_until(done: Arc<AtomicBool>, folder: PathBuf, read: Arc<AtomicUsize>) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        while !done.load(Ordering::Relaxed) {
            // A link that is followed once leads to one version, which stays after the next one came.
            let version = folder.join(std::fs::read_link(folder.join("..data")).unwrap());
            let files = ["a", "b", "c", ".env/D"].map(|file| std::fs::read_to_string(version.join(file)).unwrap());
            assert!(files.iter().all(|value| *value == files[0]), "{files:?}");
            // And by its plain name each is always there.
            assert!(!std::fs::read_to_string(folder.join("a")).unwrap().is_empty());
            seen.insert(files[0].clone());
            read.fetch_add(1, Ordering::Relaxed);
        }
        seen.len()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_the_old_version_or_the_new_one_whole() {
    let keys = json!([file("a"), file("b"), file("c"), {"key": "d", "to": {"env": "D"}}]);
    let bed = Bed::with(json!([secret("db", "db", &keys)])).await;
    let put = |round: usize| {
        let value = format!("value-{round}-{}", "x".repeat(10_000));
        bed.vault.put("db", json!({"a": value, "b": value, "c": value, "d": value}));
    };
    put(0);
    let fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    let (done, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reader = read_until(done.clone(), bed.secret("db"), read.clone());
    for round in 1..=20 {
        put(round);
        let version = (round + 1).to_string();
        eventually("the new version is in force", || {
            assert!(!reader.is_finished(), "the reader saw a mix or nothing");
            bed.reported("db").version.as_deref() == Some(&version)
        })
        .await;
        let before = read.load(Ordering::Relaxed);
        eventually("it is read", || read.load(Ordering::Relaxed) > before + 1 || reader.is_finished()).await;
    }
    done.store(true, Ordering::Relaxed);
    assert_eq!(reader.join().unwrap(), 21, "each version was seen");
    assert_eq!(bed.vault.asked("secret/data/"), 21, "each version was read once");
    let mut versions: Vec<_> = std::fs::read_dir(bed.secret("db"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("..v-"))
        .collect();
    versions.sort();
    assert_eq!(versions, ["..v-20", "..v-21"], "the one before stays, and no older one");
    fetcher.stop().await;
}

#[tokio::test]
async fn equal_values_are_no_rotation() {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("a")]))])).await;
    bed.vault.put("db", json!({"a": "same", "b": "other"}));
    let _fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    bed.vault.put("db", json!({"a": "same", "b": "changed, and nobody asks for it"}));
    eventually("the version is told", || bed.reported("db").version.as_deref() == Some("2")).await;
    assert!(!bed.reported("db").rotated);
    assert!(!bed.secret("db").join("..v-2").exists());
}

#[tokio::test]
async fn where_the_store_has_no_versions_a_code_tells_them() {
    let plain = |name: &str| {
        let mut plain = secret(name, "db", &json!([file("a")]));
        plain["at"]["vault"]["engine"] = json!("KvV1");
        plain["at"]["vault"]["mount"] = json!("plain");
        plain
    };
    let bed = Bed::with(json!([plain("one"), plain("other")])).await;
    bed.vault.put("db", json!({"a": "1"}));
    let _fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    let first = bed.reported("one").version.unwrap();
    assert!(first.len() == 21 && first.starts_with("hmac:"), "{first}");
    assert_eq!(bed.reported("other").version.as_ref(), Some(&first));
    bed.vault.put("db", json!({"a": "2"}));
    eventually("it is rotated", || bed.reported("one").rotated && bed.reported("other").rotated).await;
    assert_ne!(bed.reported("one").version.as_ref(), Some(&first));
    assert_eq!(bed.value("one", "a").as_deref(), Some("2"));
    bed.vault.put("db", json!({"a": "1"}));
    eventually("equal values have equal codes", || bed.reported("one").version.as_ref() == Some(&first)).await;
}
