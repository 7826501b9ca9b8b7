//! The arrows and promises of ARCHITECTURE.md that a compiler does not keep by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Packages that a room links, dependencies of dependencies included.
fn links(room: &str) -> Vec<String> {
    links_with(room, &[])
}

/// The same with further arguments of cargo.
fn links_with(room: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", room, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The source files of a room, tests left out.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text.split("#[cfg(test)]").next().unwrap().to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join("src").join(room).join("src"), &mut found);
    found
}

const ROOMS: [&str; 9] = ["api", "contract", "policy", "pki", "proxy", "secrets", "agent", "operator", "cli"];

#[test]
fn rooms_know_only_the_rooms_below_them() {
    for (room, below) in [
        ("api", &[][..]),
        ("contract", &[]),
        ("policy", &["contract"]),
        ("pki", &[]),
        ("proxy", &["contract", "policy"]),
        ("secrets", &["contract"]),
        ("agent", &["contract", "policy", "secrets"]),
        ("operator", &["api", "contract", "policy", "pki"]),
        ("cli", &["api", "contract", "policy", "pki", "proxy", "operator", "agent", "secrets"]),
    ] {
        let linked = links(&format!("cardea-{room}"));
        for other in ROOMS.iter().filter(|other| **other != room && !below.contains(other)) {
            assert!(!linked.contains(&format!("cardea-{other}")), "{room} must not know {other}");
        }
    }
}

#[test]
fn what_runs_in_pods_knows_nothing_of_kubernetes() {
    for room in ["cardea-proxy", "cardea-agent", "cardea-secrets"] {
        let linked = links_with(room, &["--all-features"]);
        for package in ["kube", "kube-client", "kube-core", "k8s-openapi"] {
            assert!(!linked.iter().any(|linked| linked == package), "{room} links {package}");
        }
    }
}

#[test]
fn certificates_are_made_in_one_room() {
    for room in ROOMS.iter().filter(|room| **room != "pki") {
        for (path, text) in sources(room) {
            assert!(!text.contains("rcgen"), "{}", path.display());
        }
    }
    assert!(links("cardea-pki").contains(&"rcgen".to_owned()));
    assert!(!links("cardea-proxy").contains(&"rcgen".to_owned()));
}

#[test]
fn there_is_one_tls_provider_and_it_is_not_openssl() {
    for room in ["cardea-operator", "cardea-proxy", "cardea-cli", "cardea-agent"] {
        let linked = links_with(room, &["--all-features"]);
        for package in ["ring", "openssl", "openssl-sys", "native-tls"] {
            assert!(!linked.iter().any(|linked| linked == package), "{room} links {package}");
        }
        assert!(linked.contains(&"aws-lc-rs".to_owned()));
    }
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    let build: Vec<_> = sources("operator")
        .into_iter()
        .filter(|(path, _)| {
            ["build.rs", "validate.rs", "material.rs", "status.rs", "ownership.rs"]
                .iter()
                .any(|file| path.ends_with(file))
                || path.components().any(|part| part.as_os_str() == "build" || part.as_os_str() == "validate")
        })
        .collect();
    assert!(build.len() >= 8);
    let pure = ["api", "contract", "policy", "pki"].into_iter().flat_map(sources).chain(build);
    for (path, text) in pure {
        for banned in [
            "std::fs",
            "std::net::Tcp",
            "std::env",
            "tokio::",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "Zoned::now",
            "kube::Client",
            "async fn",
            "println!",
        ] {
            assert!(!text.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

#[test]
fn a_client_of_the_api_server_is_used_by_the_operator_and_for_questions_of_the_cli() {
    for room in ROOMS.iter().filter(|room| **room != "operator") {
        for (path, text) in sources(room).into_iter().filter(|(path, _)| !path.ends_with("cli/src/cluster.rs")) {
            let imports = text.split(';').filter(|statement| statement.trim_start().starts_with("use kube::"));
            let mut words = imports.flat_map(|import| import.split(|letter: char| !letter.is_alphanumeric()));
            let talks = text.contains("kube::Client") || words.any(|word| ["Api", "Client", "client"].contains(&word));
            assert!(!talks && !text.contains("kube_client"), "{}", path.display());
        }
    }
}

#[test]
fn a_reconcile_neither_sleeps_nor_talks_to_anything_but_the_api_server() {
    for (path, text) in sources("operator") {
        let step = ["observe.rs", "validate.rs", "material.rs", "build.rs", "apply.rs", "status.rs", "controller.rs"];
        if step.iter().any(|file| path.ends_with(file)) {
            for banned in ["sleep(", "TcpStream", "hyper::", "reqwest"] {
                assert!(!text.contains(banned), "{} uses {banned}", path.display());
            }
        }
    }
}

#[test]
fn only_policy_makes_a_permit() {
    for room in ROOMS.iter().filter(|room| **room != "policy") {
        for (path, text) in sources(room) {
            assert!(!text.contains("Permit::by") && !text.contains("Permit {"), "{}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for room in ROOMS {
        for (path, text) in sources(room) {
            assert!(text.starts_with("//!"), "{} has no header", path.display());
        }
    }
}

#[test]
fn nothing_that_holds_a_key_can_be_printed() {
    for file in ["pki/src/authority.rs", "pki/src/leaf.rs"] {
        let text = std::fs::read_to_string(root().join("src").join(file)).unwrap();
        for holder in ["pub struct Authority", "pub struct Leaf {"] {
            if let Some(before) = text.split(holder).next().filter(|before| before.len() < text.len()) {
                let attributes: Vec<&str> =
                    before.lines().rev().take_while(|line| line.starts_with(['#', '/'])).collect();
                assert!(
                    !attributes.iter().any(|line| line.contains("Debug") && line.starts_with('#')),
                    "{file}: {holder}"
                );
            }
        }
    }
}

#[test]
fn what_only_a_feature_needs_is_not_linked_without_it() {
    let linked = links("cardea-proxy");
    for package in ["opentelemetry", "opentelemetry-proto", "opentelemetry_sdk", "prost", "tonic"] {
        assert!(!linked.iter().any(|name| name == package), "{package}");
    }
}
