//! Secrets from stores, and by those who bring them: what is awaited, what the status says of the reports, and what follows a
//! rotation.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cardea_api::v1alpha1::{McpSecretStore, McpSecretStoreStatus, SecretStatus};
use cardea_operator::children::Kind;
use cardea_operator::hold::FINALIZER;
use cardea_tests::audit::AuditLog;
use cardea_tests::cluster::eventually;
use cardea_tests::others;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::bed::{Bed, Place, trials};
use crate::pods::{pods, reports};

pub(crate) fn trials(bed: &Arc<Bed>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials![
        bed, runtime, "secrets":
        a_missing_store_is_awaited,
        a_store_of_another_kind_is_named,
        a_server_whose_store_is_gone_is_left_alone,
        a_change_of_a_store_and_of_its_authorities_reaches_its_servers,
        it_stays_until_the_last_server_lets_it_go,
        what_reports_say_stands_in_the_statuses,
        a_rotation_rolls_the_pods_once,
        a_stdio_server_is_not_rolled,
        what_others_bring_is_asked_for_and_let_go,
        what_is_not_installed_is_named,
    ]
}

fn stores(place: &Place<'_>) -> Api<McpSecretStore> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

async fn say(place: &Place<'_>, name: &str, spec: Value) -> anyhow::Result<McpSecretStore> {
    let body = json!({"apiVersion": "cardea.dev/v1alpha1", "kind": "McpSecretStore", "metadata": {"name": name}, "spec": spec});
    Ok(stores(place).patch(name, &PatchParams::apply("a-person").force(), &Patch::Apply(&body)).await?)
}

fn vault(role: &str) -> Value {
    json!({"vault": {"address": "https://vault.example", "kubernetes": {"role": role}}})
}

/// A secret of Vault as a file.
fn secret(name: &str) -> Value {
    json!({
        "name": name, "from": {"vault": {"mount": "secret", "path": name}}, "storeRef": {"name": "vault"},
        "keys": [{"key": "token", "file": "token"}],
    })
}

/// What the fetcher of a server is told, as it stands in the Deployment.
async fn told(place: &Place<'_>, server: &str) -> anyhow::Result<Option<Value>> {
    let Some(deployment) = place.objects(Kind::Deployment).get_opt(server).await? else { return Ok(None) };
    let containers = &deployment.data["spec"]["template"]["spec"]["initContainers"];
    let fetcher = containers.as_array().into_iter().flatten().find(|container| container["name"] == "cardea-secrets");
    Ok(fetcher.and_then(|fetcher| serde_json::from_str(fetcher["env"][0]["value"].as_str()?).ok()))
}

/// Waits until the fetcher of a server is told this role.
async fn logs_in_as(place: &Place<'_>, server: &str, role: &str) -> anyhow::Result<()> {
    eventually(&format!("{server} logs in as {role}"), async || {
        let told = told(place, server).await?;
        Ok(told.filter(|told| told["stores"]["vault"]["kind"]["vault"]["role"] == role).map(drop))
    })
    .await
}

/// Waits for a status of a store.
async fn stands(
    place: &Place<'_>,
    what: &str,
    holds: impl Fn(&McpSecretStoreStatus) -> bool,
) -> anyhow::Result<McpSecretStoreStatus> {
    eventually(what, async || Ok(stores(place).get("vault").await?.status.filter(|status| holds(status)))).await
}

fn word<'s>(status: &'s McpSecretStoreStatus, kind: &str) -> (&'s str, &'s str) {
    let found = status.conditions.iter().find(|found| found.type_ == kind);
    found.map_or(("", ""), |found| (&found.status, &found.reason))
}

async fn a_missing_store_is_awaited(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    place.apply("web", json!({"secrets": [secret("forge")]})).await?;
    let message = place.condition("web", "SecretsReady", "False", "StoreNotFound").await?;
    ensure!(message.contains("\"vault\"") && message.contains("create it"), "{message}");
    place.condition("web", "Ready", "False", "StoreNotFound").await?;
    ensure!(place.objects(Kind::Deployment).get_opt("web").await?.is_none(), "it was built all the same");
    say(&place, "vault", vault("web")).await?;
    logs_in_as(&place, "web", "web").await?;
    place.condition("web", "SecretsReady", "Unknown", "Pending").await?;
    Ok(())
}

