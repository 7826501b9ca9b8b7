//! Bearer tokens: which convince, and what a caller without one learns.

use http::Request;
use http_body_util::Full;
use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};

use crate::support::{Issuer, SigningKey, World, encode_unsigned, message, tool_call, with_header};

const ISSUER: &str = "https://issuer.test";
const CHALLENGE: &str = "resource_metadata=\"https://mcp.test/.well-known/oauth-protected-resource/mcp\"";

fn echo() -> Request<Full<bytes::Bytes>> {
    tool_call("echo", json!({}))
}

#[tokio::test]
async fn a_good_token_is_let_through() {
    let world = World::start().await;
    let answer = world.alice(echo()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"]["content"][0]["text"], "done");
    assert_eq!(world.server.only().uri, "/server");
}

#[tokio::test]
async fn without_a_token_the_challenge_says_where_to_get_one() {
    let world = World::start().await;
    let answer = world.anonymous().send(with_header(echo(), "x-forwarded-host", "evil.test")).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), format!("Bearer {CHALLENGE}"));
    let answer = world.with_token("nonsense", echo()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), format!("Bearer error=\"invalid_token\", {CHALLENGE}"));
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn the_metadata_is_the_configurations_and_open_to_all() {
    let world = World::start().await;
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let request = Request::get(path).header("host", "mcp.test:8443").body(Full::default()).unwrap();
        let answer = world.anonymous().send(request).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(
            answer.json(),
            json!({
                "resource": "https://mcp.test/mcp", "authorization_servers": [ISSUER],
                "bearer_methods_supported": ["header"], "resource_name": "agents/double",
                "tls_client_certificate_bound_access_tokens": true
            })
        );
    }
    let other = Request::get("/.well-known/oauth-protected-resource/other").header("host", "mcp.test");
    assert_eq!(world.anonymous().send(other.body(Full::default()).unwrap()).await.status, 404);
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn without_an_authorization_server_the_metadata_names_none() {
    let world = World::with(|config| {
        config["authentication"]["issuers"][0]["kind"] = json!("kubernetesServiceAccount");
    })
    .await;
    let request = Request::get("/.well-known/oauth-protected-resource").header("host", "mcp.test");
    let metadata = world.anonymous().send(request.body(Full::default()).unwrap()).await.json();
    assert_eq!(metadata["resource"], "https://mcp.test/mcp");
    assert!(metadata.get("authorization_servers").is_none());
}

