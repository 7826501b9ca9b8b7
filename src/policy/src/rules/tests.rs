//! The algebra of the rules, one property each.

use serde_json::{Value, json};

use super::*;
use crate::Evidence;

fn principal(groups: &[&str]) -> Principal {
    let mut alice = Principal::named("alice".into(), u64::MAX, Evidence::Token { issuer: "corp".into() });
    alice.groups = groups.iter().map(ToString::to_string).collect();
    alice
}

fn rule(name: &str, effect: Effect, principal: PrincipalMatch, tools: &[&str]) -> Rule {
    Rule {
        name: name.into(),
        effect,
        principals: vec![principal],
        tools: tools.iter().map(ToString::to_string).collect(),
        prompts: vec![],
        resources: vec![],
        methods: vec![],
        arguments: vec![],
        when: None,
        scopes: Vec::new(),
        broader_scopes: Default::default(),
        not_after: None,
    }
}

fn with_scopes(mut rule: Rule, scopes: &[&str]) -> Rule {
    rule.scopes = scopes.iter().map(ToString::to_string).collect();
    rule
}

fn group(name: &str) -> PrincipalMatch {
    PrincipalMatch::Group { name: name.into(), issuer: None }
}

fn calls(rules: &[Rule], who: &Principal, tool: &str) -> bool {
    Policy::compile(rules).unwrap().decide(who, Action::CallTool(tool), &()).is_ok()
}

#[test]
fn nothing_is_permitted_without_a_rule() {
    assert!(!calls(&[], &principal(&["ops"]), "deploy"));
}

#[test]
fn an_allow_permits_its_group_and_its_tools_only() {
    let rules = [rule("ops", Effect::Allow, group("ops"), &["deploy", "read_*"])];
    for (groups, tool, expected) in [
        (&["ops"][..], "deploy", true),
        (&["ops"], "read_log", true),
        (&["ops"], "deploy2", false),
        (&["ops"], "Deploy", false),
        (&["dev", "ops"], "deploy", true),
        (&["dev"], "deploy", false),
        (&[], "read_log", false),
    ] {
        assert_eq!(calls(&rules, &principal(groups), tool), expected, "{groups:?} {tool}");
    }
}

#[test]
fn a_deny_wins_in_either_order_and_is_named() {
    let allow = rule("all", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]);
    let deny = rule("no-delete", Effect::Deny, group("dev"), &["delete_*"]);
    for rules in [[allow.clone(), deny.clone()], [deny, allow]] {
        let policy = Policy::compile(&rules).unwrap();
        let denial = policy.decide(&principal(&["dev"]), Action::CallTool("delete_all"), &()).unwrap_err();
        assert_eq!(denial.reason, DenialReason::Rule("no-delete".into()));
        assert_eq!(
            policy.decide(&principal(&["ops"]), Action::CallTool("delete_all"), &()).unwrap().rule(),
            Some("all")
        );
    }
}

#[test]
fn a_list_shows_exactly_what_a_call_may_use() {
    let rules = [
        rule("all", Effect::Allow, group("dev"), &["get-*"]),
        rule("not-env", Effect::Deny, PrincipalMatch::AnyAuthenticated, &["get-env"]),
    ];
    let policy = Policy::compile(&rules).unwrap();
    for tool in ["get-env", "get-sum", "echo", ""] {
        let who = principal(&["dev"]);
        assert_eq!(
            policy.shows(&who, Catalog::Tools, tool),
            policy.decide(&who, Action::CallTool(tool), &()).is_ok(),
            "{tool}"
        );
    }
}

