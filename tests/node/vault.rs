//! A Vault in the cluster, over TLS, whose users are the cluster's ServiceAccounts: for trials about secrets. The trials
//! speak to it from the node, as its administrator.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cardea_pki::{Authority, LeafRequest, SpiffeId, TrustDomain};
use cardea_tests::cluster::eventually;
use cardea_tests::images;
use cardea_tests::kubectl::{apply, kubectl, wait};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use crate::bed::Place;

const NAMESPACE: &str = "vault";
const HOST: &str = "vault.vault.svc";
const PORT: u16 = 8200;

pub(crate) struct Vault {
    http: Client,
    root: String,
    authority: String,
}

impl Vault {
    /// Starts it, with versioned secrets at `secret` and the cluster's ServiceAccounts logging in at `kubernetes`.
    pub(crate) async fn start(place: &Place<'_>) -> anyhow::Result<Self> {
        images::load(&["vault"])?;
        let domain = TrustDomain::parse("vault.example")?;
        let authority = Authority::create(&domain, Timestamp::now())?;
        let request = LeafRequest {
            dns_names: vec![HOST.into()],
            spiffe_id: SpiffeId::new(domain, NAMESPACE, NAMESPACE),
            lifetime: SignedDuration::from_hours(1),
        };
        let leaf = authority.issue(&request, Timestamp::now())?;
        apply(&objects(&leaf.certificate_pem, &leaf.key_pem))?;
        wait(NAMESPACE, &["pod/vault"], "condition=Ready", Duration::from_secs(60), || ())?;
        let root = eventually("Vault says that it is ready", async || {
            let log = kubectl(&["logs", "pod/vault", "--namespace", NAMESPACE])?;
            let ready = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(ready.and_then(|ready| ready["rootToken"].as_str().map(str::to_owned)))
        })
        .await?;

        let service = Api::<Service>::namespaced(place.made.client.clone(), NAMESPACE).get("vault").await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service's address")?;
        let http = Client::builder()
            .tls_certs_only(Certificate::from_pem_bundle(authority.certificate_pem().as_bytes())?)
            .resolve(HOST, SocketAddr::new(address.parse()?, PORT))
            .timeout(Duration::from_secs(10))
            .build()?;
        let vault = Self { http, root, authority: authority.certificate_pem().to_owned() };
        eventually("Vault answers behind its Service", async || {
            Ok(vault.ask(Method::GET, "sys/health", None).await.ok().map(drop))
        })
        .await?;
        vault.write("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}})).await?;
        vault.write("sys/auth/kubernetes", json!({"type": "kubernetes"})).await?;
        let config = json!({"kubernetes_host": "https://kubernetes.default.svc"});
        vault.write("auth/kubernetes/config", config).await?;
        Ok(vault)
    }

    /// Lets the ServiceAccount of a server read what is under a path, and gives the store that servers of the place name.
    pub(crate) async fn admit(&self, place: &Place<'_>, server: &str, path: &str) -> anyhow::Result<()> {
        let policy = format!(
            "path \"secret/data/{path}\" {{ capabilities = [\"read\"] }}\npath \"secret/metadata/{path}\" {{ capabilities = [\"read\"] }}"
        );
        self.write(&format!("sys/policies/acl/{server}"), json!({"policy": policy})).await?;
        let role = json!({
            "bound_service_account_names": server, "bound_service_account_namespaces": place.namespace,
            "audience": "vault", "token_policies": server, "token_ttl": "5m",
        });
        self.write(&format!("auth/kubernetes/role/{server}"), role).await?;
        apply(&[
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vault-ca", "namespace": place.namespace},
                "data": {"ca.crt": self.authority},
            }),
            json!({
                "apiVersion": "cardea.dev/v1alpha1", "kind": "McpSecretStore",
                "metadata": {"name": server, "namespace": place.namespace},
                "spec": {
                    "vault": {"address": format!("https://{HOST}:{PORT}"), "kubernetes": {"role": server}},
                    "caBundleRef": {"name": "vault-ca"},
                },
            }),
        ])
    }

    /// Puts a new version of a secret.
    pub(crate) async fn put(&self, path: &str, data: Value) -> anyhow::Result<()> {
        self.write(&format!("secret/data/{path}"), json!({"data": data})).await
    }

    /// From now on, or no more, it answers nobody.
    pub(crate) async fn seal(&self) -> anyhow::Result<()> {
        self.write("sys/seal", json!({})).await
    }

    async fn write(&self, path: &str, body: Value) -> anyhow::Result<()> {
        self.ask(Method::POST, path, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<()> {
        let mut request = self.http.request(method, format!("https://{HOST}:{PORT}/v1/{path}"));
        request = request.header("x-vault-token", &self.root);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "{path}: {status} {}", answer.text().await?);
        Ok(())
    }
}

fn objects(certificate: &str, key: &str) -> [Value; 6] {
    let named = |kind: &str, version: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "vault", "namespace": NAMESPACE}});
    let with = |mut object: Value, members: Value| {
        if let (Value::Object(object), Value::Object(members)) = (&mut object, members) {
            object.extend(members);
        }
        object
    };
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        named("ServiceAccount", "v1"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "vault-reviews-tokens"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": "vault", "namespace": NAMESPACE}],
        }),
        with(named("Secret", "v1"), json!({"stringData": {"tls.crt": certificate, "tls.key": key}})),
        with(named("Service", "v1"), json!({"spec": {"selector": {"app": "vault"}, "ports": [{"port": PORT}]}})),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "vault", "namespace": NAMESPACE, "labels": {"app": "vault"}},
            "spec": {
                "serviceAccountName": "vault",
                "terminationGracePeriodSeconds": 0,
                "securityContext": {"runAsNonRoot": true, "fsGroup": 65532},
                "containers": [{
                    "name": "vault",
                    "image": "localhost/vault:dev",
                    "imagePullPolicy": "Never",
                    "args": [
                        "--address", format!("0.0.0.0:{PORT}"), "--certificate", "/tls/tls.crt", "--key", "/tls/tls.key",
                    ],
                    // It ends when its standard input does.
                    "stdin": true,
                    "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "tls", "mountPath": "/tls", "readOnly": true}],
                }],
                "volumes": [{"name": "tls", "secret": {"secretName": "vault"}}],
            },
        }),
    ]
}
