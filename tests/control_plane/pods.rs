//! Plays the kubelet and the proxy of a server's pods: says that a pod runs at some loopback address, and answers the operator there.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use cardea_contract::pod;
use cardea_tests::cluster::eventually;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, Patch, PatchParams};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::bed::Place;

/// Each answer has an address of its own, so that the operator asks at once.
static ADDRESSES: AtomicU16 = AtomicU16::new(1);

/// The pods of a server of which this holds.
pub(crate) async fn pods(place: &Place<'_>, server: &str, holds: impl Fn(&Pod) -> bool) -> anyhow::Result<Vec<Pod>> {
    let pods = Api::<Pod>::namespaced(place.client.clone(), &place.namespace);
    let ours = ListParams::default().labels(&format!("cardea.dev/server={server}"));
    eventually("pods", async || {
        let found: Vec<Pod> = pods.list(&ours).await?.items.into_iter().filter(|pod| holds(pod)).collect();
        Ok((!found.is_empty()).then_some(found))
    })
    .await
}

/// From now on the proxy of a pod reports this of its secrets.
pub(crate) async fn reports(place: &Place<'_>, server: &str, pod: &Pod, secrets: &Value) -> anyhow::Result<()> {
    let [high, low] = ADDRESSES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let address = Ipv4Addr::new(127, 88, high, low);
    let report = json!({
        "generation": 1, "trustBundle": "", "leaf": {"serial": "", "notAfter": 0},
        "handshake": {"failed": {"message": "it is not there yet"}}, "secrets": secrets,
    });
    let leaf = Api::<Secret>::namespaced(place.client.clone(), &place.namespace).get(&format!("{server}-tls")).await?;
    let part = |name: &str| {
        Ok::<_, anyhow::Error>(leaf.data.as_ref().and_then(|all| all.get(name)).context("leaf")?.0.clone())
    };
    let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
        vec![CertificateDer::from_pem_slice(&part("tls.crt")?)?],
        PrivateKeyDer::from_pem_slice(&part("tls.key")?)?,
    )?;
    let listener = TcpListener::bind((address, pod::PROXY_PORT)).await.context("an address for a pod")?;
    tokio::spawn(answer(listener, TlsAcceptor::from(Arc::new(tls)), Bytes::from(report.to_string())));

    let status = json!({"status": {
        "phase": "Running", "podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}],
        "initContainerStatuses": [{
            "name": "cardea-proxy", "image": "i", "imageID": "i", "ready": true, "started": true, "restartCount": 0,
            "state": {"running": {"startedAt": jiff::Timestamp::now().to_string()}},
        }],
    }});
    let pods = Api::<Pod>::namespaced(place.client.clone(), &place.namespace);
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn answer(listener: TcpListener, tls: TlsAcceptor, report: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, report) = (tls.clone(), report.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(async |_| Ok::<_, Infallible>(http::Response::new(Full::new(report.clone()))));
            // The operator leaves when it has its answer.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