async fn a_store_of_another_kind_is_named(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let role = "arn:aws:iam::123456789012:role/web";
    say(&place, "vault", json!({"awsSecretsManager": {"region": "eu-central-1", "roleArn": role}})).await?;
    place.apply("web", json!({"secrets": [secret("forge")]})).await?;
    let message = place.condition("web", "Accepted", "False", "Invalid").await?;
    ensure!(message.contains("\"forge\"") && message.contains("from.awsSecretsManager"), "{message}");
    Ok(())
}

async fn a_server_whose_store_is_gone_is_left_alone(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "vault", vault("web")).await?;
    place.served("web", json!({"secrets": [secret("forge")]})).await?;
    let before = place.exists(Kind::Deployment, "web").await?.metadata.generation;
    let mut elsewhere = secret("forge");
    elsewhere["storeRef"]["name"] = json!("other");
    place.apply("web", json!({"secrets": [elsewhere]})).await?;
    place.condition("web", "SecretsReady", "False", "StoreNotFound").await?;
    let after = place.exists(Kind::Deployment, "web").await?.metadata.generation;
    ensure!(before == after, "it was changed");
    Ok(())
}

async fn a_change_of_a_store_and_of_its_authorities_reaches_its_servers(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    let mut with_authorities = vault("first");
    with_authorities["caBundleRef"] = json!({"name": "corp-ca"});
    say(&place, "vault", with_authorities.clone()).await?;
    place.apply("web", json!({"secrets": [secret("forge")]})).await?;
    let message = place.condition("web", "SecretsReady", "False", "CaNotFound").await?;
    ensure!(message.contains("\"corp-ca\"") && message.contains("spec.caBundleRef"), "{message}");
    stands(&place, "it says what it lacks", |status| word(status, "Ready") == ("False", "CaNotFound")).await?;
    let pem = |text: &str| json!({"data": {"ca.crt": format!("-----BEGIN CERTIFICATE-----\n{text}")}});
    place.create(Kind::ConfigMap, "corp-ca", pem("one")).await?;
    logs_in_as(&place, "web", "first").await?;
    stands(&place, "nothing is lacking", |status| word(status, "Accepted").0 == "True").await?;
    let digest = async || {
        let template = place.exists(Kind::Deployment, "web").await?.data["spec"]["template"].take();
        anyhow::Ok(template["metadata"]["annotations"]["cardea.dev/store-authorities"].as_str().map(str::to_owned))
    };
    let before = digest().await?.context("the authorities show in the template")?;
    with_authorities["vault"]["kubernetes"]["role"] = json!("second");
    say(&place, "vault", with_authorities).await?;
    logs_in_as(&place, "web", "second").await?;
    let maps = place.objects(Kind::ConfigMap);
    maps.patch("corp-ca", &PatchParams::default(), &Patch::Merge(pem("two"))).await?;
    // Whatever wakes its servers has them see it; beside that it is looked at each minute.
    say(&place, "vault", vault("third")).await?;
    logs_in_as(&place, "web", "third").await?;
    ensure!(digest().await?.is_none(), "authorities of nobody");
    let mut again = vault("fourth");
    again["caBundleRef"] = json!({"name": "corp-ca"});
    say(&place, "vault", again).await?;
    logs_in_as(&place, "web", "fourth").await?;
    ensure!(digest().await?.is_some_and(|after| after != before), "the pods keep the former authorities");
    Ok(())
}

async fn it_stays_until_the_last_server_lets_it_go(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "vault", vault("web")).await?;
    let status = stands(&place, "nobody uses it", |status| status.server_count == Some(0)).await?;
    ensure!((word(&status, "Ready"), word(&status, "Reached").0) == (("True", "NotUsed"), "Unknown"), "{status:?}");
    for server in ["one", "two"] {
        place.apply(server, json!({"secrets": [secret("forge"), secret("other")]})).await?;
    }
    stands(&place, "two use it", |status| status.server_count == Some(2)).await?;
    stores(&place).delete("vault", &DeleteParams::default()).await?;
    let status = stands(&place, "its deletion is held", |status| word(status, "DeletionHeld").0 == "True").await?;
    let held = status.conditions.iter().find(|found| found.type_ == "DeletionHeld").context("held")?;
    ensure!(held.message.contains("one, two") && held.message.contains("storeRef"), "{}", held.message);
    place.servers().delete("one", &DeleteParams::default()).await?;
    stands(&place, "one uses it", |status| status.server_count == Some(1)).await?;
    ensure!(stores(&place).get("vault").await?.finalizers() == [FINALIZER], "it is let go too early");
    place.apply("two", json!({})).await?;
    eventually("it is gone", async || Ok(stores(&place).get_opt("vault").await?.is_none().then_some(()))).await
}

