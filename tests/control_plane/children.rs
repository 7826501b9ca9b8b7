//! What a server becomes, and that it stays so.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_operator::children::Kind;
use cardea_tests::cluster::eventually;
use kube::api::{DeleteParams, Patch, PatchParams};
use libtest_mimic::Trial;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bed::{Bed, children_of, trials};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "children":
        a_server_becomes_seven_objects_that_it_owns,
        the_policy_stands_before_the_workload,
        each_deleted_child_comes_back,
        a_changed_child_is_set_right,
        a_foreign_object_is_never_written,
        what_is_no_longer_wanted_is_pruned,
        a_restart_and_foreign_annotations_survive,
        replicas_belong_to_the_autoscaler_unless_set,
        the_scale_subresource_works,
        a_deleted_server_takes_its_children_along,
        a_server_made_anew_waits_for_the_former_ones_children,
    ]
}

async fn a_server_becomes_seven_objects_that_it_owns(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let server = place.served("web", json!({})).await?;
    for (kind, name) in children_of("web") {
        let child = place.exists(kind, &name).await?;
        let owners = child.metadata.owner_references.unwrap_or_default();
        ensure!(owners.len() == 1 && owners[0].controller == Some(true), "{name}: {owners:?}");
        ensure!(Some(&owners[0].uid) == server.metadata.uid.as_ref(), "{name} has another owner");
        let managers: Vec<_> = child
            .metadata
            .managed_fields
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| entry.subresource.is_none() && entry.manager.as_deref() != Some("kube-controller-manager"))
            .collect();
        ensure!(
            managers
                .iter()
                .all(|entry| entry.manager.as_deref() == Some("cardea") && entry.operation.as_deref() == Some("Apply")),
            "{name} is not applied by one manager: {managers:?}"
        );
    }
    let service = place.exists(Kind::Service, "web").await?;
    let ports = service.data["spec"]["ports"].as_array().context("ports")?.clone();
    ensure!(ports.len() == 1 && ports[0]["targetPort"] == 8443, "the Service shows more than the proxy: {ports:?}");
    Ok(())
}

async fn the_policy_stands_before_the_workload(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    let version = async |kind: Kind, name: &str| -> anyhow::Result<u64> {
        Ok(place.exists(kind, name).await?.metadata.resource_version.context("version")?.parse()?)
    };
    // Neither is written twice, so the versions are those of their creation; the Deployment's can only be later.
    let workload = version(Kind::Deployment, "web").await?;
    for (kind, name) in children_of("web").into_iter().filter(|(kind, _)| *kind != Kind::Deployment) {
        ensure!(version(kind, &name).await? < workload, "{name} came after the workload");
    }
    Ok(())
}

async fn each_deleted_child_comes_back(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    for (kind, name) in children_of("web") {
        let objects = place.objects(kind);
        let before = objects.get(&name).await?.metadata.uid;
        objects.delete(&name, &DeleteParams::background()).await?;
        eventually(&format!("{} {name} is back", kind.as_str()), async || {
            Ok(objects.get_opt(&name).await?.filter(|child| child.metadata.uid != before))
        })
        .await?;
    }
    Ok(())
}

