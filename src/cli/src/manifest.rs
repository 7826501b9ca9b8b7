//! From a file of YAML to one `McpServer` and the policy that it names, with the checks that an API server makes at apply: no unknown field, types and
//! bounds of the schema, validation rules.
//!
//! Does not know what a manifest refers to, nor what is made of it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use cardea_api::v1alpha1::{McpAccessPolicy, McpAuthPolicy, McpServer};
use cardea_operator::governance::Governing;
use cardea_operator::manifests;
use cardea_operator::policy_users::policy_of;
use kube::core::cel::Validator;
use serde_json::{Value, json};

/// Largest file. An object in a cluster is no larger.
const MAX_BYTES: u64 = 3 << 20;

/// Reads a file of at most [`MAX_BYTES`]; `-` is the standard input.
///
/// # Errors
/// When it cannot be read or is too large.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    ensure!(text.len() as u64 <= MAX_BYTES, "{} is larger than {MAX_BYTES} bytes", path.display());
    Ok(text)
}

/// The one `McpServer` in these documents, or the one of this name. Documents of other kinds are passed over.
///
/// # Errors
/// All that is wrong with it, each with its field.
pub(crate) fn server(text: &str, name: Option<&str>) -> anyhow::Result<McpServer> {
    let named = |document: &Value| name.is_none_or(|name| document.pointer("/metadata/name") == Some(&json!(name)));
    let mut servers = documents(text)?.into_iter().filter(|document| is_server(document) && named(document));
    match (servers.next(), servers.next()) {
        (Some(server), None) => read(server),
        (None, _) => bail!("no McpServer{} in the manifest", name.map_or(String::new(), |name| format!(" {name:?}"))),
        (Some(_), Some(_)) => bail!("more than one McpServer in the manifest: say which with --server NAME"),
    }
}

/// Every `McpServer` in these documents.
///
/// # Errors
/// All that is wrong with the first that is not right, each thing with its field.
pub(crate) fn servers(text: &str) -> anyhow::Result<Vec<McpServer>> {
    documents(text)?.into_iter().filter(is_server).map(read).collect()
}

fn is_server(document: &Value) -> bool {
    document.get("kind") == Some(&json!("McpServer"))
}

fn read(server: Value) -> anyhow::Result<McpServer> {
    let version = server.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    ensure!(version == "cardea.dev/v1alpha1", "apiVersion: {version:?} is not known: write cardea.dev/v1alpha1");
    let metadata_name = server.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    ensure!(!metadata_name.is_empty(), "metadata.name is missing: give the server a name");
    check(&server)?;
    serde_json::from_value(server).context("the manifest does not read as an McpServer")
}

/// The policies that count for a server.
#[derive(Default)]
pub(crate) struct Policies {
    /// What counts as evidence, if the server names a policy.
    pub(crate) auth: Option<Arc<McpAuthPolicy>>,
    /// Who may use what.
    pub(crate) governing: Governing,
}

/// The policies of these documents that count for a server of theirs.
///
/// # Errors
/// All that is wrong with one of them, each thing with its field.
pub(crate) fn policies(text: &str, server: &McpServer) -> anyhow::Result<Policies> {
    let auth = auth_policy(text, server)?.map(Arc::new);
    let of_access = |document: &Value| document.get("kind") == Some(&json!("McpAccessPolicy"));
    let read = |policy: Value| -> anyhow::Result<McpAccessPolicy> {
        let name = policy.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        check(&policy).with_context(|| format!("McpAccessPolicy {name:?}"))?;
        serde_json::from_value(policy).context("the manifest does not read as an McpAccessPolicy")
    };
    let access: Vec<_> = documents(text)?.into_iter().filter(of_access).map(read).collect::<Result<_, _>>()?;
    Ok(Policies { auth, governing: Governing::among(access, server) })
}

