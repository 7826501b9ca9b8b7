//! What a cluster would give a server, given on this machine: its address, the folders in place of Secrets and ConfigMaps,
//! and whose certificate the client holds. What only a cluster has is said with its field and what to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use cardea_api::v1alpha1::{McpServer, Secret, reasons};
use cardea_contract::{Listens, ProxyConfig};
use cardea_operator::build;
use cardea_operator::observe::Observed;
use cardea_operator::validate::{ProxySecret, ValidatedServer, validate_at};
use cardea_pki::{SpiffeId, TrustDomain};

use super::Flags;
use super::folder::Folder;
use crate::manifest::Policies;

/// Where and for whom a manifest runs.
pub(crate) struct Local {
    pub(crate) namespace: String,
    /// Authority of the URL, with the port.
    pub(crate) authority: String,
    /// Names and addresses that the certificate holds.
    pub(crate) names: Vec<String>,
    /// Whose certificate the client gets.
    pub(crate) client: SpiffeId,
    /// Who may read the report.
    pub(crate) operator: SpiffeId,
    /// Who the server is.
    pub(crate) identity: SpiffeId,
    port: u16,
    upstream: Option<UpstreamUrl>,
    secrets: BTreeMap<String, PathBuf>,
    config_maps: BTreeMap<String, PathBuf>,
}

/// A manifest that can be run here.
pub(crate) struct Fit {
    pub(crate) server: ValidatedServer,
    /// What the proxy is told.
    pub(crate) config: ProxyConfig,
    /// The files that credentials are checked with, by where the proxy looks for them.
    pub(crate) credentials: Vec<(&'static str, PathBuf)>,
}

impl Local {
    pub(crate) fn new(flags: &Flags, server: &McpServer, address: SocketAddr) -> anyhow::Result<Self> {
        let namespace = server.metadata.namespace.clone().unwrap_or_else(|| flags.namespace.clone());
        let trust_domain = TrustDomain::parse(&flags.trust_domain).context("--trust-domain")?;
        let account = flags.account.clone().unwrap_or(Account { namespace: namespace.clone(), name: "client".into() });
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.insert(0, address.ip().to_string());
        }
        let identity = |namespace: &str, name: &str| SpiffeId::new(trust_domain.clone(), namespace, name);
        Ok(Self {
            authority: format!("{}:{}", bracketed(names.first().map_or("localhost", String::as_str)), address.port()),
            client: identity(&account.namespace, &account.name),
            operator: identity("cardea-system", "cardea-operator"),
            identity: identity(&namespace, server.metadata.name.as_deref().unwrap_or_default()),
            port: address.port(),
            upstream: flags.upstream.clone(),
            secrets: folders("--secret", &flags.secret)?,
            config_maps: folders("--config-map", &flags.config_map)?,
            namespace,
            names,
        })
    }

    /// Checks a manifest as the operator does, and builds what the proxy is told.
    ///
    /// # Errors
    /// What is wrong, or what only a cluster has.
    pub(crate) fn fit(&self, mut server: McpServer, policies: Policies, generation: i64) -> anyhow::Result<Fit> {
        server.metadata.generation = Some(generation);
        let authorities = self.config_maps.iter();
        let authorities = authorities.map(|(name, folder)| (name.clone(), read(folder, "ca.crt").ok())).collect();
        let observed = Observed {
            namespace: self.namespace.clone(),
            name: server.metadata.name.clone().unwrap_or_default(),
            uid: "local".into(),
            auth_policy: policies.auth,
            governing: policies.governing,
            secret_stores: None,
            children: BTreeMap::default(),
            workload: Default::default(),
            answers: Default::default(),
            authorities,
            may_use_secrets: true,
            missing_secrets: Default::default(),
            missing_kinds: Default::default(),
            cluster_issuer: None,
            server: Arc::new(server),
        };
        let server = validate_at(&observed, &format!("https://{}", self.authority))
            .map_err(|rejection| anyhow!("{}{}", rejection.message, remedy(rejection.reason)))?;
        let hosts = self.names.iter().map(|name| format!("{}:{}", bracketed(name), self.port)).collect();
        let mut config = build::configuration(&server, hosts, &self.operator);
        if let Some(url) = &self.upstream {
            (config.upstream.listens, config.upstream.path) = (Listens::Port(url.port), url.path.clone());
        }
        Ok(Fit { credentials: self.credentials(&server)?, config, server })
    }

