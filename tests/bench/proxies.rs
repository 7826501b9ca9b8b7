//! The proxy's figures: how soon it is ready, and what it holds while idle.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use cardea_contract as contract;
use cardea_pki::{Authority, LeafRequest, SpiffeId, TrustDomain};
use cardea_tests::cluster::{http_get, setting};
use cardea_tests::operator::binary;
use jiff::{SignedDuration, Timestamp};

use crate::bench;
use cardea_tests::process::{median, rss_mib};

pub(crate) async fn run() -> anyhow::Result<()> {
    let folder =
        std::path::Path::new(&setting("CARDEA_CLUSTER_DIR").context("run under the cluster launcher")?).join("proxy");
    write_files(&folder)?;
    let mut starts = Vec::new();
    let mut rss = Vec::new();
    for round in 0..5_u16 {
        let admin = format!("127.0.0.1:{}", 19090 + round);
        let started = Instant::now();
        let mut proxy = Command::new(binary("cardea-proxy")?)
            .arg("--config-file")
            .arg(folder.join("proxy.json"))
            .arg("--tls-dir")
            .arg(folder.join("tls"))
            .arg("--trust-dir")
            .arg(folder.join("trust"))
            .args(["--listen", &format!("127.0.0.1:{}", 18443 + round), "--admin-listen", &admin])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start cardea-proxy: build it first")?;
        loop {
            if http_get(&admin, "/healthz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                break;
            }
            anyhow::ensure!(proxy.try_wait()?.is_none(), "cardea-proxy ended");
        }
        starts.push(started.elapsed().as_secs_f64() * 1000.0);
        rss.push(rss_mib(proxy.id())?);
        proxy.kill()?;
        proxy.wait()?;
    }
    bench("proxy_start_to_ready", median(starts), "ms");
    bench("proxy_rss_idle", median(rss), "MiB");
    Ok(())
}

fn write_files(folder: &std::path::Path) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let trust_domain = TrustDomain::parse("cluster.local")?;
    let authority = Authority::create(&trust_domain, now)?;
    let leaf = authority.issue(
        &LeafRequest {
            dns_names: vec!["web.demo.svc".into()],
            spiffe_id: SpiffeId::new(trust_domain, "demo", "web"),
            lifetime: SignedDuration::from_hours(1),
        },
        now,
    )?;
    for part in ["tls", "trust"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    std::fs::write(folder.join("tls/tls.crt"), &leaf.certificate_pem)?;
    std::fs::write(folder.join("tls/tls.key"), leaf.key_pem.as_bytes())?;
    std::fs::write(folder.join("trust/ca.crt"), authority.certificate_pem())?;
    let config = contract::ProxyConfig {
        generation: 1,
        namespace: "demo".into(),
        name: "web".into(),
        resource: "https://web.demo.svc/mcp".into(),
        hosts: vec!["web.demo.svc".into()],
        trust_domain: "cluster.local".into(),
        operator: "spiffe://cluster.local/ns/cardea-system/sa/cardea-operator".into(),
        upstream: contract::Upstream {
            listens: contract::Listens::Port(8080),
            path: "/mcp".into(),
            transport: contract::Transport::StreamableHttp,
        },
        identity_headers: None,
        client_auth: contract::ClientAuth::Required,
        authentication: contract::Authentication { client_certificates: true, ..Default::default() },
        rules: vec![],
        policies: Default::default(),
        pinning: None,
        limits: contract::Limits {
            max_body_bytes: 1024 * 1024,
            request_seconds: 60,
            concurrent: 256,
            concurrent_per_principal: None,
            streams_per_principal: None,
            stream_idle_seconds: None,
            rate: contract::Rates::default(),
        },
        audit: contract::AuditLevel::Decisions,
        redact: contract::Redact::default(),
    };
    std::fs::write(folder.join("proxy.json"), serde_json::to_vec(&config)?)?;
    Ok(())
}
