//! Step 3: certificates kept, issued or renewed. Pure but for the keys that it draws; the clock is an argument.

use cardea_contract::pod;
use cardea_pki::{Authority, Leaf, LeafFacts, LeafRequest, PkiError, Renewal, SessionKey, SpiffeId, decide};
use jiff::{SignedDuration, Timestamp};

use crate::children::{Child, Children, Kind, Owner};
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

/// Annotation with the ServiceAccount that it vouches for.
pub const ACCOUNT_ANNOTATION: &str = "cardea.dev/service-account";

/// Certificates of one server.
pub struct Material {
    /// Authorities of the trust domain (PEM).
    pub trust_bundle: String,
    /// The server's leaf.
    pub leaf: LeafMaterial,
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
    Issued(IssuedLeaf),
}

/// A new leaf, and what its Secret remembers of it.
pub struct IssuedLeaf {
    /// The leaf.
    pub leaf: Leaf,
    /// Digest of what it was issued for.
    pub request: String,
    /// ServiceAccount that it vouches for.
    pub account: String,
    /// What the proxies that serve it seal sessions with.
    pub session_key: SessionKey,
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
    let account = service_account(server).to_owned();
    let wanted = leaf_request(&server.owner(), &account, server.leaf_lifetime, installation);
    let request = wanted.digest(authority.id());
    let known = certificate_of(&server.owner(), children).and_then(facts);
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
            let session_key = authority.session_key(&server.uid);
            (LeafMaterial::Issued(IssuedLeaf { leaf, request, account, session_key }), facts, due)
        }
    };
    Ok(Material { trust_bundle: authority.trust_bundle().to_owned(), leaf, facts, due })
}

/// A leaf in place of one whose time has come, for a server that is otherwise left as it is: it says what that one said.
///
/// # Errors
/// When the authority cannot issue it.
pub fn renewal(
    owner: &Owner<'_>,
    children: &Children,
    authority: &Authority,
    installation: &Installation,
    now: Timestamp,
) -> Result<Option<IssuedLeaf>, PkiError> {
    let Some((facts, account)) = certificate_of(owner, children)
        .and_then(|secret| Some((facts(secret)?, secret.annotations.get(ACCOUNT_ANNOTATION)?.clone())))
    else {
        return Ok(None);
    };
    if cardea_pki::due(&facts) > now {
        return Ok(None);
    }
    let wanted = leaf_request(owner, &account, facts.lifetime(), installation);
    Ok(Some(IssuedLeaf {
        leaf: authority.issue(&wanted, now)?,
        request: wanted.digest(authority.id()),
        account,
        session_key: authority.session_key(owner.uid),
    }))
}

/// The Secret with the server's certificate, as long as nobody else has written to it.
fn certificate_of<'a>(owner: &Owner<'_>, children: &'a Children) -> Option<&'a Child> {
    children
        .get(&(Kind::Secret, certificate_secret(owner.name)))
        .filter(|secret| secret.owner.as_deref() == Some(owner.uid) && is_untouched(secret))
}

/// Name of the Secret with a server's certificate.
pub fn certificate_secret(server: &str) -> String {
    format!("{server}-tls")
}

fn leaf_request(
    owner: &Owner<'_>,
    account: &str,
    lifetime: SignedDuration,
    installation: &Installation,
) -> LeafRequest {
    LeafRequest {
        dns_names: installation.service_names(owner.namespace, owner.name).into(),
        spiffe_id: SpiffeId::new(installation.trust_domain.clone(), owner.namespace, account),
        lifetime,
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
            ACCOUNT_ANNOTATION: "",
        }},
        "data": {"tls.crt": "", "tls.key": "", pod::SESSION_KEY: ""},
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

#[cfg(test)]
mod tests {
    use cardea_pki::TrustDomain;
    use serde_json::json;

    use super::*;

    const OWNER: Owner<'static> = Owner { namespace: "demo", name: "web", uid: "u1" };

    fn installation() -> Installation {
        Installation {
            namespace: "cardea-system".into(),
            service_account: "cardea-operator".into(),
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            cluster_domain: "cluster.local".into(),
            proxy_image: "proxy".into(),
            proxy_pull_policy: "Always".into(),
            agent_image: "agent".into(),
            agent_pull_policy: "Always".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The Secret with a leaf that is valid from 0 to 1000 seconds.
    fn secret() -> Child {
        let names =
            [SERIAL_ANNOTATION, NOT_BEFORE_ANNOTATION, NOT_AFTER_ANNOTATION, REQUEST_ANNOTATION, ACCOUNT_ANNOTATION];
        let values = ["7f3a", "1970-01-01T00:00:00Z", "1970-01-01T00:16:40Z", "asked", "runner"];
        let owned: serde_json::Map<_, _> = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
        let fields = json!({
            "f:metadata": {"f:annotations": owned},
            "f:data": {"f:tls.crt": {}, "f:tls.key": {}, "f:session.key": {}},
        });
        Child {
            uid: "s1".into(),
            owner: Some("u1".into()),
            resource_version: "2".into(),
            annotations: names.map(str::to_owned).into_iter().zip(values.map(str::to_owned)).collect(),
            fields: Some(fields.to_string().into()),
        }
    }

    fn renewed(secret: Child, now: Timestamp) -> Option<IssuedLeaf> {
        let authority = Authority::create(&installation().trust_domain, at(0)).unwrap();
        let children = Children::from([((Kind::Secret, "web-tls".to_owned()), secret)]);
        renewal(&OWNER, &children, &authority, &installation(), now).unwrap()
    }

    #[test]
    fn a_leaf_is_renewed_when_its_time_has_come_and_says_what_it_said() {
        assert!(renewed(secret(), at(399)).is_none());
        let issued = renewed(secret(), at(601)).unwrap();
        assert_eq!(issued.account, "runner");
        assert_eq!(issued.leaf.not_after, at(601 + 1000 - 60));
    }

    #[test]
    fn a_secret_that_lacks_a_part_is_written_anew() {
        let mut former = secret();
        former.fields = former.fields.map(|fields| fields.replace("f:session.key", "f:other").into());
        assert!(is_untouched(&secret()) && !is_untouched(&former));
    }

    #[test]
    fn what_somebody_else_wrote_or_owns_is_not_renewed() {
        let mut foreign = secret();
        foreign.owner = Some("u2".into());
        assert!(renewed(foreign, at(601)).is_none());
        let mut account = secret();
        account.annotations.insert(ACCOUNT_ANNOTATION.into(), "admin".into());
        account.fields = account.fields.map(|fields| fields.replace("f:cardea.dev/service-account", "f:other").into());
        assert!(renewed(account, at(601)).is_none());
    }
}
