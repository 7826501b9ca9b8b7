//! The manifests of ours among some documents: one `McpServer` and the policies that count for it, with the checks that an
//! API server makes at apply.
//!
//! Does not know what a manifest refers to beyond these documents, nor what is made of it.

mod check;
mod examples;
mod schema;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpSecretStore, McpServer};
use cardea_operator::governance::Governing;
use cardea_operator::observe::SecretStores;
use cardea_operator::users::{policy_of, stores_of};
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::check::{By, Problem, check};
use crate::documents::{self, Document};

/// Kinds that are ours. Documents of others are passed over.
pub(crate) const KINDS: [&str; 4] = ["McpServer", "McpAuthPolicy", "McpAccessPolicy", "McpSecretStore"];

/// What manifests are taken from, in their order.
#[derive(Debug, Default)]
pub(crate) struct Manifests(Vec<Document>);

impl Manifests {
    /// The documents of a text.
    ///
    /// # Errors
    /// When it is not YAML.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        Ok(Self(documents::read(text)?))
    }

    /// These and the others.
    pub(crate) fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// The one `McpServer`, or the one of this name.
    ///
    /// # Errors
    /// All that is wrong with it, each with its field.
    pub(crate) fn server(&self, name: Option<&str>) -> anyhow::Result<McpServer> {
        let named = |document: &&Document| name.is_none_or(|name| name_of(&document.value) == Some(name));
        let mut servers = self.of_kind("McpServer").filter(named);
        match (servers.next(), servers.next()) {
            (Some(server), None) => typed(&server.value),
            (None, _) => {
                bail!("no McpServer{} in the manifest", name.map_or(String::new(), |name| format!(" {name:?}")))
            }
            (Some(_), Some(_)) => bail!("more than one McpServer in the manifest: say which with --server NAME"),
        }
    }

    /// Every `McpServer`.
    ///
    /// # Errors
    /// All that is wrong with the first that is not right, each thing with its field.
    pub(crate) fn servers(&self) -> anyhow::Result<Vec<McpServer>> {
        self.of_kind("McpServer").map(|document| typed(&document.value)).collect()
    }

    /// The policies that count for a server.
    ///
    /// # Errors
    /// All that is wrong with one of them, each thing with its field.
    pub(crate) fn policies(&self, server: &McpServer) -> anyhow::Result<Policies> {
        let of_access = self.of_kind("McpAccessPolicy").map(|document| {
            let name = name_of(&document.value).unwrap_or_default();
            typed(&document.value).with_context(|| format!("McpAccessPolicy {name:?}"))
        });
        let of_access: Vec<McpAccessPolicy> = of_access.collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        for policy in &of_access {
            let namespace = server.namespace().map(|own| policy.namespace().unwrap_or(own));
            let twice = format!("McpAccessPolicy {:?} is there twice", policy.name_any());
            ensure!(names.insert((namespace, policy.name_any())), twice);
        }
        let governing = Governing::among(of_access, server);
        let stores = self.secret_stores(server)?;
        Ok(Policies { auth: self.auth_policy(server)?.map(Arc::new), governing, stores })
    }

    /// The `McpSecretStore`s that a server names, if all of them are among these: a store may be somebody else's to say.
    ///
    /// # Errors
    /// All that is wrong with one of them, each with its field.
    pub(crate) fn secret_stores(&self, server: &McpServer) -> anyhow::Result<Option<SecretStores>> {
        let mut stores = SecretStores::new();
        for name in stores_of(server) {
            let Some(store) = self.named(server, "McpSecretStore", &name) else { return Ok(None) };
            let store: McpSecretStore = typed(&store.value).with_context(|| format!("McpSecretStore {name:?}"))?;
            stores.insert(name, Arc::new(store));
        }
        Ok(Some(stores))
    }

    /// The `McpAuthPolicy` that a server names, if it is among them.
    ///
    /// # Errors
    /// All that is wrong with it, each with its field.
    pub(crate) fn auth_policy(&self, server: &McpServer) -> anyhow::Result<Option<McpAuthPolicy>> {
        let Some(name) = policy_of(server) else { return Ok(None) };
        let Some(policy) = self.named(server, "McpAuthPolicy", &name) else { return Ok(None) };
        typed(&policy.value).with_context(|| format!("McpAuthPolicy {name:?}")).map(Some)
    }

    /// What a server means by this name: one of its namespace, as far as that is said.
    fn named<'m>(&'m self, server: &McpServer, kind: &'m str, name: &str) -> Option<&'m Document> {
        let here =
            |document: &Document| match (document.value.pointer("/metadata/namespace"), &server.metadata.namespace) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
        self.of_kind(kind).find(|document| name_of(&document.value) == Some(name) && here(document))
    }

    fn of_kind<'m>(&'m self, kind: &'m str) -> impl Iterator<Item = &'m Document> {
        self.0.iter().filter(move |document| document.value.get("kind") == Some(&json!(kind)))
    }
}