#[test]
fn the_evidence_decides_who_a_name_is() {
    let named = |issuer: Option<&str>| PrincipalMatch::Subject { name: "alice".into(), issuer: issuer.map(Into::into) };
    let spiffe_id = Some("spiffe://cluster.local/ns/a/sa/b".into());
    let mut certificate = Principal::named("alice".into(), u64::MAX, Evidence::Certificate { spiffe_id });
    certificate.groups = vec!["ops".into()];
    let evidence = Evidence::ServiceAccount { namespace: "agents".into(), name: "alice".into() };
    let account = Principal::named("system:serviceaccount:agents:alice".into(), u64::MAX, evidence);
    for (wanted, who, expected) in [
        (named(None), &principal(&[]), true),
        (named(Some("corp")), &principal(&[]), true),
        (named(Some("other")), &principal(&[]), false),
        (named(None), &certificate, false),
        (group("ops"), &certificate, false),
        (PrincipalMatch::SpiffeId("spiffe://cluster.local/ns/a/sa/b".into()), &certificate, true),
        (PrincipalMatch::SpiffeId("spiffe://cluster.local/ns/a/sa".into()), &certificate, false),
        (PrincipalMatch::ServiceAccount { namespace: "agents".into(), name: "alice".into() }, &account, true),
        (PrincipalMatch::ServiceAccount { namespace: "other".into(), name: "alice".into() }, &account, false),
        (PrincipalMatch::ServiceAccount { namespace: "agents".into(), name: "alice".into() }, &principal(&[]), false),
        (PrincipalMatch::AnyAuthenticated, &certificate, true),
    ] {
        assert_eq!(who.is(&wanted), expected, "{wanted:?} {who:?}");
    }
}

#[test]
fn each_field_permits_its_own_kind_only() {
    let mut all = rule("all", Effect::Allow, PrincipalMatch::AnyAuthenticated, &[]);
    let who = principal(&[]);
    let permits = |edit: fn(&mut Rule)| {
        let mut rule = all.clone();
        edit(&mut rule);
        let policy = Policy::compile(&[rule]).unwrap();
        [
            Action::CallTool("a"),
            Action::GetPrompt("a"),
            Action::ReadResource("a:b"),
            Action::ReadTemplate("a:{b}"),
            Action::Method("a"),
            Action::Unknown("a"),
        ]
        .map(|action| policy.decide(&who, action, &()).is_ok())
    };
    assert_eq!(permits(|rule| rule.tools = vec!["*".into()]), [true, false, false, false, false, false]);
    assert_eq!(permits(|rule| rule.prompts = vec!["*".into()]), [false, true, false, false, false, false]);
    assert_eq!(permits(|rule| rule.resources = vec!["*".into()]), [false, false, true, true, false, false]);
    assert_eq!(permits(|rule| rule.methods = vec!["*".into()]), [false, false, false, false, true, false]);
    all.tools = vec!["a".into()];
    let policy = Policy::compile(&[all]).unwrap();
    assert_eq!(policy.decide(&who, Action::Method("tasks/get"), &()).unwrap_err().reason, DenialReason::NothingAllows);
    assert_eq!(policy.decide(&who, Action::Unknown("x"), &()).unwrap_err().reason, DenialReason::UnknownMethod);
    assert!(policy.decide(&who, Action::Session, &()).is_ok());
    assert!(policy.decide(&who, Action::List(Catalog::Tools), &()).is_ok());
}

#[test]
fn resources_are_known_by_a_uri_that_reads_in_one_way() {
    let mut docs = rule("docs", Effect::Allow, PrincipalMatch::AnyAuthenticated, &[]);
    docs.resources = vec!["file:///docs/*".into()];
    let mut secret = rule("secret", Effect::Deny, PrincipalMatch::AnyAuthenticated, &[]);
    secret.resources = vec!["file:///docs/secret*".into()];
    let policy = Policy::compile(&[docs, secret]).unwrap();
    let who = principal(&[]);
    for (uri, expected) in [
        ("file:///docs/a.md", true),
        ("file:///docs/secret.md", false),
        ("file:///docs/../etc/passwd", false),
        ("file:///docs//secret.md", false),
        ("file:///docs/%73ecret.md", false),
        ("file:///etc/passwd", false),
    ] {
        assert_eq!(policy.decide(&who, Action::ReadResource(uri), &()).is_ok(), expected, "{uri}");
        assert_eq!(policy.shows(&who, Catalog::Resources, uri), expected, "{uri}");
    }
    assert!(policy.shows(&who, Catalog::ResourceTemplates, "file:///docs/{+path}"));
    assert!(!policy.shows(&who, Catalog::ResourceTemplates, "file:///{+path}"));
}

