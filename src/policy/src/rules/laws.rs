//! The algebra of rules, for whatever rules, callers and calls there may be.

use cardea_contract::{ArgumentCondition, Elements, Size, ValueKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Number, Value, json};

use super::*;
use crate::Evidence;

const TOOLS: [&str; 4] = ["read", "write", "read_all", "deploy"];

fn texts(of: &'static [&'static str], count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    vec(select(of).prop_map(str::to_owned), count)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..3i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(&["a", "b", "ab", "", "/a", "/a/b", "/a/../b", "10.0.0.1", "ａ", "a\u{200b}"][..]).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            vec((select(&["x", "y", "0", "*"][..]), inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().map(|(name, it)| (name.into(), it)).collect())),
        ]
    })
}

fn arguments() -> impl Strategy<Value = Value> {
    vec((select(&["x", "y"][..]), value()), 0..3)
        .prop_map(|members| Value::Object(members.into_iter().map(|(name, it)| (name.into(), it)).collect()))
}

fn condition() -> impl Strategy<Value = ArgumentCondition> {
    let path = select(&["/x", "/y", "/x/0", "/x/*", "/x/*/y", "/x/y"][..]);
    let elements = select(&[Elements::Every, Elements::Any][..]);
    let operator = select(
        [
            json!({"equals": "a"}),
            json!({"equals": 1}),
            json!({"in": ["a", true]}),
            json!({"prefix": "a"}),
            json!({"suffix": "b"}),
            json!({"glob": "a*"}),
            json!({"regex": "a|/.*"}),
            json!({"cidr": "10.0.0.0/8"}),
            json!({"pathUnder": "/a"}),
            json!({"absent": true}),
            json!({"absent": false}),
            json!({"min": -1, "max": 1.5}),
            json!({"type": "Integer"}),
            json!({"size": {"max": 1}}),
        ]
        .to_vec(),
    );
    (path, elements, operator).prop_map(|(path, elements, operator)| {
        let mut asked: ArgumentCondition = serde_json::from_value({
            let mut whole = json!({ "path": path });
            whole.as_object_mut().unwrap().extend(operator.as_object().unwrap().clone());
            whole
        })
        .unwrap();
        asked.elements = elements;
        asked
    })
}

fn rule(effect: Effect) -> impl Strategy<Value = Rule> {
    let principal = select(
        [
            PrincipalMatch::AnyAuthenticated,
            PrincipalMatch::Group { name: "dev".into(), issuer: None },
            PrincipalMatch::Group { name: "ops".into(), issuer: Some("corp".into()) },
            PrincipalMatch::Subject { name: "alice".into(), issuer: None },
        ][..]
            .to_vec(),
    );
    let tools = texts(&["read", "write", "*", "read*", "?????", "deploy"], 1..3);
    let when = proptest::option::weighted(
        0.3,
        select(
            &[
                "args.x == 'a'",
                "args.x.size() > 1",
                "'ops' in principal.groups",
                "args.x.all(e, e == 1)",
                "has(args.y)",
            ][..],
        ),
    )
    .prop_map(|when| when.map(str::to_owned));
    (any::<u16>(), principal, tools, vec(condition(), 0..3), when, texts(&["r", "w", "x"], 0..3)).prop_map(
        move |(number, principal, tools, arguments, when, scopes)| Rule {
            name: format!("rule-{number}"),
            effect,
            principals: vec![principal],
            tools,
            prompts: vec![],
            resources: vec![],
            methods: vec![],
            arguments,
            when,
            scopes: if effect == Effect::Allow { scopes } else { vec![] },
            broader_scopes: [("r".to_owned(), vec!["w".to_owned()])].into(),
            not_after: None,
        },
    )
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    vec(prop_oneof![3 => rule(Effect::Allow), 1 => rule(Effect::Deny)], 0..6)
}

fn caller() -> impl Strategy<Value = Principal> {
    (texts(&["dev", "ops"], 0..3), texts(&["r", "w", "x"], 0..3)).prop_map(|(groups, scopes)| {
        let mut caller = Principal::named("alice".into(), u64::MAX, Evidence::Token { issuer: "corp".into() });
        (caller.groups, caller.scopes) = (groups, scopes);
        caller
    })
}