    /// The files that the proxy checks credentials with, by where it looks for them.
    ///
    /// # Errors
    /// When one was not given.
    fn credentials(&self, server: &ValidatedServer) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let of = |wanted: &ProxySecret| {
            let folder = self.secrets.get(&wanted.secret).with_context(|| {
                format!("spec.auth needs the Secret {0:?}: give it with --secret {0}=FOLDER", wanted.secret)
            })?;
            let file = folder.join(&wanted.key);
            ensure!(file.is_file(), "--secret {}: {} is not there", wanted.secret, file.display());
            let file = file.canonicalize().with_context(|| format!("--secret {}", wanted.secret))?;
            Ok((wanted.file, file))
        };
        server.proxy_secrets.iter().map(of).collect()
    }

    /// The folder with the values of a secret, and the name by which it was given: that of the Kubernetes Secret, or where a
    /// store has it that of the entry.
    ///
    /// # Errors
    /// When it was not given.
    fn values<'s>(&'s self, secret: &'s Secret) -> anyhow::Result<(&'s str, &'s PathBuf)> {
        if let Some(source) = &secret.from.kubernetes_secret {
            let of = source.name.as_str();
            let values = self.secrets.get(of);
            return Ok((
                of,
                values.with_context(|| {
                    format!(
                        "spec.secrets: {:?} needs the Secret {of:?}: give it with --secret {of}=FOLDER",
                        secret.name
                    )
                })?,
            ));
        }
        let of = secret.name.as_str();
        let values = self.secrets.get(of);
        Ok((of, values.with_context(|| {
            format!(
                "spec.secrets: {of:?} is fetched from its store by a cluster's pods alone: give its values with --secret {of}=FOLDER, a file for each key"
            )
        })?))
    }

    /// Environment variables of the server's process, over those it inherits.
    ///
    /// # Errors
    /// When a value cannot be had here.
    pub(crate) fn environment(
        &self,
        server: &ValidatedServer,
        folder: &Folder,
    ) -> anyhow::Result<Vec<(String, String)>> {
        let mut environment = Vec::new();
        for variable in &server.workload.env {
            match (&variable.value, &variable.value_from) {
                (Some(value), _) => environment.push((variable.name.clone(), value.clone())),
                (None, Some(_)) => tracing::warn!(
                    "spec.workload.env: {} comes from the cluster; here it has the value of this shell, if any",
                    variable.name
                ),
                (None, None) => environment.push((variable.name.clone(), String::new())),
            }
        }
        for secret in &server.secrets {
            let (of, values) = self.values(secret)?;
            for key in &secret.keys {
                let name = [&key.key, &key.env, &key.file].into_iter().flatten().next().map_or("", String::as_str);
                let value = read(values, name).with_context(|| format!("--secret {of}"))?;
                if let Some(name) = &key.env {
                    environment.push((name.clone(), value));
                } else if let Some(file) = &key.file {
                    let path = folder.write_secret(&secret.name, file, &value)?;
                    tracing::warn!(
                        "spec.secrets: in a pod /run/secrets/{}/{file}, here {}",
                        secret.name,
                        path.display()
                    );
                }
            }
        }
        Ok(environment)
    }
}

/// What helps here against what is missing in a cluster.
fn remedy(reason: &str) -> &'static str {
    match reason {
        reasons::POLICY_NOT_FOUND => ". Here: put it into the same file",
        reasons::CA_NOT_FOUND => ". Here: give it with --config-map NAME=FOLDER",
        reasons::CLUSTER_ISSUER_UNKNOWN => {
            ". Here no cluster signs tokens: run a copy with `clientCertificates: {}` instead and rules that name a spiffeId, and say whose the client is with --as NAMESPACE/NAME"
        }
        _ => "",
    }
}

/// A file of a folder that stands for a Secret or a ConfigMap.
fn read(folder: &std::path::Path, key: &str) -> anyhow::Result<String> {
    let path = folder.join(key);
    std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}

fn folders(flag: &str, given: &[Given]) -> anyhow::Result<BTreeMap<String, PathBuf>> {
    for Given { name, folder } in given {
        ensure!(folder.is_dir(), "{flag} {name}: {} is not a folder", folder.display());
    }
    Ok(given.iter().map(|given| (given.name.clone(), given.folder.clone())).collect())
}

/// An address as the authority of a URL has it.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A ServiceAccount: `NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    namespace: String,
    name: String,
}

impl FromStr for Account {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = |text: &str| {
            let ends = text.bytes().next().is_some_and(inside) && text.bytes().last().is_some_and(inside);
            ends && text.bytes().all(|byte| inside(byte) || b"-.".contains(&byte))
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.into(), name: name.into() })
            }
            _ => Err("write NAMESPACE/NAME, in lower-case letters, digits, '-' and '.'"),
        }
    }
}

/// A folder that stands for a Secret or a ConfigMap: `NAME=FOLDER`.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    name: String,
    folder: PathBuf,
}

impl FromStr for Given {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, folder)) if !name.is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.into(), folder: folder.into() })
            }
            _ => Err("write NAME=FOLDER"),
        }
    }
}

/// Where a server that runs already answers, on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamUrl {
    port: u16,
    path: String,
}

impl FromStr for UpstreamUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("http://").ok_or("write http://127.0.0.1:PORT/PATH: it stays on this machine")?;
        let (authority, path) =
            rest.split_once('/').map_or((rest, "/".to_owned()), |(a, path)| (a, format!("/{path}")));
        let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
        if !["127.0.0.1", "localhost"].contains(&host) {
            return Err("the server must be on 127.0.0.1: whoever else reaches it goes around the proxy");
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or("the port is not a number from 1 to 65535")?;
        if path.contains(['?', '#']) || path.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err("the path must be plain, without query and fragment");
        }
        Ok(Self { port, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_on_this_machine() {
        let of = |text: &str| text.parse::<UpstreamUrl>().map(|url| (url.port, url.path));
        assert_eq!(of("http://127.0.0.1:3000/mcp"), Ok((3000, "/mcp".into())));
        assert_eq!(of("http://localhost:3000"), Ok((3000, "/".into())));
        for bad in [
            "https://127.0.0.1:3000/mcp",
            "http://10.0.0.1:3000/mcp",
            "http://127.0.0.1.evil.example/mcp",
            "http://x@127.0.0.1:3000/mcp",
            "http://127.0.0.1:0/mcp",
            "http://127.0.0.1:99999/mcp",
            "http://127.0.0.1:3000/mcp?a=b",
            "http://127.0.0.1:3000/m p",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_has_two_parts() {
        assert!("agents/planner".parse::<Account>().is_ok());
        for bad in ["planner", "a/", "/b", "a/b/c", "A/b", "a/b c", "../x"] {
            assert!(bad.parse::<Account>().is_err(), "{bad}");
        }
    }
}
