//! Each operator by what holds, what does not, and what cannot be told.

use serde_json::json;

use super::Truth::{No, Unknown, Yes};
use super::*;

fn condition(asked: Value) -> Result<Condition, ConditionError> {
    Condition::compile(&serde_json::from_value(asked).unwrap())
}

/// What `asked` says of the member `a`.
fn of(asked: &Value, value: &Value) -> Truth {
    let mut whole = json!({"path": "/a"});
    whole.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    condition(whole).unwrap().judge(Some(&json!({ "a": value })))
}

fn expect(asked: &Value, cases: &[(Value, Truth)]) {
    for (value, expected) in cases {
        assert_eq!(of(asked, value), *expected, "{asked} of {value}");
    }
}

#[test]
fn e26_of_another_type_it_cannot_be_told() {
    expect(
        &json!({"equals": 100}),
        &[
            (json!(100), Yes),
            (json!(100.0), Yes),
            (json!(1e2), Yes),
            (json!(101), No),
            (json!(100.5), No),
            (json!("100"), Unknown),
            (json!([100]), Unknown),
            (json!(true), Unknown),
            (json!(null), Unknown),
            (json!(1e300), Unknown),
        ],
    );
    expect(
        &json!({"equals": "true"}),
        &[(json!("true"), Yes), (json!("True"), No), (json!(true), Unknown), (json!(["true"]), Unknown)],
    );
    expect(&json!({"equals": false}), &[(json!(false), Yes), (json!(true), No), (json!(0), Unknown)]);
    expect(
        &json!({"equals": 9_007_199_254_740_991_u64}),
        &[
            (json!(9_007_199_254_740_991_u64), Yes),
            (json!(9_007_199_254_740_990_u64), No),
            (json!(9_007_199_254_740_993_u64), Unknown),
            (json!(9_007_199_254_740_992.0), Unknown),
        ],
    );
    expect(
        &json!({"in": ["staging", 1]}),
        &[(json!("staging"), Yes), (json!(1), Yes), (json!("x"), Unknown), (json!(true), Unknown)],
    );
}

#[test]
fn e26_texts_that_are_seen_as_equal_cannot_be_told_apart() {
    for operator in [
        json!({"equals": "prod"}),
        json!({"prefix": "prod"}),
        json!({"suffix": "prod"}),
        json!({"glob": "prod"}),
        json!({"regex": "prod"}),
        json!({"in": ["prod"]}),
    ] {
        expect(
            &operator,
            &[
                (json!("prod"), Yes),
                (json!("dev"), No),
                // Full-width letters, one that is not seen, one that turns the direction.
                (json!("ｐｒｏｄ"), Unknown),
                (json!("pr\u{200b}od"), Unknown),
                (json!("\u{202e}dorp"), Unknown),
            ],
        );
    }
    expect(&json!({"equals": "é"}), &[(json!("é"), Yes), (json!("e\u{301}"), Unknown), (json!("e"), No)]);
}

#[test]
fn patterns_are_about_the_whole_text() {
    expect(&json!({"prefix": "a."}), &[(json!("a.b"), Yes), (json!("ab"), No), (json!(1), Unknown)]);
    expect(&json!({"suffix": ".b"}), &[(json!("a.b"), Yes), (json!("ab"), No)]);
    expect(&json!({"glob": "team-?-*"}), &[(json!("team-a-"), Yes), (json!("team-ab"), No), (json!("xteam-a-"), No)]);
    expect(
        &json!({"regex": "a|b"}),
        &[
            (json!("a"), Yes),
            (json!("b"), Yes),
            (json!("ab"), No),
            (json!("xb"), No),
            (json!("b\n"), Unknown),
            (json!("A"), No),
        ],
    );
}

#[test]
fn bounds_are_included() {
    expect(
        &json!({"min": 1, "max": 2.5}),
        &[
            (json!(1), Yes),
            (json!(2.5), Yes),
            (json!(0.999), No),
            (json!(3), No),
            (json!("1"), Unknown),
            (json!(1e308), Unknown),
            (json!(-5), No),
            (json!(u64::MAX), Unknown),
            (json!(1000), No),
        ],
    );
}

#[test]
fn addresses_and_nothing_else_are_in_networks() {
    expect(
        &json!({"cidr": "10.0.0.0/8"}),
        &[
            (json!("10.1.2.3"), Yes),
            (json!("11.1.2.3"), No),
            (json!("::ffff:10.1.2.3"), Yes),
            (json!("::1"), No),
            (json!("64:ff9b::a01:203"), Unknown),
            (json!("2002:a01:203::"), Unknown),
            (json!("::a01:203"), Unknown),
            (json!("0.0.0.0"), Unknown),
            (json!("010.1.2.3"), Unknown),
            (json!("10.1"), Unknown),
            (json!("167837955"), Unknown),
            (json!("0x0a010203"), Unknown),
            (json!("10.1.2.3 "), Unknown),
            (json!("localhost"), Unknown),
        ],
    );
    expect(
        &json!({"cidr": "fd00::/8"}),
        &[(json!("fd12::1"), Yes), (json!("fe80::1%eth0"), Unknown), (json!("10.0.0.1"), No)],
    );
}

