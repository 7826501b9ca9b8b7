//! `cardea can-i`, as a person asks it.

#![cfg(test)]

use std::process::{Command, Output};

const MANIFEST: &str = r#"
apiVersion: cardea.dev/v1alpha1
kind: McpServer
metadata: {name: deployer, namespace: tools}
spec:
  source: {image: {ref: example.com/deployer}}
  auth:
    issuers: [{name: corp, url: "https://login.example.com", caRef: {name: corp-ca}}]
    clientCertificates: {}
    kubernetesServiceAccounts: {}
  access:
    rules:
    - name: staging-by-dev
      principals: [{group: dev}]
      tools: [deploy]
      arguments: [{path: /env, in: [staging, test]}]
    - name: all-by-ops
      principals: [{group: ops}, {serviceAccount: {namespace: ci, name: runner}}]
      tools: ["*"]
      scopes: ["deploy:write"]
    - name: not-unsigned
      effect: Deny
      principals: [{anyAuthenticated: true}]
      tools: [deploy]
      when: "!args.signed"
"#;

fn ask(words: &[&str]) -> Output {
    ask_of(MANIFEST, words)
}

fn ask_of(manifest: &str, words: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.yaml");
    std::fs::write(&file, manifest).unwrap();
    Command::new(env!("CARGO_BIN_EXE_cardea")).arg("can-i").arg("-f").arg(&file).args(words).output().unwrap()
}

fn says(words: &[&str]) -> (String, Option<i32>) {
    let output = ask(words);
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

const SIGNED: &str = r#"{"env":"production","signed":true}"#;

#[test]
fn yes_with_the_rule_that_says_so() {
    let staging = r#"{"env":"staging","signed":true}"#;
    assert_eq!(
        says(&["--as", "alice", "--group", "dev", "deploy", "--args", staging]),
        ("yes: rule \"staging-by-dev\" allows it\n".into(), Some(0))
    );
    assert_eq!(
        says(&["--as", "alice", "--group", "ops", "--scope", "deploy:write", "restart"]),
        ("yes: rule \"all-by-ops\" allows it\n".into(), Some(0))
    );
}

#[test]
fn no_with_what_comes_nearest() {
    let (text, code) = says(&["--as", "alice", "--group", "dev", "deploy", "--args", SIGNED]);
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "no: no rule allows it\nnearest: rule \"staging-by-dev\" would allow it, but for\n  arguments[0]: {\"in\":[\"staging\",\"test\"],\"path\":\"/env\"} does not hold\n"
    );
    let (text, _) = says(&["--as", "alice", "--group", "ops", "deploy", "--args", SIGNED]);
    assert!(text.starts_with("no: rule \"all-by-ops\" allows it to a token with the scopes deploy:write\n"), "{text}");
    let (text, code) = says(&["--as", "alice", "--group", "dev", "deploy", "--args", r#"{"env":"staging"}"#]);
    assert_eq!((text.as_str(), code), ("no: rule \"not-unsigned\" refuses it\n", Some(1)));
    // ServiceAccounts have no scopes, so nothing could be granted to them.
    let (text, _) = says(&["--service-account", "ci/runner", "deploy", "--args", SIGNED]);
    assert!(text.contains("nearest: rule \"all-by-ops\"") && text.contains("lacks deploy:write"), "{text}");
}

#[test]
fn the_answer_for_programs() {
    let output = ask(&["--as", "bob", "restart", "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["allowed"], false);
    assert_eq!(answer["nearest"]["rule"], "all-by-ops");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_makes_no_sense_is_said_with_the_remedy() {
    let second = r#"{name: corp, url: "https://login.example.com", caRef: {name: corp-ca}}, {name: other, url: "https://other.example.com"}"#;
    let two = MANIFEST.replace(r#"{name: corp, url: "https://login.example.com", caRef: {name: corp-ca}}"#, second);
    let bad = MANIFEST.replace("!args.signed", "!signed");
    for (manifest, words, expected) in [
        (MANIFEST, &["deploy"][..], "say who asks: --as SUBJECT"),
        (MANIFEST, &["--as", "a", "deploy", "--args", "[1]"], "--args: the arguments of a call are one JSON object"),
        (MANIFEST, &["--as", "a", "deploy", "--args", "{"], "--args is not JSON"),
        (MANIFEST, &["--as", "a", "--issuer", "x", "deploy"], "--issuer: say whose token it is, one of corp"),
        (MANIFEST, &["--anonymous", "deploy"], "lets nobody in without a credential"),
        (&two, &["--as", "a", "deploy"], "--issuer: say whose token it is, one of corp, other"),
        (
            &bad,
            &["--as", "a", "deploy"],
            "rule \"not-unsigned\": when: \"signed\" is none of request, principal and args",
        ),
    ] {
        let output = ask_of(manifest, words);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty() && errors.contains(expected), "{words:?}: {errors}");
    }
}
