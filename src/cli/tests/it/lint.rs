//! `cardea lint`, as a person and as a build reads it.

use serde_json::{Value, json};

use crate::program::{Answer, Folder};

const SERVER: &str = r#"# Who deploys.
apiVersion: cardea.dev/v1alpha1
kind: McpServer
metadata: {name: deployer, namespace: tools}
spec:
  source: {image: {ref: example.com/deployer}}
  auth: {policyRef: {name: corp}}
  access:
    rules:
    - name: staging
      principals: [{group: dev}]
      tools: [deploy]
      arguments:
      - {path: /env, in: [staging, test]}
      - path: /branch
        prefix: feature-
"#;

const POLICY: &str = r#"apiVersion: cardea.dev/v1alpha1
kind: McpAuthPolicy
metadata: {name: corp, namespace: tools}
spec:
  issuers: [{name: corp, url: "https://login.example.com"}]
"#;

const SHARED: &str = r#"apiVersion: cardea.dev/v1alpha1
kind: McpAccessPolicy
metadata: {name: everywhere, namespace: tools}
spec:
  selector: {}
  rules:
  - name: nobody-drops
    effect: Deny
    principals: [{anyAuthenticated: true}]
    tools: ["drop_*"]
"#;

fn lint(files: &[(&str, &str)], words: &[&str]) -> Answer {
    Folder::with(files).cardea(&[&["lint", "."], words].concat())
}

/// What is said of one server beside its policy.
fn of_server(server: &str) -> String {
    lint(&[("policy.yaml", POLICY), ("server.yaml", server)], &[]).says
}

#[test]
fn what_is_right_is_passed_in_silence() {
    let namespace = "kind: Namespace\nmetadata: {name: tools}\n";
    let files =
        [("a/server.yaml", SERVER), ("policy.yml", POLICY), ("shared.yaml", SHARED), ("namespace.yaml", namespace)];
    let Answer { code, says, errors } = lint(&[&files[..], &[("notes.txt", "a: [")]].concat(), &["--strict"]);
    assert_eq!((says.as_str(), errors.as_str(), code), ("", "", Some(0)));
}

#[test]
fn each_mistake_is_told_with_its_line() {
    let wrong =
        SERVER.replace("in: [staging, test]", "regex: 'a('").replace("prefix: feature-", "pathUnder: data").replace(
            "source: {image: {ref: example.com/deployer}}",
            "source: {image: {ref: example.com/deployer}}\n  acess: {}",
        );
    let [field, rule] = [
        lint(&[("policy.yaml", POLICY), ("server.yaml", &wrong)], &[]),
        lint(&[("policy.yaml", POLICY), ("server.yaml", &wrong.replace("\n  acess: {}", ""))], &[]),
    ];
    assert!(
        field.says.starts_with("./server.yaml:7:3: error: spec.acess: is not known: there are access, audit, auth,"),
        "{}",
        field.says
    );
    assert_eq!(
        rule.says,
        "./server.yaml:14:22: error: spec.access.rules[0].arguments[0].regex: \"a(\" is no expression of the Rust crate regex: unclosed group, as in regex: '[a-z]+-[0-9]{1,4}'\n"
    );
    assert_eq!((field.code, rule.code), (Some(1), Some(1)));
}

#[test]
fn one_mistake_hides_no_other() {
    let second = "    - name: second\n      principals: [{group: dev, issuer: other}]\n      tools: [deploy]\n    - name: third\n      principals: [{spiffeId: \"spiffe://cluster.local/ns/a/sa/b\"}]\n      tools: [deploy]\n      when: args.a &&\n";
    let Answer { says, .. } = lint(
        &[
            ("policy.yaml", POLICY),
            ("server.yaml", &format!("{SERVER}{second}---\n{}", SERVER.replace("staging, test", "[1]"))),
            ("broken.yaml", "a: 1\n b: 2\n"),
            ("shared.yaml", &SHARED.replace("drop_*", "drop *")),
        ],
        &[],
    );
    let lines: Vec<&str> = says.lines().collect();
    let expected = [
        "./broken.yaml:2:3: error: ",
        "./server.yaml:17:7: error: spec.access.rules[1]: ",
        "./server.yaml:23:7: error: spec.access.rules[2].when: ",
        "./server.yaml:38:22: error: spec.access.rules[0].arguments[0].in: ",
        "./shared.yaml:10:5: error: spec.rules[0].tools: ",
    ];
    assert_eq!(lines.len(), expected.len(), "{says}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{expected}\n{says}");
    }
}

