//! `cardea diff`, as a reviewer reads it.

use crate::program::{Answer, Folder};

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
    let folder = Folder::with(&[("old/policy.yaml", POLICY), ("new/policy.yaml", POLICY)]);
    for (side, files) in [("old", old), ("new", new)] {
        files.iter().for_each(|(name, text)| folder.put(&format!("{side}/{name}"), text));
    }
    let Answer { code, says, errors } = folder.cardea(&["diff", "old", "new"]);
    assert!(errors.is_empty(), "{errors}");
    (says, code)
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

/// The same answer for other reasons is a change, and so is what is no tool.
#[test]
fn what_another_rule_permits_now_is_seen_and_so_is_what_is_no_tool() {
    let force =
        "{name: force, principals: [{group: dev}], tools: [restart], arguments: [{path: /force, equals: true}]}";
    let side = |rules: &str| [("a.yaml", manifest("a", rules))];
    let both = side(&format!("{DEV}, {force}"));
    let wider = side(&format!("{DEV}, {}", force.replace("[restart]", "[restart, deploy]")));
    let expected = "tools/a: ~ group dev may use deploy: if Allow {\"equals\":\"staging\",\"path\":\"/env\"} -> if Allow {\"equals\":\"staging\",\"path\":\"/env\"}; Allow {\"equals\":true,\"path\":\"/force\"}\n";
    assert_eq!(told(&both, &wider), (expected.to_owned(), Some(1)));
    let renamed = side(&format!("{}, {force}", DEV.replace("name: dev", "name: developers")));
    assert_eq!(told(&both, &renamed), (String::new(), Some(0)));

    let claim = "{name: team, principals: [{claim: {name: team, values: [a]}}], tools: [deploy]}";
    let corp = "{issuers: [{name: corp, url: \"https://login.example.com\"}]}";
    let teams = |values: &str| {
        let claims = corp.replace("}]", ", claims: {attributes: [{name: team, claim: team}]}}]");
        let rules = claim.replace("values: [a]", values);
        [("a.yaml", manifest("a", &rules).replace("{policyRef: {name: corp}}", &claims))]
    };
    let expected = "tools/a: + claim team=b may use deploy: - -> yes\n";
    assert_eq!(told(&teams("values: [a]"), &teams("values: [a, b]")).0, expected);

    let more =
        "{name: more, principals: [{group: dev}], prompts: [review], resources: [\"*\"], methods: [\"tasks/*\"]}";
    let expected = "tools/a: + group dev may use prompt review: - -> yes\n\
        tools/a: + group dev may use resource *: - -> yes\n\
        tools/a: + group dev may use method tasks/*: - -> yes\n";
    assert_eq!(told(&both, &side(&format!("{DEV}, {force}, {more}"))).0, expected);
}

/// A scope that includes another permits what that does.
#[test]
fn what_a_scope_includes_is_seen() {
    let of = |includes: &str| {
        let rules = "{name: staff, principals: [{group: staff}], scopeBundles: [read]}";
        let bundles =
            format!("scopeBundles: [{{scope: read, tools: [look]}}, {{scope: write, {includes}tools: [write]}}]");
        [("a.yaml", manifest("a", rules).replace("access: {", &format!("access: {{{bundles}, ")))]
    };
    let expected =
        "tools/a: ~ rule staff:read asks for: Allow scopes read -> Allow scopes read (or write)\n".to_owned();
    assert_eq!(told(&of(""), &of("includes: [read], ")), (expected, Some(1)));
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
    let good = format!("{POLICY}---\n{}", manifest("a", OPS));
    let bad = format!("{POLICY}---\n{}", manifest("a", &OPS.replace("restart", "\"a b\"")));
    let folder = Folder::with(&[("good.yaml", &good), ("bad.yaml", &bad)]);
    let Answer { code, says, errors } = folder.cardea(&["diff", "good.yaml", "bad.yaml"]);
    assert!(says.is_empty() && errors.contains("spec.access.rules[0].tools: a glob is"), "{errors}");
    assert_eq!(code, Some(2));
}
