//! Pods that do not come up.

use anyhow::ensure;
use serde_json::json;

use crate::agent::{Caller, Traffic};
use crate::bed::{Bed, spiffe_id};

pub(crate) async fn an_image_that_cannot_be_pulled_is_named_while_the_old_pod_serves(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("images").await?;
    let pod = place.served("web", place.whoami(json!({}))).await?;
    let planner = Caller::new(&place, "web", Some(&place.made.agents.agent("planner")?)).await?;
    let traffic = Traffic::start(planner.open().await?, "whoami", spiffe_id("planner"));

    // Nobody listens there, so that the pull fails at once.
    let nowhere = json!({"image": {"ref": "127.0.0.1:1/nowhere:1", "pullPolicy": "IfNotPresent"}});
    place.apply("web", place.whoami(json!({"source": nowhere}))).await?;
    let found = place.condition("web", "WorkloadAvailable", "False", "ImagePullFailed").await?;
    ensure!(found.message.contains("127.0.0.1:1/nowhere:1"), "the image is not named: {}", found.message);
    place.condition("web", "Ready", "False", "ImagePullFailed").await?;
    place.warned("web", "ImagePullFailed").await?;

    place.apply("web", place.whoami(json!({}))).await?;
    place.condition("web", "Ready", "True", "Ready").await?;
    traffic.end().await?;
    place.is_untouched("web", &pod).await
}

pub(crate) async fn a_crashing_server_is_named(bed: &Bed) -> anyhow::Result<()> {
    let place = bed.place("crashes").await?;
    place.apply("web", place.whoami(json!({"workload": {"args": ["no-such-command"]}}))).await?;
    let found = place.condition("web", "WorkloadAvailable", "False", "CrashLoop").await?;
    ensure!(found.message.contains("the container server"), "the container is not named: {}", found.message);
    place.condition("web", "Ready", "False", "CrashLoop").await?;
    place.condition("web", "Verified", "False", "HandshakeFailed").await?;
    place.warned("web", "CrashLoop").await
}