fn permits(rules: &[Rule], caller: &Principal, tool: &str, arguments: &Value) -> bool {
    Policy::compile(rules).unwrap().decide(caller, Action::CallTool(tool), arguments).is_ok()
}

proptest! {
    #[test]
    fn a_deny_never_widens(rules in rules(), deny in rule(Effect::Deny), caller in caller(), tool in select(&TOOLS[..]),
                           arguments in arguments()) {
        let before = permits(&rules, &caller, tool, &arguments);
        let more: Vec<Rule> = rules.into_iter().chain([deny]).collect();
        prop_assert!(before || !permits(&more, &caller, tool, &arguments));
    }

    #[test]
    fn an_allow_never_narrows(rules in rules(), allow in rule(Effect::Allow), caller in caller(), tool in select(&TOOLS[..]),
                              arguments in arguments()) {
        let before = permits(&rules, &caller, tool, &arguments);
        let more: Vec<Rule> = rules.into_iter().chain([allow]).collect();
        prop_assert!(!before || permits(&more, &caller, tool, &arguments));
    }

    #[test]
    fn order_does_not_matter(rules in rules(), caller in caller(), tool in select(&TOOLS[..]), arguments in arguments()) {
        let turned: Vec<Rule> = rules.iter().rev().cloned().collect();
        prop_assert_eq!(permits(&rules, &caller, tool, &arguments), permits(&turned, &caller, tool, &arguments));
    }

    #[test]
    fn a_list_shows_what_some_call_may_use(rules in rules(), caller in caller(), tool in select(&TOOLS[..]),
                                           arguments in arguments()) {
        let policy = Policy::compile(&rules).unwrap();
        if policy.decide(&caller, Action::CallTool(tool), &arguments).is_ok() {
            prop_assert!(policy.shows(&caller, Catalog::Tools, tool));
        }
    }

    #[test]
    fn further_scopes_never_narrow(rules in rules(), caller in caller(), further in texts(&["r", "w"], 0..3),
                                   tool in select(&TOOLS[..]), arguments in arguments()) {
        let before = permits(&rules, &caller, tool, &arguments);
        let scopes = [caller.scopes.clone(), further].concat();
        let wider = Principal { scopes, ..caller };
        prop_assert!(!before || permits(&rules, &wider, tool, &arguments));
    }

    /// A token with what a challenge names is enough, and who has a broader scope is not told to take the narrower.
    #[test]
    fn what_a_challenge_names_is_enough_and_no_step_back(rules in rules(), caller in caller(), tool in select(&TOOLS[..]),
                                                         arguments in arguments()) {
        let decided = Policy::compile(&rules).unwrap().decide(&caller, Action::CallTool(tool), &arguments);
        if let Err(Denial { reason: DenialReason::MissingScopes { scopes, .. } }) = decided {
            let has = |scope: &str| caller.scopes.iter().any(|granted| granted == scope);
            prop_assert!(has("r") || !has("w") || !scopes.iter().any(|scope| scope == "r"), "{scopes:?}");
            let stepped_up = Principal { scopes: scopes.to_vec(), ..caller };
            prop_assert!(permits(&rules, &stepped_up, tool, &arguments));
        }
    }

    /// What is explained is what is decided: a call is permitted by the rules that nothing keeps from it, and refused by any
    /// Deny of the kind.
    #[test]
    fn an_explanation_agrees_with_the_decision(rules in rules(), caller in caller(), tool in select(&TOOLS[..]),
                                              arguments in arguments()) {
        let policy = Policy::compile(&rules).unwrap();
        let explained = policy.explain(&caller, Action::CallTool(tool), &arguments);
        let decided = policy.decide(&caller, Action::CallTool(tool), &arguments);
        prop_assert_eq!(decided.is_ok(), explained.decision.is_ok());
        let matches = |looks: &[Look]| looks.iter().any(|look| look.but_for.is_empty());
        prop_assert_eq!(decided.is_ok(), matches(&explained.allow) && !matches(&explained.deny));
    }

    /// What says nothing certain decides nothing: a condition that cannot be told holds neither for an Allow nor against a
    /// Deny.
    #[test]
    fn an_allow_and_a_deny_of_one_condition_permit_nothing_together(condition in condition(), arguments in arguments()) {
        let make = |effect| Rule {
            name: "one".into(),
            effect,
            principals: vec![PrincipalMatch::AnyAuthenticated],
            tools: vec!["*".into()],
            prompts: vec![],
            resources: vec![],
            methods: vec![],
            arguments: vec![condition.clone()],
            when: None,
            scopes: vec![],
            broader_scopes: Default::default(),
            not_after: None,
        };
        let caller = Principal::named("alice".into(), u64::MAX, Evidence::Token { issuer: "corp".into() });
        prop_assert!(!permits(&[make(Effect::Allow), make(Effect::Deny)], &caller, "read", &arguments));
    }

    #[test]
    fn nothing_that_is_written_or_sent_panics(text in any::<String>(), value in value(), sent in arguments(), min in any::<f64>(),
                                              number in any::<u64>(), tool in any::<String>()) {
        let asked = ArgumentCondition {
            path: format!("/x{text}"),
            equals: Some(value.clone()),
            one_of: vec![value],
            prefix: Some(text.clone()),
            suffix: Some(text.clone()),
            glob: Some(text.clone()),
            regex: Some(text.clone()),
            min: Number::from_f64(min),
            max: Some(number.into()),
            cidr: Some(text.clone()),
            path_under: Some(text.clone()),
            absent: Some(number % 2 == 0),
            kind: Some(ValueKind::Integer),
            size: Some(Size { min: Some(number), max: None }),
            elements: Elements::Any,
        };
        let single = [
            ArgumentCondition { regex: Some(text.clone()), path: "/x".into(), ..ArgumentCondition::default() },
            ArgumentCondition { glob: Some(text.clone()), path: "/x".into(), ..ArgumentCondition::default() },
            ArgumentCondition { path_under: Some(text), path: "/x".into(), ..ArgumentCondition::default() },
            asked,
        ];
        for asked in single {
            if let Ok(condition) = Condition::compile(&asked) {
                let _ = condition.judge(Some(&sent));
            }
        }
        let caller = Principal::anonymous();
        let _ = permits(&[], &caller, &tool, &sent);
    }

    /// Whatever numbers and texts come, an expression ends with an answer or none.
    #[test]
    fn no_expression_panics(
        source in select(&[
            "args.a + args.b > args.c", "args.a - args.b < args.c", "args.a * args.b == args.c", "args.a / args.b == args.c",
            "args.a % args.b == args.c", "-args.a < args.b", "int(args.a) == args.b", "uint(args.a) == args.b",
            "double(args.a) > args.b", "string(args.a) == args.b", "bool(args.a)", "args.a[args.b] == args.c",
            "args.a in args.b", "size(args.a) == args.b", "type(args.a) == type(args.b)", "dyn(args.a) <= dyn(args.b)",
            "args.a.contains(args.b)", "args.a.all(e, e - args.b > args.c)", "args.a.exists_one(e, e == args.b)",
            "args.a ? args.b : args.c", "args.a || args.b && !args.c", "args.a >= args.b == args.c",
        ][..]),
        operands in vec(prop_oneof![
            select(&[i64::MIN, -1, 0, 1, i64::MAX][..]).prop_map(Value::from),
            select(&[u64::MAX][..]).prop_map(Value::from),
            select(&[f64::MIN, f64::MAX, -0.5, 1e19, 0.0][..]).prop_map(Value::from),
            value(),
        ], 3),
    ) {
        let [a, b, c] = &operands[..] else { return Ok(()) };
        let arguments = json!({"a": a, "b": b, "c": c});
        let caller = Principal::anonymous();
        let facts = Facts::new(&caller, Action::CallTool("read"), &arguments);
        let _ = When::compile(source).unwrap().judge(&facts);
    }
}