fn delivered(name: &str, version: &str, at: i64, rotated: bool) -> Value {
    json!({"name": name, "store": "vault", "version": version, "deliveredAt": at, "rotated": rotated})
}

fn trouble(kind: &str, stale: bool) -> Value {
    json!({"kind": kind, "message": "the store is away: look after it", "since": 1_800_000_000, "stale": stale})
}

async fn listed(
    place: &Place<'_>,
    server: &str,
    holds: impl Fn(&SecretStatus) -> bool,
) -> anyhow::Result<SecretStatus> {
    eventually("its secret is told", async || {
        let status = place.servers().get(server).await?.status;
        Ok(status.and_then(|status| status.secrets.into_iter().next()).filter(&holds))
    })
    .await
}

async fn what_reports_say_stands_in_the_statuses(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "vault", vault("web")).await?;
    place.served("web", json!({"secrets": [secret("forge")]})).await?;
    place.condition("web", "SecretsReady", "Unknown", "Pending").await?;
    let pod = pods(&place, "web", |_| true).await?.remove(0);
    let secrets = async |secret: Value, store: Value| {
        reports(&place, "web", &pod, &json!({"secrets": [secret], "stores": [store]})).await
    };
    let away = |kind| json!({"name": "vault", "trouble": trouble(kind, false)});
    let nothing = |kind| json!({"name": "forge", "store": "vault", "trouble": trouble(kind, false)});

    secrets(nothing("Unavailable"), away("Unavailable")).await?;
    let message = place.condition("web", "SecretsReady", "False", "NotDelivered").await?;
    ensure!(message.contains("\"forge\": the store is away: look after it (since 2027-01-15T08:00:00Z)"), "{message}");
    stands(&place, "it is away", |status| word(status, "Ready") == ("False", "StoreUnavailable")).await?;
    secrets(nothing("NotFound"), json!({"name": "vault", "reachedAt": 1_800_000_123})).await?;
    place.condition("web", "SecretsReady", "False", "NotFound").await?;
    let status = stands(&place, "it answers", |status| word(status, "Reached") == ("True", "Answers")).await?;
    let reached = status.last_reached_time.context("when it answered")?;
    ensure!(reached.0.as_second() == 1_800_000_000, "{reached:?} changes with every answer");

    let log = AuditLog::from_env()?;
    let mark = log.mark()?;
    secrets(delivered("forge", "7", 1_800_000_100, false), json!({"name": "vault", "reachedAt": 1_800_000_130}))
        .await?;
    place.condition("web", "SecretsReady", "True", "AllDelivered").await?;
    let told = listed(&place, "web", |secret| secret.version.as_deref() == Some("7")).await?;
    ensure!((told.store.as_str(), told.store_ref.as_deref()) == ("Vault", Some("vault")), "{told:?}");
    ensure!(told.last_rotated.is_some_and(|at| at.0.as_second() == 1_800_000_100), "when it came");
    let of_stores = log.since(mark)?.into_iter().filter(|request| {
        request.is_write() && request.namespace() == place.namespace && request.uri.contains("mcpsecretstores")
    });
    ensure!(of_stores.count() == 0, "a store's status is written though nothing is new");

    // A store that is away leaves what it gave, and says so; one that is away for too long does not.
    let mut stays = delivered("forge", "7", 1_800_000_900, false);
    stays["trouble"] = trouble("Unavailable", false);
    secrets(stays.clone(), away("Unavailable")).await?;
    place.condition("web", "SecretsReady", "True", "StoreUnavailable").await?;
    stays["trouble"] = trouble("Unavailable", true);
    secrets(stays.clone(), away("Unavailable")).await?;
    place.condition("web", "SecretsReady", "False", "SecretsStale").await?;
    stays["trouble"] = trouble("Refused", false);
    secrets(stays, away("Refused")).await?;
    place.condition("web", "SecretsReady", "False", "Refused").await?;
    let told = listed(&place, "web", |secret| secret.version.as_deref() == Some("7")).await?;
    ensure!(told.last_rotated.is_some_and(|at| at.0.as_second() == 1_800_000_100), "another pod is no rotation");
    Ok(())
}

