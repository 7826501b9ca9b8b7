//! What changes while the proxy runs: rules, certificates, trust, and files that are no good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::{Authority, Client, World, eventually, message, tool_call};

/// Serial of the certificate that a new connection sees.
async fn serial(client: &Client) -> String {
    let stream = client.connect().await.unwrap();
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    X509Certificate::from_der(leaf).unwrap().1.raw_serial_as_string()
}

#[tokio::test]
async fn rules_change_whole_and_at_once() {
    let world = World::start().await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    let mut config = world.config.clone();
    config["generation"] = json!(2);
    config["rules"] = json!([]);
    world.write_config(&config.to_string());
    eventually("generation 2", async || world.report().await["generation"] == 2).await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 403);
    assert_eq!(world.last_line()["generation"], 2);
}

#[tokio::test]
async fn what_is_no_good_from_the_start_ends_the_start() {
    let world = World::start().await;
    let start = async |collector: Option<&str>| {
        let settings = cardea_proxy::Settings {
            config_file: world.folder.join("config/proxy.json"),
            tls_dir: world.folder.join("tls"),
            trust_dir: world.folder.join("trust"),
            listen: ([127, 0, 0, 1], 0).into(),
            admin_listen: ([127, 0, 0, 1], 0).into(),
            otlp_endpoint: collector.map(str::to_owned),
            ..Default::default()
        };
        let shutdown = tokio_util::sync::CancellationToken::new();
        let ended = shutdown.clone();
        cardea_proxy::run(settings, shutdown, move |_| ended.cancel()).await
    };
    start(None).await.unwrap();
    // No URL of a collector, and in a build that sends no spans none at all.
    assert!(matches!(start(Some("ftp://collector.test")).await, Err(cardea_proxy::StartError::Spans(_))));
    world.write("config", "proxy.json", "{}");
    assert!(matches!(start(None).await, Err(cardea_proxy::StartError::Config(_))));
    world.write_config(&world.config.to_string());
    world.write("trust", "ca.crt", &Authority::new("other").pem);
    assert!(matches!(start(None).await, Err(cardea_proxy::StartError::Tls(_))));
}