/// What is wrong beside the rules, and what only the types refuse.
#[test]
fn a_server_that_is_wrong_hides_none_of_its_rules() {
    let wrong =
        SERVER.replace("spec:\n", "spec:\n  transport: {path: /.cardea/mcp}\n").replace("[staging, test]", "[{}]");
    let says = of_server(&wrong);
    let [path, rule] = says.lines().collect::<Vec<_>>()[..] else { panic!("{says}") };
    assert!(path.starts_with("./server.yaml:6:15: error: spec.transport.path: \"/.cardea/mcp\" belongs to"), "{says}");
    assert!(rule.starts_with("./server.yaml:15:22: error: spec.access.rules[0].arguments[0].in: "), "{says}");
    let late = SERVER.replace("tools: [deploy]", "tools: [deploy]\n      notAfter: \"9999-12-31T23:59:59Z\"");
    let says = of_server(&late);
    assert!(says.starts_with("./server.yaml:2:1: error: cannot be read: "), "{says}");
}

#[test]
fn what_may_not_be_meant_is_a_warning() {
    let rules = |rules: &str| format!("{SERVER}{rules}");
    let twice =
        "    - {name: never, effect: Deny, principals: [{anyAuthenticated: true}], tools: [deploy, \"get_*\"]}\n";
    for (server, expected) in [
        (
            rules("    - {name: all, principals: [{anyAuthenticated: true}], tools: [\"*\"]}\n"),
            "./server.yaml:17:59: warning: spec.access.rules[1].tools: every caller may use every tool",
        ),
        (
            rules("    - {name: over, principals: [{group: a}], tools: [b], notAfter: \"2020-01-01T00:00:00Z\"}\n"),
            "./server.yaml:17:58: warning: spec.access.rules[1].notAfter: the rule is no more since 2020-01-01T00:00:00Z",
        ),
        (
            rules(twice),
            "./server.yaml:10:7: warning: spec.access.rules[0]: the rule permits nothing: \"never\" refuses",
        ),
        (
            SERVER.replace("spec:\n", "spec:\n  audit: {level: None}\n"),
            "./server.yaml:6:11: warning: spec.audit.level: nothing is audited",
        ),
        (
            SERVER.replace("name: corp}", "name: other}"),
            "./server.yaml:7:10: warning: spec.auth.policyRef: names the McpAuthPolicy \"other\", which is not among",
        ),
        (
            SERVER.replace(
                "{policyRef: {name: corp}}",
                "{insecureAnonymous: true, staticTokens: {secretRef: {name: a}}}",
            ),
            "./server.yaml:7:10: warning: spec.auth.insecureAnonymous: callers without any credential are let in",
        ),
    ] {
        let says = of_server(&server);
        assert!(says.starts_with(expected) && says.lines().count() == 1, "{expected}\n{says}");
    }
    // Conditions, other callers or other names: who can tell.
    for changed in [
        twice.replace("}\n", ", when: args.force}\n"),
        twice.replace("anyAuthenticated: true", "group: ops"),
        twice.replace("deploy, ", ""),
    ] {
        assert_eq!(of_server(&rules(&changed)), "", "{changed}");
    }
}