async fn a_changed_child_is_set_right(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    for (kind, name, change, pointer) in [
        (Kind::NetworkPolicy, "web", json!({"spec": {"ingress": [{}]}}), "/spec/ingress/0/from"),
        (Kind::NetworkPolicy, "web", json!({"spec": {"policyTypes": ["Ingress"]}}), "/spec/policyTypes/1"),
        (
            Kind::Service,
            "web",
            json!({"spec": {"selector": {"cardea.dev/server": "other"}}}),
            "/spec/selector/cardea.dev~1server",
        ),
        (Kind::ConfigMap, "web-proxy", json!({"data": {"proxy.json": "{}"}}), "/data/proxy.json"),
        (Kind::ConfigMap, "web-trust", json!({"data": {"ca.crt": null}}), "/data/ca.crt"),
        (Kind::ServiceAccount, "web", json!({"automountServiceAccountToken": true}), "/automountServiceAccountToken"),
        (
            Kind::Deployment,
            "web",
            json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}}),
            "/spec/template/spec/automountServiceAccountToken",
        ),
    ] {
        let objects = place.objects(kind);
        let value = async || anyhow::Ok(serde_json::to_value(objects.get(name).await?)?.pointer(pointer).cloned());
        let right = value().await?;
        ensure!(right.is_some(), "{name} has no {pointer}");
        let changed = objects.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await?;
        ensure!(
            serde_json::to_value(&changed)?.pointer(pointer) != right.as_ref(),
            "{name}: the change changed nothing"
        );
        eventually(&format!("{name} {pointer} is set right"), async || Ok((value().await? == right).then_some(())))
            .await?;
    }
    // A certificate that somebody wrote over is replaced, not put back: its key may be known.
    let secrets = place.objects(Kind::Secret);
    let before = secrets.get("web-tls").await?.data["data"]["tls.crt"].clone();
    let change = json!({"data": {"tls.crt": "bm9uc2Vuc2U="}});
    secrets.patch("web-tls", &PatchParams::default(), &Patch::Merge(&change)).await?;
    eventually("the certificate is replaced", async || {
        let now = secrets.get("web-tls").await?.data["data"]["tls.crt"].clone();
        Ok((now != before && now != "bm9uc2Vuc2U=").then_some(()))
    })
    .await
}

async fn a_foreign_object_is_never_written(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    for (number, kind) in
        [Kind::ServiceAccount, Kind::NetworkPolicy, Kind::ConfigMap, Kind::Secret, Kind::Service, Kind::Deployment]
            .into_iter()
            .enumerate()
    {
        let server = format!("web{number}");
        let name = children_of(&server).into_iter().find(|(its, _)| *its == kind).context("a child")?.1;
        let labels = json!({"app": "foreign"});
        let rest = match kind {
            Kind::NetworkPolicy => json!({"metadata": {}, "spec": {"podSelector": {}}}),
            Kind::Service => json!({"metadata": {}, "spec": {"ports": [{"port": 80}], "selector": labels}}),
            Kind::Deployment => {
                json!({"metadata": {}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
            }
            _ => json!({"metadata": {}}),
        };
        let foreign = place.create(kind, &name, rest).await?;
        place.apply(&server, json!({})).await?;
        let message = place.condition(&server, "Accepted", "False", "ForeignObject").await?;
        ensure!(message.contains(&name) && message.contains("rename or delete it"), "{message}");
        place.condition(&server, "Ready", "False", "ForeignObject").await?;
        let after = place.objects(kind).get(&name).await?;
        ensure!(
            after.metadata.owner_references.is_none() && after.data.get("spec") == foreign.data.get("spec"),
            "{name} was written"
        );
        ensure!(
            after.metadata.managed_fields.iter().flatten().all(|entry| entry.manager.as_deref() != Some("cardea")),
            "{name} bears our mark"
        );
        let events = kube::Api::<k8s_openapi::api::core::v1::Event>::namespaced(place.client.clone(), &place.namespace);
        eventually("an event says so", async || {
            let all = events.list(&Default::default()).await?;
            Ok(all.items.into_iter().find(|event| {
                event.reason.as_deref() == Some("ForeignObject")
                    && event.involved_object.name.as_deref() == Some(&server)
            }))
        })
        .await?;
        // Out of the way, it is no longer refused.
        place.objects(kind).delete(&name, &DeleteParams::background()).await?;
        place.condition(&server, "Accepted", "True", "Accepted").await?;
    }
    Ok(())
}

async fn what_is_no_longer_wanted_is_pruned(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    place.create(Kind::ServiceAccount, "runner", json!({"metadata": {}})).await?;
    place.apply("web", json!({"workload": {"serviceAccountName": "runner"}})).await?;
    let accounts = place.objects(Kind::ServiceAccount);
    eventually("the ServiceAccount is gone", async || Ok(accounts.get_opt("web").await?.is_none().then_some(())))
        .await?;
    ensure!(accounts.get_opt("runner").await?.is_some(), "a foreign ServiceAccount was pruned");
    place.apply("web", json!({})).await?;
    place.exists(Kind::ServiceAccount, "web").await?;
    Ok(())
}

async fn a_restart_and_foreign_annotations_survive(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    let deployments = place.objects(Kind::Deployment);
    let restart =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(&restart)).await?;
    let services = place.objects(Kind::Service);
    let annotation = json!({"metadata": {"annotations": {"example.com/cost-center": "42"}, "labels": {"team": "a"}}});
    services.patch("web", &PatchParams::default(), &Patch::Merge(&annotation)).await?;
    place.apply("web", json!({"transport": {"port": 3000}, "workload": {"args": ["--new"]}})).await?;
    eventually("the new argument is rolled out", async || {
        let now = deployments.get("web").await?;
        Ok((now.data["spec"]["template"]["spec"]["containers"][0]["args"][0] == "--new").then_some(()))
    })
    .await?;
    let now = deployments.get("web").await?;
    let restarted = &now.data["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
    ensure!(restarted == "now", "the restart was undone");
    let service = services.get("web").await?;
    ensure!(service.metadata.annotations.unwrap_or_default().contains_key("example.com/cost-center"));
    ensure!(service.metadata.labels.unwrap_or_default().contains_key("team"));
    Ok(())
}

async fn replicas_belong_to_the_autoscaler_unless_set(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    let deployments = place.objects(Kind::Deployment);
    let replicas = async || anyhow::Ok(deployments.get("web").await?.data["spec"]["replicas"].clone());
    let generation = async || anyhow::Ok(deployments.get("web").await?.metadata.generation);
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 3}}))).await?;
    let before = generation().await?;
    place.apply("web", json!({"workload": {"args": ["--new"]}})).await?;
    eventually("the change is applied", async || Ok((generation().await? != before).then_some(()))).await?;
    ensure!(replicas().await? == 3, "the operator took the replicas");
    place.apply("web", json!({"workload": {"replicas": 2}})).await?;
    eventually("two replicas", async || Ok((replicas().await? == 2).then_some(()))).await?;
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}}))).await?;
    eventually("two replicas again", async || Ok((replicas().await? == 2).then_some(()))).await
}

