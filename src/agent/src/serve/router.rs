//! Who a process is talking to: its own numbers in place of everybody's ids and progress tokens, and the way back for
//! what it answers (row 64). Two callers with the same id cannot meet, and what belongs to nobody goes to nobody (E32).
//!
//! Pure: no process, no stream, no clock. `S` is where a caller's messages go.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::message::{self, Kind, Message, member, normal};

/// Who asks: a session, or all that one principal asks in the era without sessions.
pub(crate) type Owner = u64;

/// The member of `_meta` that says to which `subscriptions/listen` a message belongs.
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Most cancelled calls that are remembered.
const MAX_GHOSTS: usize = 1024;

/// What a call is, as far as it matters for what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Any.
    Plain,
    /// A session's first; nothing but its answer belongs to it.
    Handshake,
    /// `subscriptions/listen`: lasts, and gets what names it.
    Listen,
    /// The bridge's own.
    Own,
}

/// A request that the process has not answered.
pub(crate) struct Call<S> {
    pub(crate) owner: Owner,
    pub(crate) nature: Nature,
    pub(crate) to: S,
    /// As its caller wrote it.
    pub(crate) id: Box<str>,
    token: Option<Box<str>>,
    /// Whether anybody waits for the answer.
    pub(crate) attached: bool,
    /// Looks since its caller has cancelled it.
    cancelled: Option<u32>,
}

/// What a line of the process is.
pub(crate) enum Heard<S> {
    /// The answer to a call, to be sent there; with the code of its error, if it is one.
    Answer { call: Call<S>, text: Vec<u8>, code: Option<i32> },
    /// Belongs to this call.
    Related { call: u64, text: Vec<u8> },
    /// The process ends a subscription without an answer.
    Ended { call: Call<S> },
    /// Says itself to nobody in particular.
    Unrelated { method: String, uri: Option<String>, text: Vec<u8> },
    /// A request to the caller's side. `number` is the id that an answer to it bears.
    Question { number: u64, method: String, text: Vec<u8> },
    /// Nothing that may go to anybody.
    Nobodys(Why),
}

/// Why a line goes to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is no message.
    Junk,
    /// It answers what nobody asked, or speaks of it.
    Unknown,
}

/// What is open between a process and its callers.
pub(crate) struct Router<S> {
    next: u64,
    calls: BTreeMap<u64, Call<S>>,
    /// What the process has asked: its ids by those that callers see.
    questions: HashMap<u64, Box<str>>,
    /// Cancelled calls that may still be at work.
    ghosts: HashSet<u64>,
}

impl<S> Router<S> {
    pub(crate) fn new() -> Self {
        Self { next: 1, calls: BTreeMap::new(), questions: HashMap::new(), ghosts: HashSet::new() }
    }

    /// Takes a request in: its number, and the line for the process. None: it is no request.
    pub(crate) fn ask(&mut self, owner: Owner, nature: Nature, request: &Message<'_>, to: S) -> Option<(u64, Vec<u8>)> {
        let Kind::Request { id, params, .. } = &request.kind else { return None };
        let number = self.next;
        self.next += 1;
        let written = number.to_string();
        let mut edits = vec![(*id, written.as_str())];
        let token = params.and_then(|params| member(params, &["_meta", "progressToken"]));
        edits.extend(token.map(|token| (token, written.as_str())));
        let line = request.rewritten(&edits);
        let call = Call {
            owner,
            nature,
            to,
            id: (*id).into(),
            token: token.map(Into::into),
            attached: nature != Nature::Own,
            cancelled: None,
        };
        self.calls.insert(number, call);
        Some((number, line))
    }

    /// The line for a cancellation that a caller sends, and the call that it cancels. None: it names none of the owner's.
    pub(crate) fn cancel(&mut self, owner: Owner, notification: &Message<'_>) -> Option<(u64, Vec<u8>)> {
        let Kind::Notification { params: Some(params), .. } = &notification.kind else { return None };
        let named = member(params, &["requestId"])?;
        let wanted = normal(named);
        let own = |call: &Call<S>| call.owner == owner && call.nature == Nature::Plain && normal(&call.id) == wanted;
        let (number, call) = self.calls.iter_mut().rev().find(|(_, call)| own(call))?;
        call.cancelled = Some(0);
        let line = notification.rewritten(&[(named, &number.to_string())]);
        Some((*number, line))
    }