#[test]
fn warnings_fail_where_that_is_asked_for() {
    let open = SERVER.replace("spec:\n", "spec:\n  audit: {level: None}\n");
    let files = [("policy.yaml", POLICY), ("server.yaml", &open)];
    assert_eq!((lint(&files, &[]).code, lint(&files, &["--strict"]).code), (Some(0), Some(1)));
    let missing = Folder::with(&[]).cardea(&["lint", "nowhere.yaml"]);
    assert!(missing.says.is_empty() && missing.errors.contains("nowhere.yaml cannot be read"), "{missing:?}");
    assert_eq!(missing.code, Some(2));
}

/// Rules of a policy that governs no server of the files are checked for what they say by themselves.
#[test]
fn a_policy_alone_is_checked_too() {
    let of = |text: &str| lint(&[("shared.yaml", text)], &[]).says;
    let claim = SHARED.replace("anyAuthenticated: true", "claim: {name: team, values: [a]}, issuer: corp");
    assert_eq!(of(&claim), "");
    let wrong = claim.replace("tools: [", "when: args.a\n    arguments: [{path: /a, cidr: 10.0.0.1/8}]\n    tools: [");
    let says = of(&wrong);
    assert!(says.starts_with("./shared.yaml:11:28: error: spec.rules[0].arguments[0].cidr: "), "{says}");
}

#[test]
fn the_answer_for_programs() {
    let wrong = SERVER.replace("in: [staging, test]", "equals: {}");
    let files = [("policy.yaml", POLICY), ("a server.yaml", &wrong)];
    let answer = lint(&files, &["-o", "json"]);
    let json: Value = serde_json::from_str(&answer.says).unwrap();
    let found = &json["findings"][0];
    let message = "compares with a text, a number, true or false, as in equals: production";
    let expected = json!({
        "file": "./a server.yaml", "line": 14, "column": 22, "severity": "error", "id": "refused",
        "path": "spec.access.rules[0].arguments[0].equals", "message": message,
    });
    assert_eq!((found, &json["errors"], &json["warnings"]), (&expected, &json!(1), &json!(0)));

    let answer = lint(&files, &["-o", "sarif"]);
    assert_eq!(answer.code, Some(1));
    let sarif: Value = serde_json::from_str(&answer.says).unwrap();
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    assert_eq!((&sarif["version"], &run["tool"]["driver"]["name"]), (&json!("2.1.0"), &json!("cardea")));
    assert_eq!(run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
    assert_eq!((&result["ruleId"], &result["level"]), (&json!("refused"), &json!("error")));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20server.yaml");
    assert_eq!(place["region"], json!({"startLine": 14, "startColumn": 22}));
    let text = result["message"]["text"].as_str().unwrap();
    assert_eq!(text, format!("spec.access.rules[0].arguments[0].equals: {message}"));
}

/// A policy is for servers that others write: what does nothing there is told, and refused by nobody.
#[test]
fn a_policys_rule_about_nobody_whom_a_server_knows_is_told() {
    let policy = "apiVersion: cardea.dev/v1alpha1\nkind: McpAccessPolicy\nmetadata: {name: p}\nspec:\n  selector: {}\n  rules:\n  - name: agents\n    principals: [{spiffeId: \"spiffe://cluster.local/ns/a/sa/b\"}]\n    tools: [deploy]\n";
    let answer = lint(&[("policy.yaml", POLICY), ("server.yaml", SERVER), ("shared.yaml", policy)], &[]);
    assert_eq!(answer.code, Some(0), "{}", answer.says);
    let expected = "./shared.yaml:7:5: warning: spec.rules[0]: has no effect on the McpServer \"deployer\": spiffeId never matches";
    assert!(answer.says.starts_with(expected), "{}", answer.says);
}

/// A server and the policies that govern it have their expressions together.
#[test]
fn what_is_right_alone_and_not_together_is_told() {
    let rules = |indent: &str, count: usize| {
        let conditions = (0..16).map(|number| format!("{{path: /a{number}, regex: a}}")).collect::<Vec<_>>().join(", ");
        let rule = |number| {
            format!(
                "{indent}- {{name: r{number}, principals: [{{group: dev}}], tools: [deploy], arguments: [{conditions}]}}\n"
            )
        };
        (0..count).map(rule).collect::<String>()
    };
    let server = SERVER.to_owned() + &rules("    ", 4);
    let shared = |name: &str| SHARED.replace("everywhere", name) + &rules("  ", 4);
    let (one, two, three, four) = (shared("one"), shared("two"), shared("three"), shared("four"));
    let policies = [("1.yaml", one.as_str()), ("2.yaml", &two), ("3.yaml", &three), ("4.yaml", &four)];
    let of = |files: &[(&str, &str)]| lint(&[&[("policy.yaml", POLICY)], files].concat(), &[]);
    assert_eq!(of(&[("server.yaml", &server)]).says, "");
    assert_eq!(of(&[&[("server.yaml", SERVER)], &policies[..]].concat()).says, "");
    assert_eq!(of(&[&[("server.yaml", server.as_str())], &policies[..3]].concat()).says, "");
    let answer = of(&[&[("server.yaml", server.as_str())], &policies[..]].concat());
    assert!(answer.says.starts_with("./server.yaml:9:5: error: spec.access.rules: "), "{}", answer.says);
    assert!(
        answer.says.contains("with those of the policies that govern the server: more than 256"),
        "{}",
        answer.says
    );
    assert_eq!(answer.code, Some(1));
}

#[test]
fn rules_are_compared_with_the_tools_that_a_server_lists() {
    let tools = r#"{"jsonrpc": "2.0", "id": 1, "result": {"tools": [
        {"name": "deploy", "inputSchema": {"type": "object", "properties": {"env": {"enum": ["staging", "production"]}}}}
    ]}}"#;
    let shared = SHARED.replace("drop_*", "deplyo");
    let files = [("policy.yaml", POLICY), ("server.yaml", SERVER), ("shared.yaml", &shared), ("tools.json", tools)];
    let flags = |of: &'static str| lint(&files, &["--tools", of]);
    let says = flags("deployer=tools.json").says;
    let unfit = "./shared.yaml:10:13: warning: spec.rules[0].tools[0]: \"deplyo\" is no tool of the server, which has \"deploy\"";
    assert!(says.contains(unfit), "{says}");
    assert_eq!(flags("tools.json").says, says);
    assert!(!flags("other=tools.json").says.contains("is no tool"));
    assert_eq!(lint(&files, &["--tools", "server.yaml"]).code, Some(2));
}