const ROTATED: &str = "cardea.dev/secrets-rotated";

/// The rotation that a server's template is there for.
async fn rotation(place: &Place<'_>, server: &str) -> anyhow::Result<Option<String>> {
    let template = place.exists(Kind::Deployment, server).await?.data["spec"]["template"].take();
    Ok(template["metadata"]["annotations"][ROTATED].as_str().map(str::to_owned))
}

async fn a_rotation_rolls_the_pods_once(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "vault", vault("web")).await?;
    let mut restarting = secret("forge");
    restarting["onRotation"] = json!("Restart");
    place.served("web", json!({"secrets": [restarting, secret("file")]})).await?;
    let first = pods(&place, "web", |_| true).await?.remove(0);
    let tells = |forge: Value, file: Value| json!({"secrets": [forge, file], "stores": []});
    let at_rest = delivered("file", "1", 1_800_000_000, false);
    let other = delivered("file", "2", 1_800_000_300, true);
    reports(&place, "web", &first, &tells(delivered("forge", "1", 1_800_000_000, false), other)).await?;
    place.condition("web", "SecretsReady", "True", "AllDelivered").await?;
    ensure!(rotation(&place, "web").await?.is_none(), "a file that nobody is restarted for rolls the pods");

    let rotated = delivered("forge", "2", 1_800_000_500, true);
    reports(&place, "web", &first, &tells(rotated.clone(), at_rest.clone())).await?;
    let rolled = eventually("the pods are rolled", async || rotation(&place, "web").await).await?;
    ensure!(rolled == "2027-01-15T08:08:20Z", "{rolled}");
    // The former pod goes on telling, with a new one beside it.
    let newer = |pod: &k8s_openapi::api::core::v1::Pod| pod.annotations().get(ROTATED) == Some(&rolled);
    let second = pods(&place, "web", newer).await?.remove(0);
    let generation = place.exists(Kind::Deployment, "web").await?.metadata.generation;
    let late = delivered("forge", "3", 1_800_000_700, true);
    reports(&place, "web", &first, &tells(late, at_rest.clone())).await?;
    let fresh = delivered("forge", "3", 1_800_000_600, false);
    reports(&place, "web", &second, &tells(fresh, at_rest.clone())).await?;
    listed(&place, "web", |secret| secret.version.as_deref() == Some("3")).await?;
    let after = place.exists(Kind::Deployment, "web").await?.metadata.generation;
    ensure!(after == generation, "what a former pod tells rolls the new ones");
    // Another rotation rolls once more.
    reports(&place, "web", &second, &tells(delivered("forge", "4", 1_800_000_900, true), at_rest)).await?;
    eventually("the pods are rolled again", async || {
        Ok(rotation(&place, "web").await?.filter(|again| *again != rolled))
    })
    .await?;
    Ok(())
}

async fn a_stdio_server_is_not_rolled(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place().await?;
    say(&place, "vault", vault("web")).await?;
    let mut variable = secret("forge");
    variable["keys"] = json!([{"key": "token", "env": "TOKEN"}]);
    let transport = json!({"type": "Stdio", "stdio": {"command": ["/server"]}});
    place.served("web", json!({"transport": transport, "secrets": [variable]})).await?;
    let pod = pods(&place, "web", |_| true).await?.remove(0);
    let secrets = json!({"secrets": [delivered("forge", "2", 1_800_000_500, true)], "stores": []});
    reports(&place, "web", &pod, &secrets).await?;
    listed(&place, "web", |secret| secret.version.as_deref() == Some("2")).await?;
    ensure!(rotation(&place, "web").await?.is_none(), "its agent starts it anew where it is");
    let status = place.servers().get("web").await?.status.context("status")?;
    ensure!(status.transport.as_deref() == Some("Stdio"), "{:?}", status.transport);
    Ok(())
}