    /// The line for an answer to what the process asked. None: it asked nothing of the kind.
    pub(crate) fn answer(&mut self, response: &Message<'_>) -> Option<Vec<u8>> {
        let Kind::Response { id, .. } = &response.kind else { return None };
        let asked = self.questions.remove(&id.parse().ok()?)?;
        Some(response.rewritten(&[(id, &asked)]))
    }

    /// Says that nobody answers what the process asked.
    pub(crate) fn refuse(&mut self, question: u64, why: &str) -> Option<Vec<u8>> {
        let asked = self.questions.remove(&question)?;
        Some(message::error(&asked, message::code::METHOD_NOT_FOUND, why))
    }

    /// The process asked whether somebody is there.
    pub(crate) fn pong(&mut self, question: u64) -> Option<Vec<u8>> {
        Some(message::result(&self.questions.remove(&question)?, "{}"))
    }

    /// Takes a call out, without an answer.
    pub(crate) fn take(&mut self, number: u64) -> Option<Call<S>> {
        let call = self.calls.remove(&number)?;
        if self.ghosts.len() < MAX_GHOSTS {
            self.ghosts.insert(number);
        }
        Some(call)
    }

    /// Takes all calls out.
    pub(crate) fn take_all(&mut self) -> Vec<Call<S>> {
        std::mem::take(&mut self.calls).into_values().collect()
    }

    /// Calls that were cancelled so many looks ago.
    pub(crate) fn look(&mut self, looks: u32) -> Vec<u64> {
        let cancelled = self.calls.iter_mut().filter_map(|(number, call)| Some((*number, call.cancelled.as_mut()?)));
        let mut late = Vec::new();
        for (number, seen) in cancelled {
            *seen += 1;
            if *seen > looks {
                late.push(number);
            }
        }
        late
    }

    pub(crate) fn call(&self, number: u64) -> Option<&Call<S>> {
        self.calls.get(&number)
    }

