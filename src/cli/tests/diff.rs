//! `cardea diff`, as a reviewer reads it.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

fn manifest(name: &str, rules: &str) -> String {
    format!(
        "apiVersion: cardea.dev/v1alpha1\nkind: McpServer\nmetadata: {{name: {name}, namespace: tools}}\nspec:\n  source: {{image: {{ref: example.com/a}}}}\n  auth: {{policyRef: {{name: corp}}}}\n  access: {{rules: [{rules}]}}\n"
    )
}

const POLICY: &str = "apiVersion: cardea.dev/v1alpha1\nkind: McpAuthPolicy\nmetadata: {name: corp, namespace: tools}\nspec: {issuers: [{name: corp, url: \"https://login.example.com\"}]}\n";

const DEV: &str =
    "{name: dev, principals: [{group: dev}], tools: [deploy], arguments: [{path: /env, equals: staging}]}";
const OPS: &str = "{name: ops, principals: [{group: ops}], tools: [deploy, restart]}";

/// What is said of the change, and the exit status.
fn told(old: &[(&str, String)], new: &[(&str, String)]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let place = |side: &str, files: &[(&str, String)]| {
        let side = folder.path().join(side);
        std::fs::create_dir(&side).unwrap();
        for (name, text) in files.iter().chain([&("policy.yaml", POLICY.to_owned())]) {
            std::fs::write(side.join(name), text).unwrap();
        }
        side
    };
    let (old, new) = (place("old", old), place("new", new));
    let output = diff(&old, &new);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

fn diff(old: &Path, new: &Path) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_cardea")).arg("diff").arg(old).arg(new).output().unwrap()
}

#[test]
fn rules_that_say_the_same_otherwise_are_no_change() {
    let old = [("a.yaml", manifest("a", &format!("{DEV}, {OPS}")))];
    let turned = [("b.yml", manifest("a", &format!("{}, {DEV}", OPS.replace("name: ops", "name: operators"))))];
    assert_eq!(told(&old, &turned), (String::new(), Some(0)));
}

#[test]
fn what_becomes_possible_and_what_does_not_any_more() {
    let old = [("a.yaml", manifest("a", &format!("{DEV}, {OPS}")))];
    let wider = DEV.replace("equals: staging", "in: [staging, test]");
    let less = OPS.replace("deploy, restart", "restart");
    let guest = "{name: guests, principals: [{group: guests}], tools: [deploy]}";
    let new = [("a.yaml", manifest("a", &format!("{wider}, {less}, {guest}"))), ("b.yaml", manifest("b", OPS))];
    let expected = "tools/a: + group guests may use deploy: - -> yes\n\
        tools/a: - group ops may use deploy: yes -> -\n\
        tools/a: ~ rule dev asks for: Allow {\"equals\":\"staging\",\"path\":\"/env\"} -> Allow {\"in\":[\"staging\",\"test\"],\"path\":\"/env\"}\n\
        tools/b: + group ops may use deploy: - -> yes\n\
        tools/b: + group ops may use restart: - -> yes\n";
    assert_eq!(told(&old, &new), (expected.to_owned(), Some(1)));
}

/// What one side names only by a wildcard, or not at all, is asked of both.
#[test]
fn a_deny_and_a_name_that_a_wildcard_covered_are_seen() {
    let all = "{name: all, principals: [{anyAuthenticated: true}], tools: [\"get_*\"]}";
    let deny = "{name: not, effect: Deny, principals: [{group: dev}], tools: [get_secret]}";
    let (old, new) = ([("a.yaml", manifest("a", all))], [("a.yaml", manifest("a", &format!("{all}, {deny}")))]);
    assert_eq!(told(&old, &new).0, "tools/a: - group dev may use get_secret: yes -> -\n");
    assert_eq!(told(&new, &old).0, "tools/a: + group dev may use get_secret: - -> yes\n");
}

#[test]
fn a_manifest_that_makes_no_sense_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good.yaml"), folder.path().join("bad.yaml"));
    std::fs::write(&good, format!("{POLICY}---\n{}", manifest("a", OPS))).unwrap();
    std::fs::write(&bad, format!("{POLICY}---\n{}", manifest("a", &OPS.replace("restart", "\"a b\"")))).unwrap();
    let output = diff(&good, &bad);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && errors.contains("spec.access.rules[].tools: a glob is"), "{errors}");
    assert_eq!(output.status.code(), Some(2));
}