#[tokio::test]
async fn e13_tokens_that_do_not_convince() {
    let world = World::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut tokens: Vec<(&str, String)> = [
        ("no audience", json!({"aud": null})),
        ("another audience", json!({"aud": "https://other.test/mcp"})),
        ("a prefix of the audience", json!({"aud": "https://mcp.test/mc"})),
        ("the audience with a slash", json!({"aud": "https://mcp.test/mcp/"})),
        ("a list without the audience", json!({"aud": ["a", "b"]})),
        ("an audience that is no string", json!({"aud": 1})),
        ("no end", json!({"exp": null})),
        ("expired", json!({"exp": now - 31})),
        ("an end in a string", json!({"exp": "9999999999"})),
        ("a negative end", json!({"exp": -1})),
        ("not yet", json!({"nbf": now + 60})),
        ("a begin in a string", json!({"nbf": "1"})),
        ("no subject", json!({"sub": null})),
        ("an empty subject", json!({"sub": ""})),
        ("a subject that is no string", json!({"sub": ["alice"]})),
        ("a subject with a line feed", json!({"sub": "alice\nroot"})),
        ("groups of another type", json!({"groups": {"dev": true}})),
        ("groups with a number", json!({"groups": ["dev", 1]})),
        ("another issuer", json!({"iss": "https://other.test"})),
        ("the issuer with a slash", json!({"iss": "https://issuer.test/"})),
        ("the issuer in capitals", json!({"iss": "https://ISSUER.test"})),
        ("a list of issuers", json!({"iss": [ISSUER]})),
        ("no issuer", json!({"iss": null})),
        ("bound to a certificate that is not there", json!({"cnf": {"x5t#S256": "AAAA"}})),
        ("bound to a key that was not shown", json!({"cnf": {"jkt": "AAAA"}})),
        ("bound to nothing known", json!({"cnf": "x"})),
    ]
    .map(|(what, claims)| (what, world.token(&claims)))
    .into();

    let header = |edit: fn(&mut Header)| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        edit(&mut header);
        world.key.token_with(&header, ISSUER, &json!({}))
    };
    tokens.extend([
        ("an unknown key id", header(|header| header.kid = Some("two".into()))),
        ("a key id that is a query", header(|header| header.kid = Some("one' OR '1'='1".into()))),
        ("a key id that is a URL", header(|header| header.kid = Some("https://attacker.test/jwks".into()))),
        ("a key id that is a path", header(|header| header.kid = Some("../../../dev/null".into()))),
        ("a critical extension", header(|header| header.crit = Some(vec!["b64".into()]))),
        ("a logout token", header(|header| header.typ = Some("logout+jwt".into()))),
        ("a DPoP proof", header(|header| header.typ = Some("dpop+jwt".into()))),
    ]);

    let stranger = SigningKey::new("one");
    let public = world.key.jwk().to_string();
    let hs256 = |secret: &'static str| {
        let header = json!({"alg": "HS256", "kid": "one"});
        let secret = if secret.is_empty() { public.clone() } else { secret.to_owned() };
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        encode_unsigned(&header, ISSUER, &json!({}), |bytes| aws_lc_rs::hmac::sign(&key, bytes).as_ref().to_vec())
    };
    let good = world.token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    tokens.extend([
        ("another key with the same id", stranger.token(ISSUER, &json!({}))),
        ("its own key along", {
            let mut header = Header::new(Algorithm::ES256);
            header.kid = Some("one".into());
            header.jwk = serde_json::from_value(stranger.jwk()).ok();
            stranger.token_with(&header, ISSUER, &json!({}))
        }),
        ("algorithm none", encode_unsigned(&json!({"alg": "none", "kid": "one"}), ISSUER, &json!({}), |_| vec![])),
        ("algorithm None", encode_unsigned(&json!({"alg": "None"}), ISSUER, &json!({}), |_| vec![])),
        ("the public key as a secret", hs256("")),
        ("an empty secret", hs256("\0")),
        (
            "another algorithm of the family",
            encode_unsigned(&json!({"alg": "ES384", "kid": "one"}), ISSUER, &json!({}), |_| vec![0; 96]),
        ),
        (
            "a signature of zeros",
            encode_unsigned(&json!({"alg": "ES256", "kid": "one"}), ISSUER, &json!({}), |_| vec![0; 64]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.x")),
        (
            "other claims",
            format!("{}.{}.{}", parts[0], world.token(&json!({"sub": "root"})).split('.').nth(1).unwrap(), parts[2]),
        ),
        ("padding", format!("{good}=")),
        ("very long", "a".repeat(20_000)),
        ("with a very long claim", world.token(&json!({"x": "a".repeat(20_000)}))),
        ("nothing", String::new()),
    ]);
    for (what, token) in &tokens {
        let answer = world.with_token(token, echo()).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert_eq!(world.last_line()["decision"], "Unauthenticated", "{what}");
    }
    assert!(world.server.seen().is_empty());
    // The same world lets the good one through: the refusals above are not for another reason.
    assert_eq!(world.with_token(&good, echo()).await.status, 200);
}

#[tokio::test]
async fn what_may_vary_in_a_good_token() {
    let world = World::start().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for claims in [
        json!({"aud": ["https://other.test", "https://mcp.test/mcp"]}),
        json!({"exp": now - 10}),
        json!({"nbf": now + 10}),
        json!({"groups": "dev"}),
        json!({"unknown": {"a": 1}}),
    ] {
        assert_eq!(world.with_token(&world.token(&claims), echo()).await.status, 200, "{claims}");
    }
    for typ in [None, Some("at+jwt"), Some("JWT"), Some("application/at+jwt")] {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = typ.map(Into::into);
        // One key in the set: a token without key id has no choice.
        assert_eq!(world.with_token(&world.key.token_with(&header, ISSUER, &json!({})), echo()).await.status, 200);
    }
}

#[tokio::test]
async fn a_token_stands_in_one_header_and_nowhere_else() {
    let world = World::start().await;
    let token = world.token(&json!({}));
    let mut request = echo();
    *request.uri_mut() = format!("/mcp?access_token={token}").parse().unwrap();
    let answer = world.anonymous().send(request).await;
    assert_eq!(answer.status, 400);
    assert!(!world.audit.text().contains(&token));

    let mut request = world.as_alice(echo());
    *request.uri_mut() = "/mcp?access%5Ftoken=x".parse().unwrap();
    assert_eq!(world.anonymous().send(request).await.status, 400);

    let twice = world.as_alice(world.as_alice(echo()));
    assert_eq!(world.anonymous().send(twice).await.status, 400);

    for scheme in ["Basic", "DPoP", "Token"] {
        let request = with_header(echo(), "authorization", &format!("{scheme} {token}"));
        let answer = world.anonymous().send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("www-authenticate").contains("error")), (401, false));
    }
    assert!(world.server.seen().is_empty());
}