#[test]
fn who_listens_may_read_each_resource_and_use_what_else_there_is() {
    let mut docs = rule("docs", Effect::Allow, group("dev"), &[]);
    docs.resources = vec!["file:///docs/*".into()];
    let mut tasks = rule("tasks", Effect::Allow, group("ops"), &[]);
    tasks.methods = vec!["subscriptions/listen".into()];
    let policy = Policy::compile(&[docs, tasks]).unwrap();
    let (inside, outside) = ("file:///docs/a".to_owned(), "file:///etc/a".to_owned());
    for (groups, resources, further, expected) in [
        (&[][..], vec![], false, true),
        (&["dev"], vec![inside.clone()], false, true),
        (&["dev"], vec![inside.clone(), outside.clone()], false, false),
        (&["dev"], vec![outside, inside.clone()], false, false),
        (&["dev"], vec![inside.clone()], true, false),
        (&["ops"], vec![], true, true),
        (&["ops"], vec![inside], true, false),
    ] {
        let action = Action::Listen { resources: &resources, further };
        assert_eq!(
            policy.decide(&principal(groups), action, &()).is_ok(),
            expected,
            "{groups:?} {resources:?} {further}"
        );
    }
}

#[test]
fn a_set_with_a_rule_that_makes_no_sense_is_refused_whole() {
    let good = rule("good", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["echo"]);
    let bad = |edit: fn(&mut Rule)| {
        let mut bad = good.clone();
        edit(&mut bad);
        Policy::compile(&[good.clone(), bad]).unwrap_err().to_string()
    };
    for error in [
        bad(|rule| rule.principals.clear()),
        bad(|rule| rule.tools.clear()),
        bad(|rule| rule.tools = vec!["a[b]".into()]),
        bad(|rule| rule.prompts = vec!["a b".into()]),
        bad(|rule| rule.resources = vec!["file:///a b".into()]),
        bad(|rule| rule.methods = vec![String::new()]),
    ] {
        assert!(error.contains("\"good\""), "{error}");
    }
}

/// What a caller of group `ops` with these scopes hears when it calls `deploy`.
fn heard(rules: &[Rule], scopes: &[&str]) -> Result<String, DenialReason> {
    let mut who = principal(&["ops"]);
    who.scopes = scopes.iter().map(ToString::to_string).collect();
    let policy = Policy::compile(rules).unwrap();
    let permit = policy.decide(&who, Action::CallTool("deploy"), &()).map_err(|denial| denial.reason)?;
    Ok(permit.rule().unwrap().to_owned())
}

fn missing(rule: &str, scopes: &str) -> Result<String, DenialReason> {
    Err(DenialReason::MissingScopes { rule: rule.into(), scopes: scopes.split(' ').map(str::to_owned).collect() })
}

#[test]
fn an_allow_with_scopes_needs_all_of_them_and_says_which() {
    let deploy = rule("deploy", Effect::Allow, group("ops"), &["deploy"]);
    let rules = [with_scopes(deploy, &["mcp:read", "deploy:write"])];
    assert_eq!(heard(&rules, &["deploy:write", "other", "mcp:read"]), Ok("deploy".into()));
    for short in [&[][..], &["mcp:read"], &["deploy:write"], &["mcp:read deploy:write"], &["MCP:READ", "deploy:write"]]
    {
        assert_eq!(heard(&rules, short), missing("deploy", "mcp:read deploy:write"), "{short:?}");
    }
}

#[test]
fn the_nearest_rule_is_named_and_a_broader_scope_has_a_rule_of_its_own() {
    let any = || rule("any", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]);
    let named = |name: &str, scopes| with_scopes(Rule { name: name.into(), ..any() }, scopes);
    let rules = [named("three", &["a", "b", "c"]), named("narrow", &["write"]), named("broad", &["admin"])];
    assert_eq!(heard(&rules, &[]), missing("narrow", "write"));
    assert_eq!(heard(&rules, &["admin"]), Ok("broad".into()));
    assert_eq!(heard(&rules, &["a", "b"]), missing("three", "a b c"));
    assert_eq!(heard(&[&rules[..], &[any()]].concat(), &[]), Ok("any".into()));
}

