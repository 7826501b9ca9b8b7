//! `cardea can-i`, as a person asks it.

use crate::program::{Answer, Folder};

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

fn ask(manifest: &str, words: &[&str]) -> Answer {
    Folder::with(&[("server.yaml", manifest)]).cardea(&[&["can-i", "-f", "server.yaml"], words].concat())
}

fn says(words: &[&str]) -> (String, Option<i32>) {
    let answer = ask(MANIFEST, words);
    (answer.says, answer.code)
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
    let (text, code) = says(&["--as", "bob", "restart", "--output", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["allowed"], false);
    assert_eq!(answer["nearest"]["rule"], "all-by-ops");
    assert_eq!(code, Some(1));
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
        let Answer { code, says, errors } = ask(manifest, words);
        assert_eq!(code, Some(2), "{words:?}");
        assert!(says.is_empty() && errors.contains(expected), "{words:?}: {errors}");
    }
}

const FREEZE: &str = r#"
---
apiVersion: cardea.dev/v1alpha1
kind: McpAccessPolicy
metadata: {name: freeze, namespace: tools}
spec:
  selector: {}
  rules: [{name: stop, effect: Deny, principals: [{anyAuthenticated: true}], tools: ["*"]}]
"#;

/// A server without a namespace is in that of the command, and so may the policy be.
#[test]
fn a_policy_counts_for_a_server_that_names_no_namespace() {
    let asks = ["--as", "alice", "--group", "ops", "--scope", "deploy:write", "restart"];
    for manifest in [MANIFEST.to_owned(), MANIFEST.replace(", namespace: tools", "")] {
        let answer = ask(&format!("{manifest}{FREEZE}"), &asks);
        assert_eq!((answer.says.as_str(), answer.code), ("no: rule \"freeze/stop\" refuses it\n", Some(1)));
    }
    let elsewhere = FREEZE.replace("namespace: tools", "namespace: others");
    assert_eq!(ask(&format!("{MANIFEST}{elsewhere}"), &asks).code, Some(0));
}

/// Which of two is applied last is not known here.
#[test]
fn a_policy_that_is_there_twice_has_no_answer() {
    let nothing = FREEZE.replace("selector: {}", "targetRefs: [{name: other}]");
    let answer = ask(&format!("{MANIFEST}{nothing}{FREEZE}"), &["--as", "alice", "restart"]);
    assert!(answer.errors.contains("McpAccessPolicy \"freeze\" is there twice"), "{}", answer.errors);
    assert_eq!(answer.code, Some(2));
}

#[test]
fn a_tool_that_nobody_approved_is_no() {
    let pinned = MANIFEST.replace("  access:\n", "  tools: {pinning: {mode: Enforce, digests: []}}\n  access:\n");
    let answer = ask(&pinned, &["--as", "alice", "--group", "ops", "--scope", "deploy:write", "restart"]);
    assert!(answer.says.starts_with("no: rules allow it, and it is none of spec.tools.pinning"), "{}", answer.says);
    assert_eq!(answer.code, Some(1));
}

/// It may refuse what others permit, so without it there is no answer.
#[test]
fn a_policy_that_makes_no_sense_leaves_no_answer() {
    let wrong = FREEZE.replace("tools: [\"*\"]", "tools: [\"*\"], arguments: [{path: /a, regex: 'a('}]");
    let asks = ["--as", "alice", "--group", "ops", "--scope", "deploy:write", "restart"];
    let answer = ask(&format!("{MANIFEST}{wrong}"), &asks);
    assert!(answer.says.is_empty() && answer.errors.contains("\"freeze\" governs this server and makes no sense"));
    assert_eq!(answer.code, Some(2));
}
