//! The operator's figures.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::McpServer;
use cardea_operator::children::{Kind, SERVER_LABEL};
use cardea_operator::manifests;
use cardea_tests::audit::{AuditLog, Request};
use cardea_tests::cluster::{self, eventually};
use cardea_tests::operator::Operator;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use crate::{bench, kubelet, say};
use cardea_tests::process::{cpu_seconds, median, rss_mib};

const MANY: usize = 200;
const CHILDREN: usize = 7;
const SYSTEM: &str = "cardea-system";
const CROWD: &str = "crowd";
const SINGLE: &str = "single";
const FLOOR: &str = "floor";
const KINDS: [Kind; 6] =
    [Kind::ServiceAccount, Kind::NetworkPolicy, Kind::ConfigMap, Kind::Secret, Kind::Service, Kind::Deployment];

pub(crate) async fn run() -> anyhow::Result<()> {
    let client = cluster::client().await?;
    let log = AuditLog::from_env()?;
    for namespace in [SYSTEM, CROWD, SINGLE, FLOOR] {
        cluster::namespace(&client, namespace).await?;
    }
    install_crds(&client).await?;
    let operator = Operator::start(SYSTEM, "bench").await?;
    operator.leads().await?;
    tokio::spawn(kubelet::play(client.clone()));

    say("one server at a time, nothing else there");
    bench("operator_rss_idle", rss_mib(operator.id())?, "MiB");
    bench("apply_to_children_p50", median(singles(&client, &log, "alone", 11).await?), "ms");

    say("200 servers at once");
    let (mark, before) = (log.mark()?, cpu_seconds(operator.id())?);
    let took = burst(&client, &log).await?;
    let beyond = |requests: &[Request]| {
        let ours = requests.iter().filter(|request| request.is_operators() || is_event(request)).count();
        ours as f64 / MANY as f64 - CHILDREN as f64
    };
    bench("operator_cpu_burst_200", (cpu_seconds(operator.id())? - before) * 1000.0, "ms");
    bench("burst_200_to_children", took.as_secs_f64() * 1000.0, "ms");
    bench("requests_per_server_beyond_children", beyond(&log.since(mark)?), "requests");
    eventually("every server's status says that nobody answers", async || settled(&client).await).await?;
    bench("requests_per_server_until_settled", beyond(&log.since(mark)?), "requests");
    bench("operator_rss_200", rss_mib(operator.id())?, "MiB");

    say("the same objects by a plain client, 16 at a time");
    let floor = floor(&client).await?;
    bench("floor_200", floor.as_secs_f64() * 1000.0, "ms");
    bench("burst_over_floor", took.as_secs_f64() / floor.as_secs_f64(), "x");

    say("one server at a time, beside 200 that never answer");
    bench("apply_to_children_beside_200_p50", median(singles(&client, &log, "beside", 11).await?), "ms");

    say("a minute in which nothing changes");
    let mark = log.mark()?;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let writes = log
        .since(mark)?
        .iter()
        .filter(|request| request.is_write() && request.is_operators() && request.namespace() == CROWD)
        .count();
    bench("writes_per_minute_200_unready", writes as f64, "writes");

    say("the operator starts again");
    operator.stop()?;
    let mark = log.mark()?;
    let started = Instant::now();
    let operator = Operator::start(SYSTEM, "again").await?;
    operator.leads().await?;
    let last = singles(&client, &log, "after", 1).await?;
    ensure!(last.len() == 1);
    let writes: Vec<Request> = log
        .since(mark)?
        .into_iter()
        .filter(|request| request.is_write() && request.is_operators() && request.namespace() == CROWD)
        .collect();
    bench("restart_to_next_server", started.elapsed().as_secs_f64() * 1000.0, "ms");
    bench("writes_after_restart_200", writes.len() as f64, "writes");
    bench("operator_rss_200_after_restart", rss_mib(operator.id())?, "MiB");
    operator.stop()
}

async fn install_crds(client: &Client) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    for (_, crd) in manifests::crds() {
        let name = crd.name_any();
        crds.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&crd)).await?;
        await_condition(crds.clone(), &name, conditions::is_crd_established()).await?;
    }
    Ok(())
}

fn server(name: &str) -> anyhow::Result<McpServer> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "cardea.dev/v1alpha1",
        "kind": "McpServer",
        "metadata": {"name": name},
        "spec": {
            "source": {"image": {"ref": "registry.example/server:1"}},
            "auth": {"kubernetesServiceAccounts": {}},
            "access": {"rules": [{"name": "r", "principals": [{"anyAuthenticated": true}], "tools": ["echo"]}]},
        },
    }))?)
}

/// Milliseconds from a server's creation to its last child's, by the API server's own clock.
async fn singles(client: &Client, log: &AuditLog, prefix: &str, count: usize) -> anyhow::Result<Vec<f64>> {
    let servers = Api::<McpServer>::namespaced(client.clone(), SINGLE);
    let mut figures = Vec::new();
    for number in 0..count {
        let name = format!("{prefix}-{number}");
        let mark = log.mark()?;
        servers.create(&PostParams::default(), &server(&name)?).await?;
        let span = eventually(&format!("the children of {name}"), async || {
            Ok(span(&log.since(mark)?, &name).map(|span| span.as_secs_f64() * 1000.0))
        })
        .await?;
        figures.push(span);
    }
    Ok(figures)
}

