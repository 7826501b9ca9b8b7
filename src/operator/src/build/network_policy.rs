//! Who reaches the pod and what it reaches: default deny both ways, then exactly what is declared.

use std::net::IpAddr;

use cardea_contract::{Issuer, KeySource, pod};
use serde_json::{Value, json};

use super::selector;
use crate::installation::Installation;
use crate::validate::{Fetched, ValidatedServer, urls};

pub(super) fn spec(server: &ValidatedServer, installation: &Installation) -> Value {
    let proxy_port = json!([{"port": pod::PROXY_PORT, "protocol": "TCP"}]);
    let operator = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": installation.namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "cardea-operator"}},
    });
    let mut ingress = vec![json!({"from": [operator], "ports": proxy_port})];
    if !server.ingress.is_empty() {
        ingress.push(json!({"from": server.ingress, "ports": proxy_port}));
    }
    let mut egress = vec![cluster_dns()];
    let issuers = server.authentication.issuers.iter();
    egress.extend(issuers.flat_map(|issuer| to_issuer(issuer, &installation.cluster_domain)));
    egress.extend(server.fetched.iter().flat_map(|fetched| to_stores(fetched, &installation.cluster_domain)));
    egress.extend(server.egress.iter().map(|to| json!({"to": to.peers, "ports": to.ports})));
    json!({"spec": {
        "podSelector": {"matchLabels": selector(&server.name)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }})
}

fn cluster_dns() -> Value {
    json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    })
}

/// Where an issuer is asked for metadata and keys, and about tokens. A policy knows addresses, not names: a name inside the
/// cluster opens its namespace, any other the port in the public address space, and the posture says so.
fn to_issuer(issuer: &Issuer, cluster_domain: &str) -> Vec<Value> {
    let keys = match &issuer.keys {
        KeySource::Inline { .. } => None,
        KeySource::Discovery => Some(&issuer.url),
        KeySource::Url { jwks_url } => Some(jwks_url),
    };
    let introspection = issuer.introspection.as_ref().and_then(|introspection| introspection.url.as_ref());
    let mut authorities: Vec<_> =
        [keys, introspection].into_iter().flatten().filter_map(|url| authority(url)).collect();
    authorities.dedup();
    authorities.into_iter().map(|(host, port)| to_authority(&host, port, cluster_domain)).collect()
}

/// Where the stores of secrets are asked. The pod has one network: the server reaches them too, without the identity for them.
fn to_stores(fetched: &Fetched, cluster_domain: &str) -> Vec<Value> {
    let urls = fetched.config.stores.values().flat_map(|store| urls(&store.kind));
    let mut ways: Vec<Value> = Vec::new();
    for (host, port) in urls.filter_map(|url| authority(&url)) {
        let way = to_authority(&host, port, cluster_domain);
        // A cloud has many names at the same addresses.
        if !ways.contains(&way) {
            ways.push(way);
        }
    }
    ways
}

fn to_authority(host: &str, port: u16, cluster_domain: &str) -> Value {
    if let Ok(address) = host.parse::<IpAddr>() {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        return json!({"to": [{"ipBlock": {"cidr": format!("{address}/{prefix}")}}], "ports": [{"port": port, "protocol": "TCP"}]});
    }
    let inside = host.strip_suffix(&format!(".{cluster_domain}")).unwrap_or(host).strip_suffix(".svc");
    if let Some((_, namespace)) = inside.and_then(|service| service.rsplit_once('.')) {
        // A policy sees the pod's port, which only the Service knows: the port stays open here.
        return json!({"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}]});
    }
    json!({
        "to": [
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": [
                "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
            ]}},
            {"ipBlock": {"cidr": "::/0", "except": ["::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10"]}},
        ],
        "ports": [{"port": port, "protocol": "TCP"}],
    })
}

/// Host and port of a URL.
fn authority(url: &str) -> Option<(String, u16)> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    Some((host, uri.port_u16().unwrap_or(port)))
}

#[cfg(test)]
mod tests {
    use cardea_contract::SecretsConfig;
    use cardea_contract::secrets::{Store, StoreKind};

    use super::*;

    #[test]
    fn an_issuer_opens_as_little_as_its_url_allows() {
        let to = |url: &str| {
            let (host, port) = authority(url).unwrap();
            to_authority(&host, port, "cluster.local")
        };
        let address = to("https://192.0.2.7:8443/realm");
        assert_eq!(address["to"][0]["ipBlock"]["cidr"], "192.0.2.7/32");
        assert_eq!(address["ports"][0]["port"], 8443);
        let inside = to("https://idp.login.svc.cluster.local/realm");
        assert_eq!(inside["to"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], "login");
        assert_eq!(to("https://idp.login.svc")["to"], inside["to"]);
        let outside = to("https://idp.login.svc.example.com");
        assert_eq!(outside["ports"][0]["port"], 443);
        assert!(outside["to"][0]["ipBlock"]["except"].as_array().unwrap().contains(&json!("169.254.0.0/16")));
    }

    #[test]
    fn stores_open_each_way_once() {
        let to = |kinds: &[StoreKind]| {
            let store = |kind: &StoreKind| Store { kind: kind.clone(), ca_bundle: false };
            let stores = kinds.iter().map(|kind| (kind.name().to_owned(), store(kind))).collect();
            let config = SecretsConfig { stores, secrets: vec![], same_user: false };
            to_stores(&Fetched { config, stores: Default::default(), rolls: Default::default() }, "cluster.local")
        };
        let azure = StoreKind::AzureKeyVault {
            vault_url: "https://a.vault.azure.net".into(),
            tenant_id: "t".into(),
            client_id: "c".into(),
            authority_host: None,
        };
        let aws = StoreKind::AwsSecretsManager { region: "eu-west-1".into(), role_arn: "r".into(), endpoint: None };
        let ways = to(&[azure, aws]);
        assert_eq!((ways.len(), &ways[0]["ports"][0]["port"]), (1, &json!(443)));
        let connect = |url: &str| [StoreKind::OnePasswordConnect { url: url.into() }];
        assert_eq!(to(&connect("http://192.0.2.7"))[0]["ports"][0]["port"], 80);
        let inside = &to(&connect("http://connect.tools.svc:8080"))[0]["to"][0]["namespaceSelector"]["matchLabels"];
        assert_eq!(inside["kubernetes.io/metadata.name"], "tools");
    }
}
