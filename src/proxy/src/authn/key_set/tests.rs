//! Which keys are taken, and for what.

use serde_json::json;

use super::*;

fn algorithms(key: &serde_json::Value) -> Vec<Algorithm> {
    let set = KeySet::read(json!({ "keys": [key] })).unwrap();
    set.keys.into_iter().flat_map(|key| key.algorithms).collect()
}

#[test]
fn a_key_is_for_the_algorithms_that_fit_it() {
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let with = |name: &str, value: serde_json::Value| {
        let mut key = ec.clone();
        key[name] = value;
        algorithms(&key)
    };
    assert_eq!(algorithms(&ec), [Algorithm::ES256]);
    assert_eq!(with("alg", json!("ES256")), [Algorithm::ES256]);
    assert_eq!(with("crv", json!("P-384")), [Algorithm::ES384]);
    assert_eq!(with("use", json!("sig")), [Algorithm::ES256]);
    assert_eq!(with("key_ops", json!(["verify"])), [Algorithm::ES256]);
    for (name, value) in [
        ("alg", json!("ES384")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("crv", json!("P-521")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("kty", json!("oct")),
    ] {
        assert!(with(name, value.clone()).is_empty(), "{name} {value}");
    }
    assert!(algorithms(&json!({"kty": "oct", "k": "AA"})).is_empty());
    assert_eq!(algorithms(&json!({"kty": "RSA", "n": "AA", "e": "AQAB", "alg": "PS512"})), [Algorithm::PS512]);
    assert_eq!(algorithms(&json!({"kty": "RSA", "n": "AA", "e": "AQAB"})).len(), 6);
}

#[test]
fn sets_are_bounded_and_read_whole() {
    let key = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    assert!(matches!(KeySet::read(json!({"keys": vec![key; MAX_KEYS + 1]})), Err(KeySetError::TooMany)));
    assert!(matches!(KeySet::read(json!({"key": []})), Err(KeySetError::Malformed)));
    assert!(matches!(KeySet::read(json!([])), Err(KeySetError::Malformed)));
}

#[test]
fn without_a_key_id_there_must_be_no_choice() {
    let key = |kid: &str| json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": kid});
    let one = KeySet::read(json!({"keys": [key("a")]})).unwrap();
    let two = KeySet::read(json!({"keys": [key("a"), key("b")]})).unwrap();
    assert!(one.has(None) && one.has(Some("a")) && !one.has(Some("b")));
    assert!(!two.has(None) && two.has(Some("b")));
}

#[test]
fn a_key_is_no_candidate_for_what_it_is_not_for() {
    let key = json!({"kty": "RSA", "n": "AA", "e": "AQAB", "alg": "RS256", "kid": "a"});
    let set = KeySet::read(json!({ "keys": [key] })).unwrap();
    assert_eq!(set.candidates(Some("a"), Algorithm::RS256).count(), 1);
    for other in [Algorithm::PS256, Algorithm::RS384, Algorithm::HS256, Algorithm::ES256] {
        assert_eq!(set.candidates(Some("a"), other).count(), 0, "{other:?}");
    }
}