fn span(requests: &[Request], server: &str) -> Option<Duration> {
    let created = requests.iter().find(|request| request.verb == "create" && request.is_about("mcpservers"))?;
    let children: Vec<&Request> = requests
        .iter()
        .filter(|request| request.verb == "patch" && request.is_operators())
        .filter(|request| {
            request.object_ref.as_ref().is_some_and(|object| {
                object.resource != "mcpservers" && object.name.starts_with(server) && object.subresource.is_empty()
            })
        })
        .collect();
    if children.len() < CHILDREN {
        return None;
    }
    let at = |text: &str| text.parse::<Timestamp>().ok();
    let end = children.iter().filter_map(|request| at(&request.stage_timestamp)).max()?;
    Duration::try_from(end.duration_since(at(&created.request_received_timestamp)?)).ok()
}

/// How long it takes from the first server's creation to the last one's last child, by the API server's own clock.
async fn burst(client: &Client, log: &AuditLog) -> anyhow::Result<Duration> {
    let servers = Api::<McpServer>::namespaced(client.clone(), CROWD);
    let mark = log.mark()?;
    stream::iter(0..MANY)
        .map(|number| {
            let servers = servers.clone();
            async move { anyhow::Ok(servers.create(&PostParams::default(), &server(&format!("server-{number}"))?).await?) }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    // The workload is the last child of each. Looked at seldom: looking is work for the API server too.
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    while count(client, CROWD, Kind::Deployment).await? < MANY {
        beat.tick().await;
    }
    let requests = log.since(mark)?;
    let begin = requests.iter().filter(|request| request.verb == "create" && request.is_about("mcpservers"));
    let end = requests.iter().filter(|request| request.is_operators() && request.is_about("deployments"));
    let at = |text: &str| text.parse::<Timestamp>().ok();
    let begin = begin.filter_map(|request| at(&request.request_received_timestamp)).min().context("no server")?;
    let end = end.filter_map(|request| at(&request.stage_timestamp)).max().context("no Deployment")?;
    Ok(Duration::try_from(end.duration_since(begin))?)
}

async fn count(client: &Client, namespace: &str, kind: Kind) -> anyhow::Result<usize> {
    let ours = ListParams::default().labels(SERVER_LABEL);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
    Ok(api.list_metadata(&ours).await?.items.len())
}

/// Whether each server's status has come to rest: its pod runs, and nobody answers there.
async fn settled(client: &Client) -> anyhow::Result<Option<()>> {
    let servers = Api::<McpServer>::namespaced(client.clone(), CROWD).list(&ListParams::default()).await?;
    let at_rest = |server: &McpServer| {
        server
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|condition| condition.reason == "ProxyUnreachable")
    };
    Ok(servers.items.iter().all(at_rest).then_some(()))
}

/// How long a plain client takes to apply the same objects into another namespace, 16 at a time.
async fn floor(client: &Client) -> anyhow::Result<Duration> {
    let mut objects = Vec::new();
    for kind in KINDS {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), CROWD, &kind.resource());
        for mut object in api.list(&ListParams::default().labels(SERVER_LABEL)).await?.items {
            object.metadata = ObjectMeta {
                name: object.metadata.name,
                labels: object.metadata.labels,
                annotations: object.metadata.annotations,
                ..ObjectMeta::default()
            };
            if let Some(spec) = object.data.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
                spec.retain(|name, _| !["clusterIP", "clusterIPs"].contains(&name.as_str()));
            }
            if let Some(members) = object.data.as_object_mut() {
                members.remove("status");
            }
            object.types =
                Some(kube::core::TypeMeta { api_version: kind.resource().api_version, kind: kind.as_str().into() });
            objects.push((kind, object));
        }
    }
    ensure!(objects.len() == CHILDREN * MANY, "{} objects", objects.len());
    // Server by server as the operator does it, so that the cluster's own controllers have the same to do meanwhile.
    objects
        .sort_by_cached_key(|(kind, object)| (object.labels().get(SERVER_LABEL).cloned(), *kind == Kind::Deployment));
    let started = Instant::now();
    stream::iter(objects)
        .map(|(kind, object)| {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), FLOOR, &kind.resource());
            async move {
                let name = object.name_any();
                api.patch(&name, &PatchParams::apply("floor").force(), &Patch::Apply(&object)).await.map(drop)
            }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .context("the floor")?;
    let took = started.elapsed();
    Api::<Namespace>::all(client.clone()).delete(FLOOR, &DeleteParams::background()).await?;
    Ok(took)
}

fn is_event(request: &Request) -> bool {
    request.is_write()
        && request.namespace() == CROWD
        && request.user_agent.contains("kube-rs")
        && request.object_ref.as_ref().is_some_and(|object| object.resource == "events")
}