#[test]
fn a_secret_is_compared_with_the_store_that_it_names() {
    let entry =
        "{name: forge, from: {vault: {mount: secret, path: a}}, storeRef: {name: keep}, keys: [{key: k, file: f}]}";
    let server = format!("{SERVER}  secrets: [{entry}]\n");
    let store = |member: &str| {
        format!("apiVersion: cardea.dev/v1alpha1\nkind: McpSecretStore\nmetadata: {{name: keep}}\nspec:\n{member}\n")
    };
    let with = |store: &str| lint(&[("policy.yaml", POLICY), ("server.yaml", &server), ("store.yaml", store)], &[]);
    let vault = "  vault: {address: \"https://vault.example\", jwt: {role: web}}";
    assert_eq!(with(&store(vault)).says, "");
    let said = of_server(&server);
    assert!(
        said.contains("server.yaml:17:3: warning: spec.secrets: names an McpSecretStore that is not among"),
        "{said}"
    );
    let connect = "  onePasswordConnect: {url: \"https://connect.example\", tokenSecretRef: {name: a, key: b}}";
    let said = with(&store(connect)).says;
    assert!(said.contains("server.yaml:17:3: error: spec.secrets: \"forge\" is not of the kind"), "{said}");
    let plain = "  insecureHttp: true\n  vault: {address: \"http://vault.example\", jwt: {role: web}}";
    let said = with(&store(plain)).says;
    assert!(said.contains("store.yaml:5:3: warning: spec.insecureHttp: over http://"), "{said}");
}