async fn the_scale_subresource_works(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({"workload": {"replicas": 1}})).await?;
    let servers = place.servers();
    servers.patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 4}}))).await?;
    let deployments = place.objects(Kind::Deployment);
    eventually("four replicas", async || {
        Ok((deployments.get("web").await?.data["spec"]["replicas"] == 4).then_some(()))
    })
    .await?;
    let selector = eventually("a selector for autoscalers", async || {
        Ok(servers.get_scale("web").await?.status.and_then(|status| status.selector))
    })
    .await?;
    ensure!(selector.contains("cardea.dev/server=web"), "{selector}");
    Ok(())
}

async fn a_deleted_server_takes_its_children_along(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    place.servers().delete("web", &DeleteParams::foreground()).await?;
    for (kind, name) in children_of("web") {
        let objects = place.objects(kind);
        eventually(&format!("{name} is gone"), async || Ok(objects.get_opt(&name).await?.is_none().then_some(())))
            .await?;
    }
    Ok(())
}

async fn a_server_made_anew_waits_for_the_former_ones_children(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.served("web", json!({})).await?;
    // What holds a child of the former server back is not in the way for good, and nobody has to do anything about it.
    let maps = place.objects(Kind::ConfigMap);
    let held = |finalizers: serde_json::Value| json!({"metadata": {"finalizers": finalizers}});
    maps.patch("web-proxy", &PatchParams::default(), &Patch::Merge(held(json!(["tests.cardea.dev/hold"])))).await?;
    place.servers().delete("web", &DeleteParams::background()).await?;
    let anew = place.apply("web", json!({})).await?;
    let message = place.condition("web", "WorkloadAvailable", "False", "Progressing").await?;
    ensure!(message.contains("former McpServer"), "{message}");
    place.condition("web", "Stalled", "False", "Settled").await?;
    maps.patch("web-proxy", &PatchParams::default(), &Patch::Merge(held(json!(null)))).await?;
    for (kind, name) in children_of("web") {
        let objects = place.objects(kind);
        eventually(&format!("{name} is the new server's"), async || {
            let owners = objects.get_opt(&name).await?.and_then(|child| child.metadata.owner_references);
            Ok(owners.into_iter().flatten().any(|owner| Some(owner.uid) == anew.metadata.uid).then_some(()))
        })
        .await?;
    }
    Ok(())
}