async fn install_others(place: &Place<'_>) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(place.client.clone());
    for crd in others::crds() {
        let name = crd["metadata"]["name"].as_str().context("name")?;
        crds.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&crd)).await?;
        await_condition(crds.clone(), name, conditions::is_crd_established()).await?;
    }
    Ok(())
}

async fn remove_others(place: &Place<'_>) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(place.client.clone());
    for crd in others::crds() {
        let name = crd["metadata"]["name"].as_str().context("name")?;
        crds.delete(name, &DeleteParams::default()).await?;
        eventually("the kind is gone", async || Ok(crds.get_opt(name).await?.is_none().then_some(()))).await?;
    }
    Ok(())
}

fn brought() -> Value {
    let external = json!({"secretStoreRef": {"name": "corp"}, "remoteKey": "apps/web"});
    json!([
        {"name": "forge", "from": {"externalSecret": external}, "keys": [{"key": "token", "file": "token"}]},
        {"name": "files", "from": {"csi": {"provider": "vault", "parameters": {"objects": "[]"}}}, "keys": [{"file": "a"}]},
    ])
}

async fn what_others_bring_is_asked_for_and_let_go(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, _alone) = bed.alone().await?;
    let place = Place::beside(client, namespace);
    install_others(&place).await?;
    place.apply("web", json!({"secrets": brought()})).await?;
    let asked = place.exists(Kind::ExternalSecret, "web.forge").await?;
    ensure!(asked.data["spec"]["data"][0]["remoteRef"] == json!({"key": "apps/web", "property": "token"}), "{asked:?}");
    let class = place.exists(Kind::SecretProviderClass, "web.files").await?;
    ensure!(class.data["spec"]["provider"] == "vault", "{class:?}");
    let message = place.condition("web", "SecretsReady", "False", "NotDelivered").await?;
    ensure!(message.contains("web.forge") && message.contains("ExternalSecret"), "{message}");
    place.create(Kind::Secret, "web.forge", json!({"stringData": {"token": "x"}})).await?;
    place.condition("web", "SecretsReady", "True", "Mounted").await?;

    // Nothing is written anew for one that says it already.
    let before = (asked.resource_version(), class.resource_version());
    place.apply("web", json!({"secrets": brought(), "limits": {"concurrent": 8}})).await?;
    eventually("the change is observed", async || {
        let status = place.servers().get("web").await?.status;
        Ok(status.filter(|status| status.observed_generation == Some(2)))
    })
    .await?;
    let versions = async || {
        let asked = place.exists(Kind::ExternalSecret, "web.forge").await?.resource_version();
        anyhow::Ok((asked, place.exists(Kind::SecretProviderClass, "web.files").await?.resource_version()))
    };
    ensure!(versions().await? == before, "they are written though nothing is new");

    place.apply("web", json!({})).await?;
    for (kind, name) in [(Kind::ExternalSecret, "web.forge"), (Kind::SecretProviderClass, "web.files")] {
        let objects = place.objects(kind);
        eventually("it is pruned", async || Ok(objects.get_opt(name).await?.is_none().then_some(()))).await?;
    }
    place.condition("web", "SecretsReady", "True", "NoneDeclared").await?;

    // One of that name that is somebody's is never written.
    let foreign = json!({"spec": {"refreshInterval": "1h"}});
    let before = place.create(Kind::ExternalSecret, "web.forge", foreign).await?.resource_version();
    place.apply("web", json!({"secrets": brought()})).await?;
    place.condition("web", "Accepted", "False", "ForeignObject").await?;
    ensure!(place.exists(Kind::ExternalSecret, "web.forge").await?.resource_version() == before, "it was written");
    remove_others(&place).await
}

async fn what_is_not_installed_is_named(bed: &Bed) -> anyhow::Result<()> {
    let (client, namespace, _alone) = bed.alone().await?;
    let place = Place::beside(client, namespace);
    place.apply("web", json!({"secrets": brought()})).await?;
    let message = place.condition("web", "SecretsReady", "False", "KindNotInstalled").await?;
    ensure!(message.contains("ExternalSecret of external-secrets.io/v1") && message.contains("install"), "{message}");
    ensure!(place.objects(Kind::Deployment).get_opt("web").await?.is_none(), "its pods would wait for nothing");
    place.apply("web", json!({})).await?;
    place.exists(Kind::Deployment, "web").await.map(drop)
}