#[test]
fn a_broader_scope_does_for_the_one_that_it_includes() {
    let mut rule =
        with_scopes(rule("read", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]), &["read", "list"]);
    rule.broader_scopes = [("read".to_owned(), vec!["write".to_owned(), "admin".to_owned()])].into();
    let rules = [rule];
    for enough in [&["read", "list"][..], &["write", "list"], &["admin", "list"]] {
        assert_eq!(heard(&rules, enough), Ok("read".into()), "{enough:?}");
    }
    // Whoever has a broader one is not told to take the narrower instead.
    for (short, named) in [
        (&[][..], "read list"),
        (&["write"], "write list"),
        (&["list"], "read list"),
        (&["admin", "other"], "admin list"),
        (&["write", "read"], "read list"),
    ] {
        assert_eq!(heard(&rules, short), missing("read", named), "{short:?}");
    }
}

/// Of two scopes one of which includes the other, challenges and metadata name the narrower, in whatever order rules stand.
#[test]
fn the_narrower_scope_is_named_where_either_would_do() {
    let named = |name: &str, broader: &[&str]| {
        let any = rule(name, Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]);
        let broader = broader.iter().map(|scope| (*scope).to_owned()).collect();
        Rule { broader_scopes: [(name.to_owned(), broader)].into(), ..with_scopes(any, &[name]) }
    };
    let (all, read) = (named("all", &[]), named("read", &["all"]));
    for rules in [[all.clone(), read.clone()], [read, all]] {
        assert_eq!(heard(&rules, &[]), missing("read", "read"));
        assert_eq!(Policy::compile(&rules).unwrap().least_scopes(), ["read"]);
    }
}

/// Two rules want scopes; that with the fewer is in the challenge, and is what an explanation names.
#[test]
fn the_nearest_rule_is_that_of_the_challenge() {
    let any = |name: &str| rule(name, Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]);
    let rules = [with_scopes(any("three"), &["a", "b", "c"]), with_scopes(any("one"), &["write"])];
    let explained = Policy::compile(&rules).unwrap().explain(&principal(&[]), Action::CallTool("read"), &());
    assert_eq!(&*explained.nearest().unwrap().rule, "one");
}

#[test]
fn rules_hold_from_the_last_end_to_the_next() {
    let until = |end| Rule {
        not_after: Some(end),
        ..rule("freeze", Effect::Deny, PrincipalMatch::AnyAuthenticated, &["deploy"])
    };
    let rules = [until(50), until(100), until(100), until(-5)];
    let holds = |compiled, now| Policy::compile_at(&rules, compiled).unwrap().holds_at(now);
    for (compiled, now, expected) in [
        (49, 49, true),
        (49, 50, false),
        (50, 50, true),
        (50, 49, false),
        (99, 50, true),
        (100, 99, false),
        (100, 500, true),
    ] {
        assert_eq!(holds(compiled, now), expected, "{compiled} {now}");
    }
    assert!(Policy::compile(&rules).unwrap().holds_at(-6));
}

#[test]
fn a_rule_is_no_more_from_its_end_on() {
    let until = |end, rule: Rule| Rule { not_after: Some(end), ..rule };
    let anybody = || PrincipalMatch::AnyAuthenticated;
    let rules = [
        until(100, rule("glass", Effect::Allow, anybody(), &["deploy", "read"])),
        until(50, rule("freeze", Effect::Deny, anybody(), &["deploy"])),
    ];
    let at = |now| Policy::compile_at(&rules, now).unwrap();
    let calls = |policy: &Policy, tool| policy.decide(&principal(&[]), Action::CallTool(tool), &()).is_ok();
    for (now, deploy, read, until) in [
        (49, false, true, Some(50)),
        (50, true, true, Some(100)),
        (99, true, true, Some(100)),
        (100, false, false, None),
    ] {
        let policy = at(now);
        assert_eq!((calls(&policy, "deploy"), calls(&policy, "read"), policy.until()), (deploy, read, until), "{now}");
    }
    let wrong = until(1, rule("wrong", Effect::Allow, anybody(), &["a b"]));
    assert!(Policy::compile_at(&[wrong], 2).is_err(), "what makes no sense is named, ended or not");
}