    /// Nobody waits for a call's answer any more.
    pub(crate) fn leave(&mut self, number: u64) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.attached = false;
        }
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = (u64, &Call<S>)> {
        self.calls.iter().map(|(number, call)| (*number, call))
    }

    /// Whether anybody waits for an answer; a subscription is no such wait.
    pub(crate) fn is_busy(&self) -> bool {
        self.calls.values().any(|call| call.attached && call.nature != Nature::Listen)
    }

    /// The call that a message without a name can only belong to, among callers of one owner.
    pub(crate) fn only(&self) -> Option<u64> {
        let mut plain = self.calls.iter().filter(|(_, call)| call.nature == Nature::Plain && call.attached);
        let (number, _) = plain.next()?;
        plain.next().is_none().then_some(*number)
    }

    /// The same among callers of several owners: whatever may still be at work counts, whoever has asked it.
    pub(crate) fn only_at_work(&self) -> Option<u64> {
        let quiet =
            self.ghosts.is_empty() && self.calls.values().all(|call| call.nature == Nature::Plain && call.attached);
        (quiet && self.calls.len() == 1).then(|| self.only()).flatten()
    }

    /// The call that was asked last and is waited for.
    pub(crate) fn latest(&self) -> Option<u64> {
        let waited = |call: &Call<S>| call.nature == Nature::Plain && call.attached;
        self.calls.iter().rev().find(|(_, call)| waited(call)).map(|(number, _)| *number)
    }

    /// Reads a line of the process. `question` is the id of the next request to the caller's side.
    pub(crate) fn hear(&mut self, line: &[u8], question: u64) -> Heard<S> {
        let Ok(message) = Message::read(line) else { return Heard::Nobodys(Why::Junk) };
        match &message.kind {
            Kind::Response { id, outcome } => self.hear_answer(&message, id, *outcome),
            Kind::Notification { method, params } => self.hear_notification(&message, method, params.unwrap_or("{}")),
            Kind::Request { id, method, .. } => {
                self.questions.insert(question, (*id).into());
                let text = message.rewritten(&[(id, &question.to_string())]);
                Heard::Question { number: question, method: method.to_string(), text }
            }
        }
    }

    fn hear_answer(&mut self, message: &Message<'_>, id: &str, outcome: Result<&str, &str>) -> Heard<S> {
        let number = id.parse().ok();
        let Some(call) = number.and_then(|number| self.calls.remove(&number)) else {
            if let Some(number) = number {
                self.ghosts.remove(&number);
            }
            return Heard::Nobodys(Why::Unknown);
        };
        let code = outcome.err().map(|error| {
            member(error, &["code"]).and_then(|code| code.parse().ok()).unwrap_or(message::code::INTERNAL)
        });
        let mut edits = vec![(id, &*call.id)];
        if call.nature == Nature::Listen {
            let named = outcome.ok().and_then(|result| member(result, &["_meta", SUBSCRIPTION]));
            edits.extend(named.map(|named| (named, &*call.id)));
        }
        let text = message.rewritten(&edits);
        Heard::Answer { call, text, code }
    }

    fn hear_notification(&mut self, message: &Message<'_>, method: &str, params: &str) -> Heard<S> {
        if method == "notifications/cancelled" {
            return self.hear_cancelled(message, params);
        }
        if method == "notifications/progress" {
            let token = member(params, &["progressToken"]);
            return self.related(message, token, |call| call.token.as_deref());
        }
        if let Some(subscription) = member(params, &["_meta", SUBSCRIPTION]) {
            let listens = |call: &Call<S>| call.nature == Nature::Listen;
            return self.related(message, Some(subscription), |call| listens(call).then_some(&*call.id));
        }
        let uri = (method == "notifications/resources/updated").then(|| message::text_at(params, &["uri"])).flatten();
        Heard::Unrelated { method: method.to_owned(), uri, text: message.rewritten(&[]) }
    }

    /// What names a call by our number, with the caller's own word in its place.
    fn related(&self, message: &Message<'_>, named: Option<&str>, word: impl Fn(&Call<S>) -> Option<&str>) -> Heard<S> {
        let found = named.and_then(|named| {
            let call: u64 = named.parse().ok()?;
            let text = message.rewritten(&[(named, word(self.calls.get(&call)?)?)]);
            Some(Heard::Related { call, text })
        });
        found.unwrap_or(Heard::Nobodys(Why::Unknown))
    }

    /// The process takes back what it asked, or ends a subscription.
    fn hear_cancelled(&mut self, message: &Message<'_>, params: &str) -> Heard<S> {
        let Some(named) = member(params, &["requestId"]) else { return Heard::Nobodys(Why::Unknown) };
        let wanted = normal(named);
        let question = self.questions.iter().find(|(_, asked)| normal(asked) == wanted).map(|(number, _)| *number);
        if let Some(number) = question {
            self.questions.remove(&number);
            let text = message.rewritten(&[(named, &number.to_string())]);
            return Heard::Unrelated { method: "notifications/cancelled".to_owned(), uri: None, text };
        }
        let number = named
            .parse()
            .ok()
            .filter(|number| self.calls.get(number).is_some_and(|call| call.nature == Nature::Listen));
        match number.and_then(|number| self.calls.remove(&number)) {
            Some(call) => Heard::Ended { call },
            None => Heard::Nobodys(Why::Unknown),
        }
    }
}

/// The line that tells the process that nobody waits for a call any more (row 69).
pub(crate) fn cancellation(number: u64) -> Vec<u8> {
    let params = format!(r#"{{"requestId":{number},"reason":"the caller is gone"}}"#);
    message::notification("notifications/cancelled", Some(&params))
}

#[cfg(test)]
mod tests;
