//! What lies where, for whom, and what is refused.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;

use crate::bed::{Bed, eventually, file, mode, secret};

#[tokio::test]
async fn values_lie_in_files_that_only_the_group_reads() {
    let keys = json!([file("token"), {"key": "user", "to": {"env": "DB_USER"}}]);
    let bed = Bed::with(json!([secret("db", "app/db", &keys)])).await;
    bed.vault.put("app/db", json!({"token": "t-1", "user": "u-1", "other": "not asked for"}));
    // The volume's group, which a folder with this bit hands on.
    let volume = bed.path("secrets");
    std::os::unix::fs::chown(&volume, None, Some(4711)).unwrap();
    std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o2777)).unwrap();
    assert!(!bed.is_ready());
    let fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;

    let folder = bed.secret("db");
    assert_eq!(bed.value("db", "token").as_deref(), Some("t-1"));
    assert_eq!(bed.value("db", "..data/.env/DB_USER").as_deref(), Some("u-1"));
    assert_eq!(std::fs::read_link(folder.join("token")).unwrap(), Path::new("..data/token"));
    let version = folder.join(std::fs::read_link(folder.join("..data")).unwrap());
    for path in [folder.clone(), version.clone(), version.join(".env")] {
        assert_eq!(mode(&path), 0o2750, "{}", path.display());
        assert_eq!(std::fs::metadata(&path).unwrap().gid(), 4711);
    }
    for path in [version.join("token"), version.join(".env/DB_USER")] {
        assert_eq!(mode(&path), 0o440, "{}", path.display());
        assert_eq!(std::fs::metadata(&path).unwrap().gid(), 4711);
    }
    let mut lie: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    lie.sort();
    assert_eq!(lie, ["..data", "..v-1", "token"]);

    let reported = bed.reported("db");
    assert_eq!((reported.version.as_deref(), reported.rotated, reported.trouble), (Some("1"), false, None));
    assert!(reported.delivered_at.is_some() && bed.report().stores[0].reached_at.is_some());
    fetcher.stop().await;
    assert_eq!(bed.value("db", "token").as_deref(), Some("t-1"), "what was delivered stays");
}

#[tokio::test]
async fn for_the_same_user_nobody_else_reads() {
    let mut bed = Bed::with(json!([secret("db", "db", &json!([file("token")]))])).await;
    bed.edit(|config| config["sameUser"] = json!(true));
    bed.vault.put("db", json!({"token": "t-1"}));
    let _fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    assert_eq!(mode(&bed.secret("db")), 0o700);
    assert_eq!(mode(&bed.secret("db").join("..v-1/token")), 0o400);
}

#[tokio::test]
async fn no_core_of_it_is_written() {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("token")]))])).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    let fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", fetcher.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
}

#[tokio::test]
async fn values_on_a_disk_are_refused() {
    let elsewhere = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bed = Bed::in_folder(json!([secret("db", "db", &json!([file("token")]))]), elsewhere).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    assert!(!bed.start().ended().await);
    assert!(bed.log().contains("is not in memory: mount a volume there"), "{}", bed.log());
    assert_eq!(bed.vault.asked(""), 0, "nothing is fetched that cannot be kept");
}

#[tokio::test]
async fn a_name_that_climbs_out_of_its_folder_is_refused() {
    let climbing = json!([{"key": "token", "to": {"file": "../../etc/passwd"}}]);
    let bed = Bed::with(json!([secret("db", "db", &climbing)])).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    assert!(!bed.start().ended().await);
    assert!(bed.log().contains("secret db: key token is to go to the file"), "{}", bed.log());
    assert_eq!(bed.vault.asked(""), 0);
}

#[tokio::test]
async fn a_secret_without_one_of_its_keys_is_not_delivered_in_part() {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("token"), file("missing")]))])).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    let _fetcher = bed.start();
    eventually("it is reported", || bed.reported("db").trouble.is_some()).await;
    let trouble = bed.reported("db").trouble.unwrap();
    assert!(trouble.message.contains("missing"), "{}", trouble.message);
    assert!(!bed.is_ready() && bed.value("db", "token").is_none());
    bed.vault.put("db", json!({"token": "t-1", "missing": "m-1"}));
    eventually("it is ready", || bed.is_ready()).await;
    assert_eq!(bed.value("db", "missing").as_deref(), Some("m-1"));
}

#[tokio::test]
async fn what_cannot_be_delivered_is_named() {
    let secrets = json!([
        secret("large", "large", &json!([file("token")])),
        secret("nul", "nul", &json!([{"key": "token", "to": {"env": "TOKEN"}}])),
    ]);
    let bed = Bed::with(secrets).await;
    bed.vault.put("large", json!({"token": "x".repeat((1 << 20) + 1)}));
    bed.vault.put("nul", json!({"token": "a\0b"}));
    let _fetcher = bed.start();
    eventually("both are reported", || bed.report().secrets.iter().filter(|it| it.trouble.is_some()).count() == 2)
        .await;
    let message = |name: &str| bed.reported(name).trouble.unwrap().message;
    assert!(message("nul").contains("environment variable TOKEN has a NUL"), "{}", message("nul"));
    assert!(!bed.is_ready());
}

#[tokio::test]
async fn those_who_ask_for_one_place_share_its_reads() {
    let secrets: Vec<_> = (0..10).map(|index| secret(&format!("s{index}"), "db", &json!([file("token")]))).collect();
    let bed = Bed::with(json!(secrets)).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    let _fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    let asked = bed.vault.asked("secret/metadata/");
    eventually("it is looked after", || bed.vault.asked("secret/metadata/") > asked + 2).await;
    assert_eq!(bed.vault.asked("secret/data/"), 1);
}

#[tokio::test]
async fn a_restart_takes_up_what_lies_there() {
    let bed = Bed::with(json!([secret("db", "db", &json!([file("token")]))])).await;
    bed.vault.put("db", json!({"token": "t-1"}));
    let fetcher = bed.start();
    eventually("it is ready", || bed.is_ready()).await;
    bed.vault.put("db", json!({"token": "t-2"}));
    eventually("it is rotated", || bed.reported("db").rotated).await;
    let before = bed.reported("db");
    fetcher.kill();
    // What an end in the middle leaves behind.
    std::fs::create_dir(bed.secret("db").join("..v-3")).unwrap();
    std::fs::write(bed.secret("db").join("..v-3/token"), "half").unwrap();
    std::os::unix::fs::symlink("..v-3", bed.secret("db").join("..half")).unwrap();

    let fetcher = bed.start();
    let asked = bed.vault.asked("secret/metadata/");
    eventually("it looks after it again", || bed.vault.asked("secret/metadata/") > asked).await;
    assert_eq!(bed.reported("db"), before);
    assert_eq!(std::fs::read_link(bed.secret("db").join("..data")).unwrap(), Path::new("..v-2"));
    assert!(!bed.secret("db").join("..v-3").exists() && !bed.secret("db").join("..half").exists());
    assert!(bed.secret("db").join("..v-1").exists(), "the one before stays");
    fetcher.kill();

    // Memory that is gone is not taken for delivered, whatever an old report says.
    std::fs::remove_dir_all(bed.secret("db")).unwrap();
    assert!(!bed.is_ready());
}