#[test]
fn e25_a_path_leads_where_it_says() {
    expect(
        &json!({"pathUnder": "/data/x"}),
        &[
            (json!("/data/x"), Yes),
            (json!("/data/x/"), Yes),
            (json!("/data/x/y"), Yes),
            (json!("/data/./x//y"), Yes),
            (json!("/data/x-evil"), No),
            (json!("/data"), No),
            (json!("/data/X"), No),
            (json!("/"), No),
            (json!("/data/x/../../etc"), Unknown),
            (json!("/data/x/.."), Unknown),
            (json!("/data/x/%2e%2e/etc"), Unknown),
            (json!("/data/x/%2Fetc"), Unknown),
            (json!("/data/x/100%"), Unknown),
            (json!("/data/x/..\\..\\etc"), Unknown),
            (json!("/data/x\u{0}/y"), Unknown),
            (json!("/data/x/．．/etc"), Unknown),
            (json!("//data/x/y"), Unknown),
            (json!("/data/x/..;/y"), Unknown),
            (json!("/data/x/%u002e%u002e/y"), Unknown),
            (json!("data/x"), Unknown),
            (json!("~/x"), Unknown),
            (json!("--upload-pack=/data/x"), Unknown),
            (json!("file:///data/x"), Unknown),
            (json!(""), Unknown),
            (json!(["/data/x"]), Unknown),
        ],
    );
    expect(&json!({"pathUnder": "/"}), &[(json!("/etc"), Yes), (json!("etc"), Unknown)]);
}

#[test]
fn kinds_and_sizes() {
    for (kind, value) in [
        ("String", json!("a")),
        ("Number", json!(1.5)),
        ("Integer", json!(1)),
        ("Boolean", json!(true)),
        ("Array", json!([])),
        ("Object", json!({})),
        ("Null", json!(null)),
    ] {
        assert_eq!(of(&json!({ "type": kind }), &value), Yes, "{kind}");
        let other = if kind == "String" { json!(1) } else { json!("a") };
        assert_eq!(of(&json!({ "type": kind }), &other), No, "{kind}");
    }
    expect(
        &json!({"type": "Integer"}),
        &[(json!(1.5), No), (json!(1.0), Unknown), (json!(1e20), Unknown), (json!(true), No)],
    );
    expect(
        &json!({"size": {"min": 1, "max": 2}}),
        &[
            (json!("üü"), Yes),
            (json!("üüü"), No),
            (json!(""), No),
            (json!([1]), Yes),
            (json!({"a": 1, "b": 2, "c": 3}), No),
            (json!(1), Unknown),
            (json!(null), Unknown),
        ],
    );
}

#[test]
fn what_is_not_there_cannot_be_told_unless_that_is_asked() {
    let judge = |asked: Value, arguments: Value| condition(asked).unwrap().judge(Some(&arguments));
    for (path, arguments, expected) in [
        ("/a", json!({}), Unknown),
        ("/a/b", json!({"a": {}}), Unknown),
        ("/a/b", json!({"a": "b"}), Unknown),
        ("/a/1", json!({"a": [0, "x"]}), Yes),
        ("/a/01", json!({"a": [0, "x"]}), Unknown),
        ("/a/-", json!({"a": ["x"]}), Unknown),
        ("/a/2", json!({"a": ["x"]}), Unknown),
        ("/a/0", json!({"a": {"0": "x"}}), Yes),
        ("/~2", json!({"*": "x"}), Yes),
        ("/*", json!({"*": "x"}), Unknown),
    ] {
        assert_eq!(judge(json!({"path": path, "equals": "x"}), arguments.clone()), expected, "{path} {arguments}");
    }
    for (absent, arguments, expected) in [
        (true, json!({}), Yes),
        (true, json!({"a": 1}), No),
        (true, json!({"a": null}), Unknown),
        (false, json!({}), No),
        (false, json!({"a": 1}), Yes),
        (false, json!({"a": null}), Unknown),
    ] {
        assert_eq!(judge(json!({"path": "/a", "absent": absent}), arguments.clone()), expected, "{absent} {arguments}");
    }
    assert_eq!(judge(json!({"path": "/a/b", "absent": true}), json!({"a": "text"})), Unknown);
    // A server that binds names without regard to case sees the other one, or it alone.
    for arguments in [json!({"a": "x", "A": "y"}), json!({"A": "x"}), json!({"a": "x", "a\u{200b}": "y"})] {
        for asked in [json!({"equals": "x"}), json!({"absent": true}), json!({"absent": false})] {
            assert_ne!(of(&asked, &json!("x")), Unknown);
            let mut whole = json!({"path": "/a"});
            whole.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
            assert_eq!(judge(whole, arguments.clone()), Unknown, "{arguments}");
        }
    }
    assert_eq!(condition(json!({"path": "/a", "absent": true})).unwrap().judge(None), Unknown);
}

