//! Step 3: certificates kept, issued or renewed. Pure but for the keys that it draws; the clock is an argument.

use cardea_pki::{Authority, Leaf, LeafFacts, LeafRequest, PkiError, Renewal, SpiffeId, decide};
use jiff::Timestamp;

use crate::children::{Child, Children, Kind};
use crate::installation::Installation;
use crate::ownership;
use crate::validate::ValidatedServer;

/// Annotation with the serial number of the leaf in a certificate Secret.
pub const SERIAL_ANNOTATION: &str = "cardea.dev/serial";
/// Annotation with the begin of its validity.
pub const NOT_BEFORE_ANNOTATION: &str = "cardea.dev/not-before";
/// Annotation with the end of its validity.
pub const NOT_AFTER_ANNOTATION: &str = "cardea.dev/not-after";
/// Annotation with the digest of what it was issued for.
pub const REQUEST_ANNOTATION: &str = "cardea.dev/request";

/// Certificates of one server.
pub struct Material {
    /// Authorities of the trust domain (PEM).
    pub trust_bundle: String,
    /// The server's leaf.
    pub leaf: LeafMaterial,
    /// Digest of what the leaf is issued for.
    pub request: String,
    /// What is known of the leaf.
    pub facts: LeafFacts,
    /// When to look again.
    pub due: Timestamp,
}

/// The server's leaf: what is in the Secret stays there, or is replaced.
pub enum LeafMaterial {
    /// It stays.
    Kept,
    /// It is new.
    Issued(Leaf),
}

/// Decides about the server's leaf and issues one if it is due.
///
/// # Errors
/// When the authority cannot issue it.
pub fn material(
    server: &ValidatedServer,
    children: &Children,
    authority: &Authority,
    installation: &Installation,
    now: Timestamp,
) -> Result<Material, PkiError> {
    let wanted = leaf_request(server, installation);
    let request = wanted.digest(authority.id());
    let known = children
        .get(&(Kind::Secret, certificate_secret(&server.name)))
        .filter(|secret| secret.owner.as_deref() == Some(&server.uid) && is_untouched(secret))
        .and_then(facts);
    let (leaf, facts, due) = match (decide(known.as_ref(), &request, now), known) {
        (Renewal::KeepUntil(due), Some(facts)) => (LeafMaterial::Kept, facts, due),
        _ => {
            let leaf = authority.issue(&wanted, now)?;
            let facts = LeafFacts {
                serial: leaf.serial.clone(),
                not_before: leaf.not_before,
                not_after: leaf.not_after,
                request: request.clone(),
            };
            let due = cardea_pki::due(&facts);
            (LeafMaterial::Issued(leaf), facts, due)
        }
    };
    Ok(Material { trust_bundle: authority.trust_bundle().to_owned(), leaf, request, facts, due })
}

/// Name of the Secret with a server's certificate.
pub fn certificate_secret(server: &str) -> String {
    format!("{server}-tls")
}

fn leaf_request(server: &ValidatedServer, installation: &Installation) -> LeafRequest {
    LeafRequest {
        dns_names: installation.service_names(&server.namespace, &server.name).into(),
        spiffe_id: SpiffeId::new(installation.trust_domain.clone(), &server.namespace, service_account(server)),
        lifetime: server.leaf_lifetime,
    }
}

/// ServiceAccount of the server's pods.
pub fn service_account(server: &ValidatedServer) -> &str {
    server.workload.service_account_name.as_deref().unwrap_or(&server.name)
}

/// Whether nobody else has written over the key, the certificate, or what we know of it.
fn is_untouched(secret: &Child) -> bool {
    let ours = serde_json::json!({
        "metadata": {"annotations": {
            SERIAL_ANNOTATION: "", NOT_BEFORE_ANNOTATION: "", NOT_AFTER_ANNOTATION: "", REQUEST_ANNOTATION: "",
        }},
        "data": {"tls.crt": "", "tls.key": ""},
    });
    ownership::covers(secret.fields.as_deref(), &ours)
}

fn facts(secret: &Child) -> Option<LeafFacts> {
    let text = |name: &str| secret.annotations.get(name);
    Some(LeafFacts {
        serial: text(SERIAL_ANNOTATION)?.clone(),
        not_before: text(NOT_BEFORE_ANNOTATION)?.parse().ok()?,
        not_after: text(NOT_AFTER_ANNOTATION)?.parse().ok()?,
        request: text(REQUEST_ANNOTATION)?.clone(),
    })
}
