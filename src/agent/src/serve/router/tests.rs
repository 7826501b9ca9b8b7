//! Laws of the routing of ids, for whatever callers and processes do.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// An owner asks, with one of few ids and tokens, so that they collide.
    Ask { owner: u64, id: usize, token: Option<usize> },
    /// The process answers one of the calls that were ever made, or none.
    Answer { call: u64 },
    /// It reports progress of one.
    Progress { call: u64 },
    /// An owner cancels.
    Cancel { owner: u64, id: usize },
    /// Nobody waits any more.
    Take { call: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (owner, id, call) = (1..4_u64, 0..IDS.len(), 0..30_u64);
    prop_oneof![
        3 => (owner.clone(), id.clone(), proptest::option::of(id.clone()))
            .prop_map(|(owner, id, token)| Step::Ask { owner, id, token }),
        3 => call.clone().prop_map(|call| Step::Answer { call }),
        2 => call.clone().prop_map(|call| Step::Progress { call }),
        1 => (owner, id).prop_map(|(owner, id)| Step::Cancel { owner, id }),
        1 => call.prop_map(|call| Step::Take { call }),
    ]
}

const IDS: [&str; 6] = ["1", "2", "\"1\"", "\"a\"", r#""\u0061""#, "9007199254740993"];

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

proptest! {
    #[test]
    fn every_answer_goes_to_who_asked_by_the_id_that_was_asked_with(steps in proptest::collection::vec(step(), 1..120)) {
        let mut router = Router::new();
        // What was asked: where it goes, id, token, owner.
        let mut open: HashMap<u64, (usize, &str, Option<&str>, u64)> = HashMap::new();
        for (at, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask { owner, id, token } => {
                    let (id, token) = (IDS[id], token.map(|token| IDS[token]));
                    let meta = token.map_or_else(String::new, |token| format!(r#","_meta":{{"progressToken":{token}}}"#));
                    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m","params":{{"x":1{meta}}}}}"#);
                    let message = Message::read(text.as_bytes()).unwrap();
                    let (number, line) = router.ask(owner, Nature::Plain, &message, at).unwrap();
                    let line = value(&line);
                    prop_assert_eq!(&line["id"], &json!(number));
                    prop_assert_eq!(&line["params"]["_meta"]["progressToken"], &token.map_or(Value::Null, |_| json!(number)));
                    prop_assert!(open.insert(number, (at, id, token, owner)).is_none(), "a number comes twice");
                }
                Step::Answer { call } => {
                    let line = format!(r#"{{"jsonrpc":"2.0","id":{call},"result":{{"of":{call}}}}}"#);
                    match (router.hear(line.as_bytes(), 1), open.remove(&call)) {
                        (Heard::Answer { call: heard, text, code: None }, Some((to, id, ..))) => {
                            prop_assert_eq!(heard.to, to);
                            let expected = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"of":{call}}}}}"#);
                            prop_assert_eq!(String::from_utf8(text).unwrap(), expected);
                        }
                        (Heard::Nobodys(Why::Unknown), None) => {}
                        _ => prop_assert!(false, "an answer went astray"),
                    }
                }
                Step::Progress { call } => {
                    let params = format!(r#"{{"progressToken":{call},"progress":1}}"#);
                    let line = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}"#);
                    match (router.hear(line.as_bytes(), 1), open.get(&call)) {
                        (Heard::Related { call: heard, text }, Some((_, _, Some(token), _))) => {
                            prop_assert_eq!(heard, call);
                            let written = format!(r#""progressToken":{token},"#);
                            prop_assert!(String::from_utf8(text).unwrap().contains(&written));
                        }
                        (Heard::Nobodys(Why::Unknown), None | Some((_, _, None, _))) => {}
                        _ => prop_assert!(false, "progress went astray"),
                    }
                }
                Step::Cancel { owner, id } => {
                    let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{}}}}}"#, IDS[id]);
                    let same = |other: &str| value(other.as_bytes()) == value(IDS[id].as_bytes());
                    let newest = open.iter().filter(|(_, (_, id, _, of))| *of == owner && same(id)).map(|(number, _)| *number).max();
                    let cancelled = router.cancel(owner, &Message::read(text.as_bytes()).unwrap());
                    prop_assert_eq!(cancelled.as_ref().map(|(number, _)| *number), newest);
                    if let Some((number, line)) = cancelled {
                        prop_assert_eq!(&value(&line)["params"]["requestId"], &json!(number));
                    }
                }
                Step::Take { call } => {
                    prop_assert_eq!(router.take(call).map(|call| call.to), open.remove(&call).map(|(to, ..)| to));
                }
            }
            prop_assert_eq!(router.calls().count(), open.len());
        }
        prop_assert_eq!(router.take_all().len(), open.len());
    }

    /// Whatever a process prints is read without harm.
    #[test]
    fn no_line_does_harm(line in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,100}") {
        let mut router: Router<()> = Router::new();
        router.hear(&line, 1);
        router.hear(text.as_bytes(), 2);
        router.hear(format!(r#"{{"jsonrpc":"2.0","method":{text:?},"params":{text:?}}}"#).as_bytes(), 3);
    }

    #[test]
    fn an_answer_to_a_question_reaches_the_process_by_its_own_id_once(id in "[a-z\"\\\\é ]{0,8}", number in 1..1000_u64) {
        let mut router: Router<()> = Router::new();
        let written = serde_json::to_string(&id).unwrap();
        let line = format!(r#"{{"jsonrpc":"2.0","id":{written},"method":"roots/list"}}"#);
        let Heard::Question { text, .. } = router.hear(line.as_bytes(), number) else { panic!("a question") };
        prop_assert_eq!(&value(&text)["id"], &json!(number));
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{{}}}}"#);
        let answer = Message::read(answer.as_bytes()).unwrap();
        prop_assert_eq!(&value(&router.answer(&answer).unwrap())["id"], &json!(id));
        prop_assert!(router.answer(&answer).is_none());
    }
}

#[test]
fn what_names_nobody_is_of_the_only_call_at_work() {
    let message = Message::read(br#"{"jsonrpc":"2.0","id":1,"method":"m"}"#).unwrap();
    let mut router = Router::new();
    assert_eq!((router.only(), router.only_at_work()), (None, None));
    let (listen, _) = router.ask(1, Nature::Listen, &message, ()).unwrap();
    let (first, _) = router.ask(1, Nature::Plain, &message, ()).unwrap();
    assert_eq!((router.only(), router.only_at_work()), (Some(first), None));
    router.hear(format!(r#"{{"jsonrpc":"2.0","id":{listen},"result":{{}}}}"#).as_bytes(), 1);
    assert_eq!(router.only_at_work(), Some(first));
    let (second, _) = router.ask(2, Nature::Plain, &message, ()).unwrap();
    assert_eq!((router.only(), router.only_at_work(), router.latest()), (None, None, Some(second)));
    // Nobody waits, but it may still be at work, until it answers.
    router.take(first);
    assert_eq!((router.only(), router.only_at_work()), (Some(second), None));
    router.hear(format!(r#"{{"jsonrpc":"2.0","id":{first},"result":{{}}}}"#).as_bytes(), 1);
    assert_eq!(router.only_at_work(), Some(second));
}