#[test]
fn scopes_are_told_to_those_only_who_miss_nothing_else() {
    let deploy = with_scopes(rule("deploy", Effect::Allow, group("ops"), &["deploy"]), &["write"]);
    let deny = rule("frozen", Effect::Deny, PrincipalMatch::AnyAuthenticated, &["deploy"]);
    assert_eq!(heard(&[deploy.clone(), deny], &[]), Err(DenialReason::Rule("frozen".into())));

    let policy = Policy::compile(&[with_scopes(
        Rule { principals: vec![group("ops"), PrincipalMatch::AnyAuthenticated], ..deploy.clone() },
        &["write"],
    )])
    .unwrap();
    let certificate = Principal::named("ci".into(), u64::MAX, Evidence::Certificate { spiffe_id: None });
    let denial = policy.decide(&certificate, Action::CallTool("deploy"), &()).unwrap_err();
    assert_eq!(denial.reason, DenialReason::NothingAllows);
    assert!(!policy.shows(&certificate, Catalog::Tools, "deploy"));

    let policy = Policy::compile(&[deploy]).unwrap();
    let denial = policy.decide(&principal(&["dev"]), Action::CallTool("deploy"), &()).unwrap_err();
    assert_eq!(denial.reason, DenialReason::NothingAllows);
    assert!(policy.shows(&principal(&["ops"]), Catalog::Tools, "deploy"), "so that its client can ask for the scopes");
    assert!(!policy.shows(&principal(&["dev"]), Catalog::Tools, "deploy"));
}

#[test]
fn the_least_scopes_are_those_of_the_rule_that_needs_the_fewest() {
    let named = |name: &str, principal, scopes| with_scopes(rule(name, Effect::Allow, principal, &["*"]), scopes);
    let least = |rules: &[Rule]| Policy::compile(rules).unwrap().least_scopes().to_vec();
    let any = || PrincipalMatch::AnyAuthenticated;
    let (one, two) = (named("one", any(), &["read"]), named("two", group("ops"), &["read", "write"]));
    assert_eq!(least(&[two.clone(), one.clone(), named("other", any(), &["admin"])]), ["read"]);
    assert_eq!(least(std::slice::from_ref(&two)), ["read", "write"]);
    assert!(least(&[two, one.clone(), named("free", any(), &[])]).is_empty());
    let certificate = named("certificate", PrincipalMatch::SpiffeId("spiffe://a/b".into()), &[]);
    assert_eq!(least(&[certificate, one]), ["read"], "a rule about certificates gives a token nothing");
    assert!(least(&[rule("no", Effect::Deny, any(), &["*"])]).is_empty());
}