#[tokio::test]
async fn a_configuration_that_is_no_good_keeps_the_former_and_is_named() {
    let world = World::start().await;
    let mut rules = world.config.clone();
    rules["generation"] = json!(2);
    rules["rules"] = json!([{"name": "broken", "effect": "Allow", "principals": [], "tools": ["*"]}]);
    let mut unknown = world.config.clone();
    unknown["surprise"] = json!(true);
    for (text, expected) in [
        (rules.to_string(), "\"broken\": principals: nobody is named"),
        (unknown.to_string(), "unknown field `surprise`"),
        ("{".to_owned(), "not a proxy configuration"),
        (String::new(), "not a proxy configuration"),
    ] {
        world.write_config(&text);
        eventually(expected, async || {
            world.report().await["rejectedConfig"].as_str().is_some_and(|reason| reason.contains(expected))
        })
        .await;
        assert_eq!(world.report().await["generation"], 1);
        assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    }
    std::fs::remove_file(world.folder.join("config/proxy.json")).unwrap();
    eventually("the file is missed", async || {
        world.report().await["rejectedConfig"].as_str().is_some_and(|reason| reason.contains("cannot be read"))
    })
    .await;
    assert_eq!(world.alice(tool_call("echo", json!({}))).await.status, 200);
    // The very file that was in force before is good again.
    world.write_config(&world.config.to_string());
    eventually("all is well", async || world.report().await.get("rejectedConfig").is_none()).await;
    // And so it is when it comes back after it was away.
    std::fs::remove_file(world.folder.join("config/proxy.json")).unwrap();
    eventually("the file is missed", async || world.report().await.get("rejectedConfig").is_some()).await;
    world.write_config(&world.config.to_string());
    eventually("all is well", async || world.report().await.get("rejectedConfig").is_none()).await;
    let metrics = String::from_utf8(world.admin("/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("cardea_proxy_config_reloads_total{outcome=\"Failed\"}"), "{metrics}");
}

#[tokio::test]
async fn a_mounted_folder_is_followed_when_kubelet_swaps_its_link() {
    let world = World::watching().await;
    let folder = world.folder.join("config");
    let version = |name: &str, generation: u64| {
        let mut config = world.config.clone();
        config["generation"] = json!(generation);
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("proxy.json"), config.to_string()).unwrap();
        std::os::unix::fs::symlink(name, folder.join("..data.new")).unwrap();
        std::fs::rename(folder.join("..data.new"), folder.join("..data")).unwrap();
    };
    version("..one", 2);
    std::os::unix::fs::symlink("..data/proxy.json", folder.join("link")).unwrap();
    std::fs::rename(folder.join("link"), folder.join("proxy.json")).unwrap();
    eventually("generation 2", async || world.report().await["generation"] == 2).await;
    version("..two", 3);
    eventually("generation 3", async || world.report().await["generation"] == 3).await;
    world.write_leaf(&world.authority.sign(0x33, "proxy", &["mcp.test"]));
    eventually("the new leaf is served", async || serial(&world.anonymous()).await == "33").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leaf_under_load_costs_no_request() {
    let world = Arc::new(World::start().await);
    let (stop, done, failed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers = Vec::new();
    for number in 0..8 {
        let (world, stop, done, failed) = (world.clone(), stop.clone(), done.clone(), failed.clone());
        callers.push(tokio::spawn(async move {
            let client = world.anonymous();
            let mut kept = client.http1().await;
            while !stop.load(Ordering::Relaxed) {
                let request = world.as_alice(tool_call("echo", json!({})));
                // Half on one connection for all, half on a new connection each.
                let answer = if number % 2 == 0 {
                    kept.ready().await.unwrap();
                    kept.send_request(request).await
                } else {
                    client.http1().await.send_request(request).await
                };
                let ok = match answer {
                    Ok(answer) => crate::support::Answer::of(answer).await.status == 200,
                    Err(_) => false,
                };
                if ok { &done } else { &failed }.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let client = world.anonymous();
    assert_eq!(serial(&client).await, "0a:bc");
    for round in 1..=5 {
        let before = done.load(Ordering::Relaxed);
        eventually("requests are served", async || done.load(Ordering::Relaxed) > before + 20).await;
        world.write_leaf(&world.authority.sign(round, "proxy", &["mcp.test"]));
        let expected = format!("{round:02x}");
        eventually("the new leaf is served", async || serial(&client).await == expected).await;
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", done.load(Ordering::Relaxed));
    assert_eq!(world.report().await["leaf"]["serial"], "05");
}

#[tokio::test]
async fn a_certificate_that_is_no_good_keeps_the_former() {
    let world = World::start().await;
    let client = world.anonymous();
    let good = world.authority.sign(0x77, "proxy", &["mcp.test"]);
    let mismatched = world.authority.sign(0x78, "proxy", &["mcp.test"]);
    let foreign = Authority::new("stranger").sign(0x79, "proxy", &["mcp.test"]);
    let failures = async || {
        let metrics = String::from_utf8(world.admin("/metrics").await.body.to_vec()).unwrap();
        let line = metrics.lines().find(|line| line.starts_with("cardea_proxy_tls_reloads_total{outcome=\"Failed\"}"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    for (what, key, chain) in [
        ("another's key", &good.key, &mismatched.chain),
        ("a chain that leads elsewhere", &foreign.key, &foreign.chain),
        ("no PEM", &good.key, &"nothing".to_owned()),
    ] {
        let before = failures().await;
        world.write("tls", "tls.key", key);
        world.write("tls", "tls.crt", chain);
        eventually(what, async || failures().await > before).await;
        assert_eq!(serial(&client).await, "0a:bc", "{what}");
    }
    world.write_leaf(&good);
    eventually("the good one is served", async || serial(&client).await == "77").await;
}

#[tokio::test]
async fn an_authority_is_replaced_without_a_gap() {
    let world = World::start().await;
    let next = Authority::new("cluster.local");
    let both = Client::new(world.bound.proxy, &[&world.authority, &next], None, "http/1.1");
    let old_agent = world.bearing(&world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/b"]));
    let list = || message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);

    // A leaf of the next authority before it is in the bundle: refused, and served as soon as it is.
    world.write_leaf(&next.sign(2, "proxy", &["mcp.test"]));
    world.write("trust", "ca.crt", &format!("{}{}", world.authority.pem, next.pem));
    eventually("the next authority's leaf is served", async || serial(&both).await == "02").await;
    let old_agent_now = Client::new(
        world.bound.proxy,
        &[&next],
        Some(&world.authority.sign(1, "agent", &["spiffe://cluster.local/ns/a/sa/b"])),
        "http/1.1",
    );
    assert_eq!(old_agent_now.send(list()).await.status, 200);
    drop(old_agent);

    world.write("trust", "ca.crt", &next.pem);
    let digest = {
        use sha2::Digest;
        sha2::Sha256::digest(&next.pem).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let operator = Client::new(
        world.bound.proxy,
        &[&next],
        Some(&next.sign(3, "operator", &[crate::support::OPERATOR])),
        "http/1.1",
    );
    let request = || http::Request::get("/.cardea/status").header("host", "x").body(Default::default()).unwrap();
    eventually("the bundle is reported", async || {
        let answer = operator.send(request()).await;
        answer.status == 200 && answer.json()["trustBundle"] == digest
    })
    .await;
}
