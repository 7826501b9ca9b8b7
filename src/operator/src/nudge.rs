//! Makes the kubelet look at a pod at once. A changed ConfigMap reaches a running pod with the kubelet's next look at it, up
//! to a minute and a half later; a changed annotation makes it look now. Nothing restarts by it.
//!
//! Does not know which pods are behind ([`crate::inquiry`] does). Why by an annotation: ADR 0020.

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::metrics::Metrics;
use crate::ownership::FIELD_MANAGER;
use crate::watches::chain;

/// When the pod was last told of, in our own words to the kubelet.
pub const ANNOTATION: &str = "cardea.dev/configuration-changed";

/// Pods told at once.
const AT_ONCE: usize = 16;

/// A pod that decides by an older configuration than it should, by namespace and name.
pub type Behind = (String, String);

/// Runs until nobody tells any more.
pub async fn run(client: Client, metrics: Metrics, behind: UnboundedReceiver<Behind>) {
    let all = futures::stream::unfold(behind, async |mut behind| Some((behind.recv().await?, behind)));
    all.for_each_concurrent(AT_ONCE, async |(namespace, pod)| {
        let body = json!({"metadata": {"annotations": {ANNOTATION: Timestamp::now().to_string()}}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched =
            Api::<Pod>::namespaced(client.clone(), &namespace).patch_metadata(&pod, &params, &Patch::Merge(body)).await;
        match patched {
            Ok(_) => metrics.nudged(),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // The kubelet's own next look brings it as well.
            Err(error) => tracing::warn!(namespace, pod, error = %chain(&error), "cannot hasten a pod's configuration"),
        }
    })
    .await;
}