/// The policies that count for a server, and what else it refers to.
#[derive(Clone, Default)]
pub(crate) struct Policies {
    /// What counts as evidence, if the server names a policy.
    pub(crate) auth: Option<Arc<McpAuthPolicy>>,
    /// Who may use what.
    pub(crate) governing: Governing,
    /// Where its secrets are; none if that is not known.
    pub(crate) stores: Option<SecretStores>,
}

impl FromIterator<Document> for Manifests {
    fn from_iter<I: IntoIterator<Item = Document>>(documents: I) -> Self {
        Self(documents.into_iter().collect())
    }
}

fn name_of(document: &Value) -> Option<&str> {
    document.pointer("/metadata/name")?.as_str()
}

/// A document of ours, checked.
fn typed<K: DeserializeOwned>(document: &Value) -> anyhow::Result<K> {
    let problems: Vec<String> = check(document).iter().map(Problem::to_string).collect();
    match &problems[..] {
        [] => serde_json::from_value(document.clone()).context("the manifest cannot be read"),
        [only] => bail!("the manifest is not valid: {only}"),
        all => bail!("the manifest is not valid:\n  {}", all.join("\n  ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "apiVersion: cardea.dev/v1alpha1\nkind: McpServer\nmetadata: {name: notes}\nspec:\n  source: {image: {ref: example.com/notes}}\n";

    fn server(text: &str, name: Option<&str>) -> anyhow::Result<McpServer> {
        Manifests::read(text)?.server(name)
    }

    fn says(text: &str) -> String {
        format!("{:#}", server(text, None).unwrap_err())
    }

    #[test]
    fn one_server_is_found_among_other_documents() {
        let other = "kind: Namespace\nmetadata: {name: tools}\n---\n";
        assert_eq!(server(&format!("{other}{SMALLEST}"), None).unwrap().metadata.name.unwrap(), "notes");
        let twice = format!("{SMALLEST}---\n{}", SMALLEST.replace("name: notes}", "name: second}"));
        assert!(says(&twice).contains("--server NAME"));
        assert_eq!(server(&twice, Some("second")).unwrap().metadata.name.unwrap(), "second");
        assert!(says(other).contains("no McpServer"));
    }

    #[test]
    fn a_policy_is_found_beside_its_server() {
        let using = format!("{SMALLEST}  auth: {{policyRef: {{name: corp}}}}\n");
        let server = server(&using, None).unwrap();
        let auth_policy = |text: &str| Manifests::read(text).unwrap().auth_policy(&server);
        assert!(auth_policy(&using).unwrap().is_none());
        let policy = "---\napiVersion: cardea.dev/v1alpha1\nkind: McpAuthPolicy\nmetadata: {name: corp}\nspec:\n";
        let found = auth_policy(&format!("{using}{policy}  clientCertificates: {{}}\n")).unwrap().unwrap();
        assert!(found.spec.client_certificates.is_some());
        let wrong = auth_policy(&format!("{using}{policy}  clientCertificate: {{}}\n")).unwrap_err();
        assert!(format!("{wrong:#}").contains("spec.clientCertificate: is not known"), "{wrong:#}");
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused_with_its_field() {
        for (line, expected) in [
            ("  acess: {rules: []}", "spec.acess: is not known: there are access, audit, auth,"),
            ("  transport: {port: 0}", "spec.transport.port: 0 is less than 1"),
            ("  transport: {port: eighty}", "spec.transport.port: \"eighty\" is not a whole number"),
            ("  transport: {port: 8443}", "belong to the proxy"),
            (
                "  access: {rules: [{name: a, tools: ['*'], principals: []}]}",
                "spec.access.rules[0].principals: is empty",
            ),
            (
                "  tools: {pinning: {digests: [{name: a, digest: x}, {name: a, digest: x}]}}",
                "spec.tools.pinning.digests[1].name: \"a\" is there twice",
            ),
            ("  secrets:\n  secrets: []", "not YAML: line 7, column 3: duplicate"),
        ] {
            let problem = says(&format!("{SMALLEST}{line}\n"));
            assert!(problem.contains(expected), "{line}: {problem}");
        }
        assert!(says(&SMALLEST.replace("v1alpha1", "v2")).contains("apiVersion"));
    }

    #[test]
    fn a_file_that_grows_when_read_is_refused() {
        let mut bomb = String::from("a0: &a0 [x]\n");
        for level in 1..30 {
            let last = level - 1;
            bomb.push_str(&format!("a{level}: &a{level} [*a{last}, *a{last}, *a{last}, *a{last}]\n"));
        }
        assert!(says(&bomb).contains("not YAML"));
    }
}