/// The `McpAuthPolicy` that a server names, if it is among them.
fn auth_policy(text: &str, server: &McpServer) -> anyhow::Result<Option<McpAuthPolicy>> {
    let Some(name) = policy_of(server) else { return Ok(None) };
    let fits = |document: &Value| {
        document.get("kind") == Some(&json!("McpAuthPolicy"))
            && document.pointer("/metadata/name") == Some(&json!(name))
    };
    let Some(policy) = documents(text)?.into_iter().find(fits) else { return Ok(None) };
    check(&policy).with_context(|| format!("McpAuthPolicy {name:?}"))?;
    serde_json::from_value(policy).context("the manifest does not read as an McpAuthPolicy")
}

fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    serde_saphyr::from_multiple(text).context("the manifest is not YAML")
}

/// Everything that its CRD says of a manifest.
fn check(server: &Value) -> anyhow::Result<()> {
    let schema = schema(server.get("kind").and_then(Value::as_str).unwrap_or_default())?;
    let mut closed = schema.clone();
    close(&mut closed);
    if let Some(Value::Object(members)) = closed.get_mut("properties") {
        members.extend(["apiVersion", "kind", "metadata"].map(|member| (member.to_owned(), json!(true))));
    }
    let by_schema = jsonschema::validator_for(&closed).context("the schema cannot be used")?;
    let mut problems: Vec<String> =
        by_schema.iter_errors(server).map(|error| problem(&error.instance_path().to_string(), &error)).collect();
    if problems.is_empty()
        && let Err(broken) = Validator::new().validate(&schema, server, None)
    {
        problems = broken.as_slice().iter().map(|error| error.message.clone()).collect();
    }
    ensure!(problems.is_empty(), "the manifest is not valid:\n  {}", problems.join("\n  "));
    Ok(())
}

fn schema(kind: &str) -> anyhow::Result<Value> {
    let crds = manifests::crds();
    let (_, crd) =
        crds.iter().find(|(_, crd)| crd.spec.names.kind == kind).with_context(|| format!("no CRD of {kind:?}"))?;
    let version = crd.spec.versions.iter().find(|version| version.name == "v1alpha1").context("no v1alpha1")?;
    Ok(json!(version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref())))
}

/// Lets an object have the members that are described and no other, as `kubectl` asks the API server to.
fn close(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if members.contains_key("properties") && members.get("x-kubernetes-preserve-unknown-fields").is_none() {
        members.entry("additionalProperties").or_insert(json!(false));
    }
    for (keyword, inner) in members {
        match (keyword.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(close),
            ("items" | "additionalProperties", inner) => close(inner),
            _ => {}
        }
    }
}

/// One line that names the field as a person writes it: `spec.access.rules[0].tools`.
fn problem(pointer: &str, error: &dyn std::fmt::Display) -> String {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            field.push_str(&format!("[{part}]"));
        } else {
            field.push_str(if field.is_empty() { "" } else { "." });
            field.push_str(part);
        }
    }
    let text: String = error.to_string().chars().take(300).collect();
    if field.is_empty() { text } else { format!("{field}: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "apiVersion: cardea.dev/v1alpha1\nkind: McpServer\nmetadata: {name: notes}\nspec:\n  source: {image: {ref: example.com/notes}}\n";

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
        assert!(auth_policy(&using, &server).unwrap().is_none());
        let policy = "---\napiVersion: cardea.dev/v1alpha1\nkind: McpAuthPolicy\nmetadata: {name: corp}\nspec:\n";
        let found = auth_policy(&format!("{using}{policy}  clientCertificates: {{}}\n"), &server).unwrap().unwrap();
        assert!(found.spec.client_certificates.is_some());
        let wrong = auth_policy(&format!("{using}{policy}  clientCertificate: {{}}\n"), &server).unwrap_err();
        assert!(format!("{wrong:#}").contains("clientCertificate"), "{wrong:#}");
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused_with_its_field() {
        for (line, expected) in [
            ("  acess: {rules: []}", "spec: Additional properties are not allowed ('acess'"),
            ("  transport: {port: 0}", "spec.transport.port: 0 is less than the minimum"),
            ("  transport: {port: eighty}", "spec.transport.port: \"eighty\" is not of type"),
            ("  transport: {port: 8443}", "belong to the proxy"),
            ("  access: {rules: [{name: a, tools: ['*'], principals: []}]}", "spec.access.rules[0].principals: [] has"),
            ("  secrets:\n  secrets: []", "duplicate"),
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
