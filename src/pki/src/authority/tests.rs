//! What a leaf says, read back by another library than the one that wrote it.

use x509_parser::prelude::GeneralName;

use super::*;
use crate::SpiffeId;

fn trust_domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn request(lifetime: SignedDuration) -> LeafRequest {
    LeafRequest {
        dns_names: vec!["web.demo.svc".into(), "web.demo.svc.cluster.local".into()],
        spiffe_id: SpiffeId::new(trust_domain(), "demo", "web"),
        lifetime,
    }
}

#[test]
fn a_leaf_names_its_service_and_its_identity_and_verifies() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let authority = Authority::create(&trust_domain(), now).unwrap();
    let leaf = authority.issue(&request(SignedDuration::from_hours(24)), now).unwrap();

    let (_, ca_pem) = parse_x509_pem(authority.certificate_pem().as_bytes()).unwrap();
    let ca = ca_pem.parse_x509().unwrap();
    let (_, pem) = parse_x509_pem(leaf.certificate_pem.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();

    certificate.verify_signature(Some(ca.public_key())).unwrap();
    let names: Vec<String> = certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) => (*name).to_owned(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(names, ["web.demo.svc", "web.demo.svc.cluster.local", "spiffe://cluster.local/ns/demo/sa/web"]);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any);
    assert!(!certificate.is_ca());
    assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000 - 60);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_800_000_000 + 86_400);
    assert_eq!(leaf.not_after.as_second(), 1_800_000_000 + 86_400);
    assert_eq!(certificate.raw_serial_as_string().replace(':', ""), leaf.serial);
}

#[test]
fn an_authority_survives_being_written_and_read() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let authority = Authority::create(&trust_domain(), now).unwrap();
    let certificate = authority.certificate_pem();
    let read = Authority::from_pem(certificate, &authority.key_pem(), authority.trust_bundle()).unwrap();
    assert_eq!(read.id(), authority.id());
    assert_eq!(read.certificate_pem(), authority.certificate_pem());
    let other = Authority::create(&trust_domain(), now).unwrap();
    let read = |certificate: &str, key: &str, bundle: &str| Authority::from_pem(certificate, key, bundle).map(|_| ());
    assert!(matches!(read(certificate, &other.key_pem(), certificate), Err(PkiError::KeyMismatch)));
    assert!(matches!(read("nonsense", &other.key_pem(), certificate), Err(PkiError::Unreadable)));
}

#[test]
fn a_bundle_may_hold_another_authority_but_never_lacks_its_own() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let (old, new) =
        (Authority::create(&trust_domain(), now).unwrap(), Authority::create(&trust_domain(), now).unwrap());
    let both = format!("{}{}", old.certificate_pem(), new.certificate_pem());
    let read = Authority::from_pem(new.certificate_pem(), &new.key_pem(), &both).unwrap();
    assert_eq!((read.id(), read.trust_bundle()), (new.id(), both.as_str()));
    let alone = Authority::from_pem(new.certificate_pem(), &new.key_pem(), old.certificate_pem());
    assert!(matches!(alone, Err(PkiError::Untrusted)));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let authority = Authority::create(&trust_domain(), now).unwrap();
    let late = now + AUTHORITY_LIFETIME - SignedDuration::from_hours(1);
    assert!(authority.issue(&request(SignedDuration::from_mins(30)), late).is_ok());
    let refused = authority.issue(&request(SignedDuration::from_hours(2)), late);
    assert!(matches!(refused, Err(PkiError::OutlivesAuthority { .. })));
}

#[test]
fn every_leaf_has_its_own_key_and_another_request_another_digest() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let authority = Authority::create(&trust_domain(), now).unwrap();
    let day = request(SignedDuration::from_hours(24));
    let first = authority.issue(&day, now).unwrap();
    let second = authority.issue(&day, now).unwrap();
    assert_ne!(first.serial, second.serial);
    assert_ne!(*first.key_pem, *second.key_pem);
    assert_ne!(day.digest("a"), day.digest("b"));
    assert_ne!(day.digest("a"), request(SignedDuration::from_hours(23)).digest("a"));
}

#[test]
fn a_session_key_is_one_servers_and_outlives_every_leaf() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let (authority, other) =
        (Authority::create(&trust_domain(), now).unwrap(), Authority::create(&trust_domain(), now).unwrap());
    let pem = authority.certificate_pem();
    let read = Authority::from_pem(pem, &authority.key_pem(), pem).unwrap();
    assert_eq!(*authority.session_key("u1"), *read.session_key("u1"));
    assert_eq!(authority.session_key("u1").len(), 32);
    assert_ne!(*authority.session_key("u1"), *authority.session_key("u2"));
    assert_ne!(*authority.session_key("u1"), *other.session_key("u1"));
}
