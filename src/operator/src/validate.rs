//! Step 2: from what was asked to what is checked. Pure, and the only place that says no; whatever leaves here builds
//! without a further check. Most mistakes never come this far: the schema refuses them at apply.

mod access;
mod authentication;
mod limits;
mod posture;
mod provable;
mod rotation;
mod secrets;
mod stores;
mod transport;
mod words;

use std::collections::BTreeMap;

use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{AuditLevel, ClientAuth, McpServerSpec, PinningMode, RuleWarning, Secret, Workload};
use cardea_contract as contract;
use cardea_policy::Redaction;
use jiff::SignedDuration;
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;

use crate::children::Owner;
use crate::governance::Governing;
use crate::installation::Installation;
use crate::observe::Observed;

/// A server that passed every check. `build` needs nothing else.
#[derive(Clone, Debug)]
pub struct ValidatedServer {
    /// Namespace of the server and all its children.
    pub namespace: String,
    /// Name of the server, of its Service and most other children: a DNS label.
    pub name: String,
    /// UID of the `McpServer`, for owner references.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// URL of the MCP endpoint.
    pub resource: String,
    /// Image of the server.
    pub image: ServerImage,
    /// Where the server listens inside the pod.
    pub upstream: contract::Upstream,
    /// Plain headers in which it is told who calls.
    pub identity_headers: Option<contract::IdentityHeaders>,
    /// What the agent in its container is told; none if the server starts by itself.
    pub serve: Option<contract::ServeConfig>,
    /// How its pods run.
    pub workload: Workload,
    /// Secrets for its container.
    pub secrets: Vec<Secret>,
    /// What is fetched of them by a sidecar; none if nothing is.
    pub fetched: Option<Fetched>,
    /// The rotation of these that its pods are there for, if there was one.
    pub rotation: Option<String>,
    /// Whether clients need a certificate.
    pub client_auth: contract::ClientAuth,
    /// Further authorities of client certificates (PEM).
    pub client_ca: Option<String>,
    /// How long a leaf lives.
    pub leaf_lifetime: SignedDuration,
    /// What proves an identity.
    pub authentication: contract::Authentication,
    /// Secrets for the proxy's container.
    pub proxy_secrets: Vec<ProxySecret>,
    /// Who may call what; known to compile.
    pub rules: Vec<contract::Rule>,
    /// How many of these are its own: the first.
    pub own_rules: usize,
    /// The McpAccessPolicies whose rules are among them, each with its generation.
    pub policies: BTreeMap<String, i64>,
    /// What of these has no effect on this server, by the policy's name.
    pub policy_warnings: BTreeMap<String, Vec<RuleWarning>>,
    /// What its tools must be like.
    pub pinning: Option<contract::Pinning>,
    /// Who reaches the proxy.
    pub ingress: Vec<NetworkPolicyPeer>,
    /// What the pod reaches, beyond DNS and issuers.
    pub egress: Vec<cardea_api::v1alpha1::EgressDestination>,
    /// Bounds of requests.
    pub limits: contract::Limits,
    /// What is audited.
    pub audit: contract::AuditLevel,
    /// What is cut out of what is written down; known to compile.
    pub redact: contract::Redact,
    /// Openings that make it less than closed.
    pub posture: Vec<String>,
}

impl ValidatedServer {
    /// Whose its children are.
    pub fn owner(&self) -> Owner<'_> {
        Owner { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// The same with the rules of these policies in place of those it has.
    ///
    /// # Errors
    /// When they make no sense together with its own.
    pub fn with_policies(&self, governing: &Governing) -> Result<Self, Rejection> {
        let mut server = self.clone();
        server.rules.truncate(self.own_rules);
        server.policies = access::govern(&mut server.rules, governing)?;
        Ok(server)
    }
}

/// Image of the server, as a container spells it.
#[derive(Clone, Debug)]
pub struct ServerImage {
    /// Reference.
    pub reference: String,
    /// Pull policy.
    pub pull_policy: Option<String>,
    /// Names of the Secrets with registry credentials.
    pub pull_secrets: Vec<String>,
}

/// One value of a Secret that the proxy's container gets as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySecret {
    /// Name of the Secret.
    pub secret: String,
    /// Key in the Secret.
    pub key: String,
    /// Below [`pod::CREDENTIALS_DIR`], in a folder of its own.
    pub file: &'static str,
}

/// Why a server is left as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The condition that turns False.
    pub condition: &'static str,
    /// One of [`reasons`].
    pub reason: &'static str,
    /// What is wrong and what helps.
    pub message: String,
    /// Whether only a change of the spec helps, so that trying again is of no use.
    pub stalled: bool,
}