#[test]
fn every_element_or_any() {
    let judge = |elements: &str, arguments: Value| {
        let asked = json!({"path": "/files/*/path", "pathUnder": "/data", "elements": elements});
        condition(asked).unwrap().judge(Some(&arguments))
    };
    let files =
        |paths: &[Value]| json!({"files": paths.iter().map(|path| json!({ "path": path })).collect::<Vec<_>>()});
    for (paths, every, any) in [
        (&[json!("/data/a"), json!("/data/b")][..], Yes, Yes),
        (&[json!("/data/a"), json!("/etc")], No, Yes),
        (&[json!("/etc"), json!("/usr")], No, No),
        (&[json!("/data/a"), json!("../etc")], Unknown, Yes),
        (&[json!("/etc"), json!("../etc")], No, Unknown),
        (&[], Unknown, Unknown),
    ] {
        assert_eq!((judge("Every", files(paths)), judge("Any", files(paths))), (every, any), "{paths:?}");
    }
    assert_eq!(judge("Every", json!({"files": [{"path": "/data/a"}, {}]})), Unknown);
    assert_eq!(judge("Every", json!({"files": {"path": "/data/a"}})), Unknown);
}

/// The bound on values and on texts, not the clock: what is past it cannot be told.
#[test]
fn e27_more_than_the_bound_is_not_looked_at() {
    let asked = json!({"path": "/a/*", "regex": "(a+)+b?"});
    let judge = |value: Value| condition(asked.clone()).unwrap().judge(Some(&json!({ "a": value })));
    assert_eq!(judge(json!(vec!["a"; MAX_VALUES])), Yes);
    assert_eq!(judge(json!(vec!["a"; MAX_VALUES + 1])), Unknown);
    assert_eq!(judge(json!(["a".repeat(64 << 10)])), Yes);
    assert_eq!(judge(json!(["a".repeat((64 << 10) + 1)])), Unknown);
    assert_eq!(judge(json!(["a".repeat(1 << 20)])), Unknown);
    let nested = json!({"path": "/a/*/*/*", "equals": 1});
    let hundred = |value: Value| json!(vec![value; 100]);
    let deep = json!({"a": hundred(hundred(hundred(json!(1))))});
    assert_eq!(condition(nested).unwrap().judge(Some(&deep)), Unknown);
}

#[test]
fn what_makes_no_sense_is_named_with_what_would() {
    for (asked, expected) in [
        (json!({"path": "env", "equals": 1}), "path: \"env\" is no JSON pointer into the arguments, as in /labels/env"),
        (json!({"path": "", "equals": 1}), "path: \"\" is no JSON pointer"),
        (json!({"path": "/a"}), "path: no operator says what must hold of it, as in {path: /env, in: [staging"),
        (json!({"path": "/a", "absent": true, "equals": 1}), "absent: true goes with no other operator"),
        (json!({"path": "/a", "equals": [1]}), "equals: compares with a text, a number, true or false"),
        (json!({"path": "/a", "in": [1, {}]}), "in: compares with a text, a number, true or false"),
        (json!({"path": "/a", "equals": 1e300}), "is too large to be compared exactly"),
        (json!({"path": "/a", "prefix": ""}), "prefix: must be 1 to 1024 bytes"),
        (json!({"path": "/a", "suffix": "ｅ"}), "suffix: \"ｅ\" has characters that can be written in another way"),
        (json!({"path": "/a", "glob": "a\u{200b}"}), "glob: \"a\\u{200b}\" has characters"),
        (json!({"path": "/a", "regex": "("}), "regex: \"(\" is no expression of the Rust crate regex: "),
        (json!({"path": "/a", "regex": "a)|(b"}), "regex: \"a)|(b\" is no expression"),
        (json!({"path": "/a", "regex": "a(?=b)"}), "regex: \"a(?=b)\" has flags or names"),
        (json!({"path": "/a", "regex": "(?i)a"}), "has flags or names in (?...)"),
        (json!({"path": "/a", "glob": "a".repeat(257)}), "glob: must be 1 to 256 bytes"),
        (json!({"path": "/a", "regex": "(a{500}){500}"}), "regex: \"(a{500}){500}\" is no expression"),
        (json!({"path": "/a", "cidr": "10.0.0.1/8"}), "within the network 10.0.0.0/8"),
        (json!({"path": "/a", "cidr": "10.0.0.0"}), "cidr: \"10.0.0.0\" is no network, as in cidr: 10.0.0.0/8"),
        (json!({"path": "/a", "cidr": "::ffff:10.0.0.0/104"}), "is an IPv4 network written as IPv6"),
        (json!({"path": "/a", "pathUnder": "data"}), "pathUnder: \"data\" is no absolute path"),
        (json!({"path": "/a", "pathUnder": "/a/../b"}), "pathUnder: \"/a/../b\" is no absolute path"),
        (json!({"path": "/a", "min": 1.5, "max": 1}), "max: nothing is at least 1.5 and at most 1, as in {min: 1"),
        (json!({"path": "/a", "size": {}}), "size: has neither min nor max"),
        (json!({"path": "/a", "size": {"min": 2, "max": 1}}), "size: nothing is at least 2 and at most 1"),
    ] {
        let error = condition(asked.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{asked}: {error}");
    }
}
