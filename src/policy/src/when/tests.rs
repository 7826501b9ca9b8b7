//! What can be said, what cannot, and what comes of it.

use serde_json::json;

use super::*;
use crate::Evidence;
use crate::conditions::Truth::{No, Unknown, Yes};

fn judge(source: &str, arguments: &Value) -> Truth {
    let mut alice = Principal::named("alice".into(), u64::MAX, Evidence::Token { issuer: "corp".into() });
    alice.groups = vec!["dev".into(), "ops".into()];
    alice.attributes = [("team".to_owned(), vec!["platform".to_owned()])].into();
    let facts = Facts::new(&alice, Action::CallTool("deploy"), arguments);
    When::compile(source).unwrap_or_else(|error| panic!("{source}: {error}")).judge(&facts)
}

#[test]
fn it_speaks_of_the_request_the_principal_and_the_arguments() {
    let arguments = json!({"sha": "a".repeat(40), "env": "staging", "files": [{"path": "/a"}, {"path": "/b"}], "n": 3, "r": 0.5,
        "deep": {"er": {"and": {"deeper": 1}}, "x": 2}});
    for (source, expected) in [
        ("args.sha.size() == 40", Yes),
        ("size(args.sha) == 41", No),
        ("request.tool == 'deploy'", Yes),
        ("has(request.prompt)", No),
        ("principal.subject == 'alice' && principal.issuer == 'corp'", Yes),
        ("'ops' in principal.groups", Yes),
        ("principal.groups.exists(g, g == args.env)", No),
        ("'platform' in principal.attributes.team", Yes),
        ("args.files.all(f, f.path.startsWith('/'))", Yes),
        ("args.files.exists_one(f, f.path == '/b')", Yes),
        ("args.n * 2 > 5 && args.r < 1.0", Yes),
        ("has(args.env) ? args.env in ['staging', 'dev'] : false", Yes),
        ("args['env'] == 'production' || args.n == 4", No),
        ("args.env.contains('stag') && !args.env.endsWith('x')", Yes),
        ("args.deep.er.and.deeper == 1 && args.deep.x == 2 && has(args.deep.er)", Yes),
        ("has(args.deep.none) || has(args.deep.er.none)", No),
        ("args.deep == args.deep && args.deep.size() == 2", Yes),
        ("args.size() == 7 - 1", Yes),
        ("principal.groups.all(args, args != 'x')", Yes),
    ] {
        assert_eq!(judge(source, &arguments), expected, "{source}");
    }
}

#[test]
fn an_error_and_what_is_neither_true_nor_false_cannot_be_told() {
    for source in [
        "args.missing == 1",
        "args.text.size() > args.missing",
        "args.text > 1",
        "args.n / 0 == 1",
        "args.n + 9223372036854775807 > 0",
        "args.n",
        "args.text",
        "principal.attributes.none == 'x'",
        "args.list[7] == 1",
        "args.list.member == 1",
        "args.text.member == 1",
        "has(args.text.member)",
        "int(args.text) == 1",
        "args.list.all(e, e.size() > 0)",
    ] {
        assert_eq!(judge(source, &json!({"text": "x", "n": 1, "list": [1]})), Unknown, "{source}");
    }
    let nobody = Principal::anonymous();
    let forgotten = Facts::new(&nobody, Action::CallTool("deploy"), &Nothing);
    assert_eq!(When::compile("true").unwrap().judge(&forgotten), Unknown);
}

struct Nothing;

impl Arguments for Nothing {
    fn value(&self) -> Option<&Value> {
        None
    }
}

#[test]
fn e27_what_could_take_long_is_not_taken() {
    for (source, expected) in [
        ("args.a.matches('(a+)+b')", WhenError::Function("matches".into())),
        ("args.a.map(x, x + 1) == []", WhenError::Loop),
        ("args.a.filter(x, x > 1).size() > 1", WhenError::Loop),
        ("args.a.all(x, args.b.all(y, x == y))", WhenError::Loop),
        ("args.a.all(x, x + args.b > 1)", WhenError::Loop),
        ("args.a.all(x, [args.b] != x)", WhenError::Loop),
        ("env == 'production'", WhenError::Variable("env".into())),
        ("args.a.all(x, y == 1)", WhenError::Variable("y".into())),
        ("args.a.all(x, x == 1) && x == 1", WhenError::Variable("x".into())),
        ("duration('1h') > args.d", WhenError::Function("duration".into())),
        ("{'a': 1}.a == 1", WhenError::Function("{} or optional values".into())),
        ("b'a' == args.a", WhenError::Function("bytes".into())),
        ("frobnicate(args.a)", WhenError::Function("frobnicate".into())),
    ] {
        assert_eq!(When::compile(source).unwrap_err(), expected, "{source}");
    }
    assert_eq!(When::compile(&format!("args.a == '{}'", "x".repeat(2000))).unwrap_err(), WhenError::TooLong);
    assert_eq!(When::compile(&vec!["args.a"; 140].join("+")).unwrap_err(), WhenError::TooLong);
    for (open, close) in [("(", ")"), ("!(", ")"), ("-(", ")"), ("[", "]"), ("true ? ", " : false")] {
        let source = format!("{}true{}", open.repeat(40), close.repeat(40));
        assert_eq!(When::compile(&source).unwrap_err(), WhenError::TooLong, "{source}");
    }
    let long = json!({"a": vec![1; MAX_ELEMENTS + 1], "b": 1});
    assert_eq!(judge("args.a.all(e, e == 1)", &long), Unknown);
    assert_eq!(judge("args.a.size() > 1", &json!({"a": "x".repeat(MAX_TEXT + 1)})), Unknown);
    assert_eq!(judge("args['b'] == 1", &long), Unknown);
    assert_eq!(judge("args.a == args.a", &json!({"a": vec![vec![1; 10]; 100]})), Unknown);
    // What can be read in two ways is not handed over.
    for arguments in [
        json!({"b": 1, "B": 2}),
        json!({"b": "ｐ"}),
        json!({"b": "p\n"}),
        json!({"b": 9_007_199_254_740_993_u64}),
        json!({"b": 1e17}),
        json!({"b": {"p\u{200b}": 1}}),
    ] {
        assert_eq!(judge("args.b != 'production'", &arguments), Unknown, "{arguments}");
    }
    // What is not read is not looked at.
    assert_eq!(judge("args.b == 1", &long), Yes);
    assert_eq!(judge("args.a.all(e, e == 1)", &json!({"a": vec![1; MAX_ELEMENTS]})), Yes);
}

#[test]
fn what_is_no_expression_is_named_by_its_place() {
    for (source, line, column) in [("args.a ==", 1, 9), ("args.a == 1 &&\n  )", 2, 3), ("", 1, 0)] {
        match When::compile(source).unwrap_err() {
            WhenError::Syntax { line: at, column: beside, problem } => {
                assert_eq!((at, beside - column <= 1), (line, true), "{source}: {problem}");
            }
            error => panic!("{source}: {error}"),
        }
    }
}
