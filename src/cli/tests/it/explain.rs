//! `cardea explain`, as a person reads it.

use serde_json::{Value, json};

use crate::program::Folder;

const MANIFEST: &str = r#"
apiVersion: cardea.dev/v1alpha1
kind: McpServer
metadata: {name: deployer, namespace: tools}
spec:
  source: {image: {ref: example.com/deployer}}
  auth:
    issuers: [{name: corp, url: "https://login.example.com"}]
    clientCertificates: {}
  access:
    rules:
    - name: staging-by-dev
      principals: [{group: dev}]
      tools: [deploy]
      arguments: [{path: /env, equals: staging}]
    - name: all-by-ops
      principals: [{group: ops, issuer: corp}]
      tools: ["*"]
    - name: look
      principals: [{anyAuthenticated: true}]
      tools: ["get_*"]
    - name: merges
      principals: [{group: dev}]
      tools: [merge]
      scopes: ["repo:merge"]
    - name: nobody-drops
      effect: Deny
      principals: [{anyAuthenticated: true}]
      tools: ["drop"]
"#;

const STATUS: &str =
    "status: {tools: [{name: deploy}, {name: drop}, {name: get_log}, {name: merge}, {name: \"<b>\"}]}\n";

fn explained(manifest: &str, words: &[&str]) -> String {
    let folder = Folder::with(&[("server.yaml", manifest)]);
    let answer = folder.cardea(&[&["explain", "-f", "server.yaml"], words].concat());
    assert_eq!(answer.code, Some(0), "{}", answer.errors);
    answer.says
}

#[test]
fn a_table_of_callers_and_tools() {
    assert_eq!(
        explained(&format!("{MANIFEST}{STATUS}"), &[]),
        "CALLER             <b>  deploy  drop  get_log  merge\n\
         group dev          -    if      -     yes      if\n\
         group ops of corp  yes  yes     -     yes      yes\n\
         anyAuthenticated   -    -       -     yes      -\n\
         \n\
         yes: with any arguments; if: as a rule says:\n\
         \x20 staging-by-dev: Allow {\"equals\":\"staging\",\"path\":\"/env\"}\n\
         \x20 merges: Allow scopes repo:merge\n"
    );
}

#[test]
fn without_a_cluster_the_globs_are_shown() {
    let text = explained(MANIFEST, &[]);
    assert!(text.starts_with("CALLER             *    deploy  drop  get_*  merge\n"), "{text}");
    let one = explained(MANIFEST, &["--tool", "get_log"]);
    assert!(one.starts_with("CALLER             get_log\ngroup dev          yes\n"), "{one}");
}

/// A name is what stands in a manifest: a terminal must not obey it.
#[test]
fn what_a_terminal_would_obey_is_written_out() {
    let text = explained(&MANIFEST.replace("{group: dev}", "{group: \"dev\\e[2K\\rgroup x\"}"), &[]);
    assert!(text.contains("group dev\\u{1b}[2K\\rgroup x  ") && !text.contains('\u{1b}'), "{text}");
}

/// A tool that nobody approved may be used by nobody, whatever rules say.
#[test]
fn what_is_not_approved_is_no() {
    let pinning = "spec:\n  tools: {pinning: {mode: Enforce, digests: []}}\n";
    let text = explained(&MANIFEST.replace("spec:\n", pinning), &["--tool", "get_log", "--tool", "get_*"]);
    assert!(text.contains("group dev          -        yes\n"), "{text}");
}

/// A rule with an end says so, and one whose end has come is no more.
#[test]
fn what_is_over_is_not_shown() {
    let end = |year: u16| format!("      notAfter: \"{year}-01-01T00:00:00Z\"\n");
    let merges = "      tools: [merge]\n";
    let until = MANIFEST.replace(merges, &(merges.to_owned() + &end(9000)));
    assert!(explained(&until, &[]).contains("  merges: Allow scopes repo:merge and before 9000-01-01T00:00:00Z\n"));
    let over = explained(&MANIFEST.replace(merges, &(merges.to_owned() + &end(2020))), &[]);
    assert!(!over.contains("merge"), "{over}");
}

#[test]
fn the_answer_for_programs_and_for_a_browser() {
    let whole = format!("{MANIFEST}{STATUS}");
    let answer: Value = serde_json::from_str(&explained(&whole, &["-o", "json"])).unwrap();
    assert_eq!(answer["server"], "tools/deployer");
    assert_eq!(answer["callers"][0]["caller"], "group dev");
    let expected =
        json!({"<b>": "Never", "deploy": "Sometimes", "drop": "Never", "get_log": "Always", "merge": "Sometimes"});
    assert_eq!(answer["callers"][0]["tools"], expected);
    let page = explained(&whole, &["-o", "html"]);
    assert!(page.contains("<th>&lt;b&gt;</th>") && !page.contains("<b>"), "{page}");
    assert!(page.contains("<td class=\"if\" title=\"as a rule says\">if</td>"), "{page}");
}