impl Rejection {
    fn invalid(message: impl Into<String>) -> Self {
        Self { condition: condition::ACCEPTED, reason: reasons::INVALID, message: message.into(), stalled: true }
    }

    fn no_right_on_secrets(namespace: &str) -> Self {
        Self {
            condition: condition::CERTIFICATE_READY,
            reason: reasons::NO_RIGHT_ON_SECRETS,
            message: format!(
                "the operator may not use Secrets in this namespace: add {namespace:?} to the chart's value `namespaces`, which binds it to the ClusterRole cardea-server-secrets there"
            ),
            stalled: false,
        }
    }

    fn missing_policy(name: &str) -> Self {
        Self {
            condition: condition::POLICY_READY,
            reason: reasons::POLICY_NOT_FOUND,
            message: format!(
                "spec.auth.policyRef names the McpAuthPolicy {name:?}, which does not exist in this namespace, or cannot be read: create it, or name another"
            ),
            stalled: false,
        }
    }

    fn unaccepted_policy(name: &str, problem: &str) -> Self {
        Self {
            condition: condition::POLICY_READY,
            reason: reasons::POLICY_NOT_ACCEPTED,
            message: format!(
                "the McpAccessPolicy {name:?} governs this server and makes no sense, so the server is left as it is: {problem}"
            ),
            stalled: false,
        }
    }

    fn missing_ca(condition: &'static str, field: &str, name: &str) -> Self {
        Self {
            condition,
            reason: reasons::CA_NOT_FOUND,
            message: format!(
                "{field} names the ConfigMap {name:?}, which does not exist or has no certificate under the key ca.crt: create it"
            ),
            stalled: false,
        }
    }
}

pub use access::policy_rules;
pub use secrets::Fetched;
pub use stores::{StoreAccess, StoreToken, urls};

const DEFAULT_LEAF_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// Checks a server of a cluster.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(observed: &Observed, installation: &Installation) -> Result<ValidatedServer, Rejection> {
    if observed.namespace == installation.namespace {
        // Its leaf would be issued for a ServiceAccount of this namespace, and the operator's is one.
        return Err(Rejection::invalid(format!(
            "metadata.namespace: {:?} belongs to the operator: create the McpServer in another namespace",
            installation.namespace
        )));
    }
    if !observed.may_use_secrets {
        return Err(Rejection::no_right_on_secrets(&observed.namespace));
    }
    validate_at(observed, &format!("https://{}.{}.svc", observed.name, observed.namespace))
}

/// Checks what a server's manifest says, wherever it runs. Clients reach it at `origin`: scheme and authority of its URL.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate_at(observed: &Observed, origin: &str) -> Result<ValidatedServer, Rejection> {
    let spec = &observed.server.spec;
    let (namespace, name) = (observed.namespace.clone(), observed.name.clone());
    let transport = spec.transport.clone().unwrap_or_default();
    let upstream = transport::upstream(&transport)?;
    let resource = format!("{origin}{}", upstream.path);
    let image = spec
        .source
        .image
        .as_ref()
        .ok_or_else(|| Rejection::invalid("spec.source needs exactly one member: set image"))?;
    let tls = spec.tls.clone().unwrap_or_default();
    let client_ca = match &tls.client_ca_ref {
        None => None,
        Some(reference) => Some(observed.authorities.get(&reference.name).cloned().flatten().ok_or_else(|| {
            Rejection::missing_ca(condition::CERTIFICATE_READY, "spec.tls.clientCaRef", &reference.name)
        })?),
    };
    let client_auth = tls.client_auth.unwrap_or_default();
    let leaf_lifetime = tls
        .issuer
        .and_then(|issuer| issuer.builtin)
        .and_then(|builtin| builtin.duration_seconds)
        .map_or(DEFAULT_LEAF_LIFETIME, SignedDuration::from_secs);
    let authentication = authentication::authentication(observed, &resource)?;
    if authentication.client_certificates && client_auth == ClientAuth::None {
        return Err(Rejection::invalid(format!(
            "{}.clientCertificates needs certificates, but spec.tls.clientAuth is None: set it to Required or Optional",
            observed.auth_at()
        )));
    }
    let ruled = access::rules(observed, &authentication)?;
    let workload = spec.workload.clone().unwrap_or_default();
    check_account(&workload)?;
    let stdio = matches!(upstream.listens, contract::Listens::Socket(_));
    let secrets = secrets::secrets(observed, &workload, stdio)?;
    let limits = limits::limits(&spec.limits.clone().unwrap_or_default());
    let command = workload.command.iter().chain(&workload.args).cloned().collect();
    let serve = transport::serve(&transport, &upstream.path, command, secrets.given, limits.max_body_bytes)?;
    let network = spec.network.clone().unwrap_or_default();
    Ok(ValidatedServer {
        uid: observed.uid.clone(),
        generation: observed.server.metadata.generation.unwrap_or_default(),
        resource,
        image: ServerImage {
            reference: image.reference.clone(),
            pull_policy: image.pull_policy.map(|policy| policy.as_str().to_owned()),
            pull_secrets: image.pull_secrets.iter().map(|reference| reference.name.clone()).collect(),
        },
        upstream,
        serve,
        identity_headers: transport.identity_headers.map(|asked| contract::IdentityHeaders {
            subject: asked.subject,
            groups: asked.groups,
            issuer: asked.issuer,
        }),
        workload,
        secrets: spec.secrets.clone(),
        posture: posture::of(spec, &authentication, secrets.fetched.as_ref(), &ruled.rules),
        rotation: secrets.fetched.as_ref().and_then(|fetched| rotation::rotation(observed, fetched)),
        fetched: secrets.fetched,
        client_auth: match client_auth {
            ClientAuth::Required => contract::ClientAuth::Required,
            ClientAuth::Optional => contract::ClientAuth::Optional,
            ClientAuth::None => contract::ClientAuth::None,
        },
        client_ca,
        leaf_lifetime,
        authentication,
        proxy_secrets: observed.auth().map(authentication::proxy_secrets).unwrap_or_default(),
        rules: ruled.rules,
        own_rules: ruled.own_rules,
        policies: ruled.policies,
        policy_warnings: ruled.warnings,
        pinning: pinning(spec),
        ingress: network.ingress.map(|ingress| ingress.from).unwrap_or_default(),
        egress: network.egress.map(|egress| egress.to).unwrap_or_default(),
        limits,
        audit: match spec.audit.clone().unwrap_or_default().level.unwrap_or_default() {
            AuditLevel::None => contract::AuditLevel::None,
            AuditLevel::Decisions => contract::AuditLevel::Decisions,
            AuditLevel::Full => contract::AuditLevel::Full,
        },
        redact: redact(spec)?,
        namespace,
        name,
    })
}