#[test]
fn scopes_that_no_challenge_could_name_and_a_deny_with_scopes_are_refused() {
    let allow = rule("r", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"]);
    for bad in ["", "a b", "a\"", "a\\", "\n", "é", "offline_access", &"a".repeat(129)] {
        let error = Policy::compile(&[with_scopes(allow.clone(), &["good", bad])]).unwrap_err();
        assert_eq!(error, CompileError::Scope { rule: "r".into(), index: 1, scope: bad.into() });
    }
    let deny = Rule { effect: Effect::Deny, ..with_scopes(allow, &["api://x/.default", "!#[]~"]) };
    assert_eq!(Policy::compile(&[deny]).unwrap_err(), CompileError::DenyWithScopes("r".into()));
}

#[test]
fn what_is_several_is_told_in_one_challenge_or_not_at_all() {
    let about = |name: &str, uri: &str, scopes: &[&str]| Rule {
        tools: vec![],
        resources: vec![uri.into()],
        ..with_scopes(rule(name, Effect::Allow, group("ops"), &[]), scopes)
    };
    let policy = Policy::compile(&[about("a", "a:*", &["base", "a"]), about("b", "b:*", &["base", "b"])]).unwrap();
    let asked = |uris: &[&str]| {
        let resources: Vec<_> = uris.iter().map(ToString::to_string).collect();
        let action = Action::Listen { resources: &resources, further: false };
        policy.decide(&principal(&["ops"]), action, &()).map_err(|denial| denial.reason).map(|_| String::new())
    };
    assert_eq!(asked(&["a:1", "b:1", "a:2"]), missing("a", "base a b"));
    assert_eq!(asked(&["a:1", "c:1"]), Err(DenialReason::NothingAllows));
}

#[test]
fn nobody_is_met_by_rules_about_nobody_alone_and_by_a_deny_for_everyone() {
    let nobody = Principal::anonymous();
    let allow = |principal| [rule("allow", Effect::Allow, principal, &["search"])];
    assert!(calls(&allow(PrincipalMatch::Anonymous), &nobody, "search"));
    assert!(!calls(&allow(PrincipalMatch::AnyAuthenticated), &nobody, "search"));
    let named = PrincipalMatch::Subject { name: "anonymous".into(), issuer: None };
    assert!(!calls(&allow(named), &nobody, "search"));
    // And it opens nothing to those who are somebody.
    assert!(!calls(&allow(PrincipalMatch::Anonymous), &principal(&["ops"]), "search"));

    let mut rules = allow(PrincipalMatch::Anonymous).to_vec();
    rules.push(rule("deny", Effect::Deny, group("ops"), &["search"]));
    assert!(calls(&rules, &nobody, "search"));
    rules.push(rule("deny-all", Effect::Deny, PrincipalMatch::AnyAuthenticated, &["search"]));
    assert!(!calls(&rules, &nobody, "search"));
}

fn with_condition(mut rule: Rule, condition: Value) -> Rule {
    rule.arguments.push(serde_json::from_value(condition).unwrap());
    rule
}

/// Arguments that nobody knows any more.
struct Forgotten;

impl Arguments for Forgotten {
    fn value(&self) -> Option<&Value> {
        None
    }
}

#[test]
fn e26_what_cannot_be_told_is_not_allowed_and_is_denied() {
    let anybody = || PrincipalMatch::AnyAuthenticated;
    let allow = |name| rule(name, Effect::Allow, anybody(), &["deploy"]);
    let deny = rule("not-production", Effect::Deny, anybody(), &["deploy"]);
    let production = json!({"path": "/env", "equals": "production"});
    let allowed = [with_condition(allow("staging"), json!({"path": "/env", "in": ["staging", "dev"]}))];
    let denied = [allow("all"), with_condition(deny, production)];
    let permits = |rules: &[Rule], arguments: &dyn Arguments| {
        let policy = Policy::compile(rules).unwrap();
        assert!(policy.shows(&principal(&[]), Catalog::Tools, "deploy"));
        policy.decide(&principal(&[]), Action::CallTool("deploy"), arguments).is_ok()
    };
    for (arguments, by_allow, by_deny) in [
        (json!({"env": "staging"}), true, true),
        (json!({"env": "test"}), false, true),
        (json!({"env": "production"}), false, false),
        (json!({"env": "ｐroduction"}), false, false),
        (json!({"env": ["staging"]}), false, false),
        (json!({"env": 1}), false, false),
        (json!({"env": null}), false, false),
        (json!({"Env": "staging"}), false, false),
        (json!({}), false, false),
        (json!([]), false, false),
    ] {
        assert_eq!((permits(&allowed, &arguments), permits(&denied, &arguments)), (by_allow, by_deny), "{arguments}");
    }
    assert!(!permits(&allowed, &Forgotten) && !permits(&denied, &Forgotten));
}

#[test]
fn all_conditions_of_a_rule_hold_or_it_does_not() {
    let allow = rule("some", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["deploy"]);
    let allow = with_condition(allow, json!({"path": "/env", "equals": "staging"}));
    let rules = [with_condition(allow, json!({"path": "/replicas", "max": 3}))];
    let policy = Policy::compile(&rules).unwrap();
    for (arguments, expected) in [
        (json!({"env": "staging", "replicas": 3}), true),
        (json!({"env": "staging", "replicas": 4}), false),
        (json!({"env": "production", "replicas": 3}), false),
        (json!({"env": "staging"}), false),
    ] {
        let permit = policy.decide(&principal(&[]), Action::CallTool("deploy"), &arguments);
        assert_eq!(permit.is_ok(), expected, "{arguments}");
    }
}

#[test]
fn conditions_that_cannot_be_are_named() {
    let one = || rule("one", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["deploy"]);
    let bad =
        with_condition(with_condition(one(), json!({"path": "/a", "equals": 1})), json!({"path": "/a", "regex": "("}));
    let error = Policy::compile(&[bad]).unwrap_err().to_string();
    assert!(error.starts_with("rule \"one\": arguments[1].regex: \"(\" is no expression"), "{error}");
    let mut of_resources = with_condition(one(), json!({"path": "/a", "equals": 1}));
    of_resources.resources = vec!["file:///*".into()];
    assert_eq!(Policy::compile(&[of_resources]).unwrap_err(), CompileError::NoArguments("one".into()));
}

#[test]
fn an_expression_is_one_more_condition() {
    let anybody = || PrincipalMatch::AnyAuthenticated;
    let mut allow = rule("sha", Effect::Allow, anybody(), &["deploy"]);
    allow.when = Some("args.sha.size() == 4 && request.tool == 'deploy'".into());
    let mut deny = rule("friday", Effect::Deny, anybody(), &["deploy"]);
    deny.when = Some("args.force".into());
    let policy = Policy::compile(&[allow, deny]).unwrap();
    for (arguments, expected) in [
        (json!({"sha": "abcd", "force": false}), Ok("sha")),
        (json!({"sha": "abc", "force": false}), Err(DenialReason::NothingAllows)),
        (json!({"sha": 1234, "force": false}), Err(DenialReason::NothingAllows)),
        (json!({"sha": "abcd", "force": true}), Err(DenialReason::Rule("friday".into()))),
        (json!({"sha": "abcd", "force": "no"}), Err(DenialReason::Rule("friday".into()))),
        (json!({"sha": "abcd"}), Err(DenialReason::Rule("friday".into()))),
    ] {
        let decision = policy.decide(&principal(&[]), Action::CallTool("deploy"), &arguments);
        let decision = decision.as_ref().map(|permit| permit.rule().unwrap()).map_err(|denial| denial.reason.clone());
        assert_eq!(decision, expected, "{arguments}");
    }
    assert!(policy.shows(&principal(&[]), Catalog::Tools, "deploy"));
    let mut bad = rule("bad", Effect::Allow, anybody(), &["deploy"]);
    bad.when = Some("env == 'a'".into());
    let error = Policy::compile(&[bad]).unwrap_err().to_string();
    assert!(error.starts_with("rule \"bad\": when: \"env\" is none of request, principal and args"), "{error}");
}

/// Each resource of one question is asked about as if it were read.
#[test]
fn an_expression_about_a_resource_holds_for_listening_too() {
    let who = principal(&[]);
    let make = |name, effect, when: &str| {
        let mut rule = rule(name, effect, PrincipalMatch::AnyAuthenticated, &[]);
        rule.resources = vec!["file:///*".into()];
        rule.when = Some(when.into());
        rule
    };
    let allow = make("all", Effect::Allow, "request.resource.startsWith('file:///')");
    let deny = make("not", Effect::Deny, "has(request.resource) && request.resource.startsWith('file:///secret')");
    let policy = Policy::compile(&[allow, deny]).unwrap();
    for (uri, expected) in [("file:///a", true), ("file:///secret/x", false)] {
        let resources = [uri.to_owned()];
        let listen = Action::Listen { resources: &resources, further: false };
        assert_eq!(policy.decide(&who, Action::ReadResource(uri), &()).is_ok(), expected, "{uri}");
        assert_eq!(policy.decide(&who, listen, &()).is_ok(), expected, "{uri}");
    }
}

#[test]
fn more_expressions_than_compile_in_time_are_refused() {
    let one = |number: usize| {
        let rule = rule(&format!("rule-{number}"), Effect::Allow, PrincipalMatch::AnyAuthenticated, &["deploy"]);
        with_condition(rule, json!({"path": "/a", "regex": "a"}))
    };
    let rules: Vec<Rule> = (0..=MAX_EXPRESSIONS).map(one).collect();
    assert!(Policy::compile(&rules[1..]).is_ok());
    assert_eq!(Policy::compile(&rules).unwrap_err(), CompileError::TooManyExpressions(MAX_EXPRESSIONS));
}