#[tokio::test]
async fn a_service_account_is_one_by_its_issuers_kind_alone() {
    let cluster = SigningKey::new("cluster");
    let jwk = cluster.jwk();
    let world = World::with(|config| {
        let issuers = config["authentication"]["issuers"].as_array_mut().unwrap();
        issuers.push(json!({
            "name": "kubernetes", "url": "https://kubernetes.default.svc", "audiences": ["https://mcp.test/mcp"],
            "kind": "kubernetesServiceAccount", "keys": {"inline": {"jwks": {"keys": [jwk]}}}
        }));
        let account = json!({"serviceAccount": {"namespace": "agents", "name": "runner"}});
        config["rules"] = json!([{"name": "runner", "effect": "Allow", "principals": [account], "tools": ["echo"]}]);
    })
    .await;
    let subject = json!({"sub": "system:serviceaccount:agents:runner"});
    let real = cluster.token("https://kubernetes.default.svc", &subject);
    assert_eq!(world.with_token(&real, echo()).await.status, 200);
    assert_eq!(world.last_line()["issuer"], "kubernetes");
    // The same subject from an issuer that anyone may have an account at, and the cluster's key under its name.
    assert_eq!(world.with_token(&world.token(&subject), echo()).await.status, 403);
    assert_eq!(world.with_token(&cluster.token(ISSUER, &subject), echo()).await.status, 401);
    assert_eq!(
        world.with_token(&world.key.token("https://kubernetes.default.svc", &subject), echo()).await.status,
        401
    );
    let user = cluster.token("https://kubernetes.default.svc", &json!({"sub": "admin"}));
    assert_eq!(world.with_token(&user, echo()).await.status, 401);
    assert_eq!(world.server.seen().len(), 1);
}

#[tokio::test]
async fn the_server_sees_who_calls_and_no_token() {
    let world = World::start().await;
    let mut request = world.as_alice(echo());
    for (name, value) in [
        ("x-cardea-identity", "forged"),
        ("x-cardea-identity", "forged twice"),
        ("x_cardea_identity", "forged"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("cookie", "session=secret"),
        ("proxy-authorization", "Basic secret"),
        ("dpop", "proof"),
        ("x-forwarded-client-cert", "cert"),
        ("connection", "x-cardea-identity, content-type"),
    ] {
        request = with_header(request, name, value);
    }
    assert_eq!(world.anonymous().send(request).await.status, 200);
    let seen = world.server.only();
    let mut names: Vec<_> = seen.headers.keys().map(ToString::to_string).collect();
    names.sort();
    let expected =
        ["accept", "accept-encoding", "content-length", "content-type", "host", "traceparent", "x-cardea-identity"];
    assert_eq!(names, expected);
    assert_eq!(seen.header("host"), format!("127.0.0.1:{}", world.server.port));
    assert_eq!(seen.header("accept-encoding"), "identity");
    let identities: Vec<_> = seen.headers.get_all("x-cardea-identity").iter().collect();
    assert_eq!(identities.len(), 1);

    let claims = verified(&world, identities[0].to_str().unwrap()).await;
    assert_eq!(claims["iss"], "cardea-proxy");
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["issuer"], "corp");
    assert_eq!(claims["groups"], json!(["dev"]));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 60);
}

/// Claims of a signed identity, verified as a server does it.
async fn verified(world: &World, token: &str) -> Value {
    let answer = world.admin("/identity/jwks.json").await;
    assert_eq!(answer.status, 200);
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_slice(&answer.body).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let jwk = set.find(&kid).unwrap();
    assert_eq!(jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(), kid);
    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&["https://mcp.test/mcp"]);
    jsonwebtoken::decode(token, &jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap().claims
}

#[tokio::test]
async fn a_token_bound_to_a_certificate_needs_it() {
    use base64::Engine;
    use sha2::Digest;
    let world = World::start().await;
    let leaf = world.authority.sign(9, "agent", &["agent.test"]);
    let thumbprint = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(&leaf.der));
    let token = world.token(&json!({"cnf": {"x5t#S256": thumbprint}}));
    let request = || with_header(echo(), "authorization", &format!("Bearer {token}"));
    assert_eq!(world.bearing(&leaf).send(request()).await.status, 200);
    assert_eq!(world.last_line()["subject"], "alice");
    assert_eq!(world.bearing(&world.authority.sign(9, "agent", &["agent.test"])).send(request()).await.status, 401);
    assert_eq!(world.anonymous().send(request()).await.status, 401);
}

#[tokio::test]
async fn a_bad_token_is_not_made_good_by_a_certificate() {
    let world = World::start().await;
    let agent = world.bearing(&world.authority.sign(9, "agent", &["spiffe://cluster.local/ns/agents/sa/agent"]));
    let list = || message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(agent.send(list()).await.status, 200);
    assert_eq!(agent.send(with_header(list(), "authorization", "Bearer x.y.z")).await.status, 401);
    // Nor is a token's name taken from the certificate.
    assert_eq!(agent.send(world.as_alice(list())).await.status, 200);
    assert_eq!(world.last_line()["subject"], "alice");
}

#[tokio::test]
async fn an_issuer_is_not_started_by_a_token_that_names_another() {
    let issuer = Issuer::start().await;
    let world = World::start().await;
    let key = SigningKey::new("one");
    issuer.keys(&[&key]);
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("one".into());
    header.jku = Some(format!("{}/jwks", issuer.url));
    header.x5u = Some(format!("{}/jwks", issuer.url));
    for iss in [ISSUER, issuer.url.as_str()] {
        assert_eq!(world.with_token(&key.token_with(&header, iss, &json!({})), echo()).await.status, 401);
    }
    assert_eq!(issuer.asked("/jwks"), 0);
}