/// The name becomes part of a SPIFFE id, so nothing may stand in it that would make it another's.
fn check_account(workload: &Workload) -> Result<(), Rejection> {
    let inside = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_label = |label: &str| {
        let ends = label.bytes().next().is_some_and(inside) && label.bytes().last().is_some_and(inside);
        ends && label.bytes().all(|letter| inside(letter) || letter == b'-')
    };
    match &workload.service_account_name {
        Some(name) if !name.split('.').all(is_label) => Err(Rejection::invalid(format!(
            "spec.workload.serviceAccountName: {name:?} is no name of a ServiceAccount: use lower-case letters, digits, '-' and '.'"
        ))),
        _ => Ok(()),
    }
}

fn pinning(spec: &McpServerSpec) -> Option<contract::Pinning> {
    let asked = spec.tools.as_ref()?.pinning.clone()?;
    let enforce = match asked.mode.unwrap_or_default() {
        PinningMode::Off => return None,
        PinningMode::Warn => false,
        PinningMode::Enforce => true,
    };
    let digests = asked.digests.into_iter().map(|pinned| (pinned.name, pinned.digest)).collect();
    Some(contract::Pinning { enforce, digests })
}

fn redact(spec: &McpServerSpec) -> Result<contract::Redact, Rejection> {
    let asked = spec.audit.clone().unwrap_or_default().redact.unwrap_or_default();
    let redact = contract::Redact { keys: asked.keys, paths: asked.paths, patterns: asked.patterns };
    match Redaction::compile(&redact) {
        Ok(_) => Ok(redact),
        Err(error) => Err(Rejection::invalid(format!("spec.audit.redact.{error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_cut_out_is_named() {
        let spec = |patterns: &str| {
            let spec = serde_json::json!({"source": {}, "audit": {"redact": {"patterns": [patterns]}}});
            redact(&serde_json::from_value(spec).unwrap())
        };
        assert_eq!(spec("acct-[0-9]+").unwrap().patterns, ["acct-[0-9]+"]);
        let message = spec("acct-(").unwrap_err().message;
        assert!(message.starts_with("spec.audit.redact.patterns: \"acct-(\" is no usable"), "{message}");
    }

    #[test]
    fn an_account_is_named_as_kubernetes_names_them() {
        let check = |name: &str| {
            check_account(&Workload { service_account_name: Some(name.to_owned()), ..Workload::default() })
        };
        for good in ["runner", "team.runner-2", "0"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "../cardea-system/sa/cardea-operator", "a/b", "A", "é", "a b", "-a", "a.", "a?b", "a%2fb"] {
            let message = check(bad).unwrap_err().message;
            assert!(message.contains("serviceAccountName"), "{bad}: {message}");
        }
    }
}
