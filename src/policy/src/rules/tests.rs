//! The algebra of the rules, one property each.

use super::*;
use crate::{Catalog, Evidence};

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
    }
}

fn group(name: &str) -> PrincipalMatch {
    PrincipalMatch::Group { name: name.into(), issuer: None }
}

fn calls(rules: &[Rule], who: &Principal, tool: &str) -> bool {
    Policy::compile(rules).unwrap().decide(who, Action::CallTool(tool)).is_ok()
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
        let denial = policy.decide(&principal(&["dev"]), Action::CallTool("delete_all")).unwrap_err();
        assert_eq!(denial.reason, DenialReason::Rule("no-delete".into()));
        assert_eq!(policy.decide(&principal(&["ops"]), Action::CallTool("delete_all")).unwrap().rule(), Some("all"));
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
        assert_eq!(policy.shows_tool(&who, tool), policy.decide(&who, Action::CallTool(tool)).is_ok(), "{tool}");
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
fn a_method_without_an_action_of_its_own_is_refused_even_to_all() {
    let policy = Policy::compile(&[rule("all", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["*"])]).unwrap();
    let who = principal(&[]);
    let denial = policy.decide(&who, Action::Other("resources/read")).unwrap_err();
    assert_eq!(denial.reason, DenialReason::UnknownMethod);
    assert!(policy.decide(&who, Action::Session).is_ok());
    assert!(policy.decide(&who, Action::List(Catalog::Tools)).is_ok());
}

#[test]
fn a_set_with_a_rule_that_makes_no_sense_is_refused_whole() {
    let good = rule("good", Effect::Allow, PrincipalMatch::AnyAuthenticated, &["echo"]);
    let mut nobody = good.clone();
    nobody.principals.clear();
    let mut nothing = good.clone();
    nothing.tools.clear();
    let mut glob = good.clone();
    glob.tools = vec!["a[b]".into()];
    for bad in [nobody, nothing, glob] {
        let error = Policy::compile(&[good.clone(), bad]).unwrap_err().to_string();
        assert!(error.contains("\"good\""), "{error}");
    }
}
