//! What a keeper does with what its process says: each message to whom it belongs, and nothing to anybody else
//! (row 62, E32). A process that ends leaves no caller waiting (row 66).

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::ChildStdout;

use super::placing::Parcel;
use super::{Keeper, Sharing, State, answer_for};
use crate::serve::ledger::count;
use crate::serve::lines::{Line as Read, Lines};
use crate::serve::message::{Kind, Message, code};
use crate::serve::process::Process;
use crate::serve::room::{Delivery, Inlet};
use crate::serve::router::{Heard, Nature, Why};

/// Until a stream that is not read is ended.
const UNREAD: Duration = Duration::from_secs(30);
/// What is still read of a process that has ended.
const REST: Duration = Duration::from_millis(100);
/// Between the end of what it says and its own.
const END: Duration = Duration::from_secs(1);

impl Keeper {
    /// Reads a process until it ends.
    pub(super) async fn follow(self: Arc<Self>, process: Arc<Process>, mut lines: Lines<ChildStdout>) {
        let status = {
            let ended = process.ended();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    line = lines.next() => match line {
                        Some(line) => self.hear(&process, line).await,
                        None => {
                            let status = tokio::time::timeout(END, &mut ended).await;
                            // Without a word to say it is of no use.
                            process.end();
                            break status.ok().flatten();
                        }
                    },
                    status = &mut ended => {
                        // Somebody whom it left behind may hold its standard output open.
                        while let Ok(Some(line)) = tokio::time::timeout(REST, lines.next()).await {
                            self.hear(&process, line).await;
                        }
                        break status;
                    }
                }
            }
        };
        self.lost(&process, status);
        process.parted.cancel();
    }

    async fn hear(&self, process: &Process, line: Read) {
        let parcels = match &line {
            Read::Whole(line) if line.trim_ascii().is_empty() => return,
            Read::Whole(line) => self.sorted(process, line),
            Read::TooLong => {
                count(&self.ledger.dropped.too_long);
                self.too_long(process);
                return;
            }
        };
        for (to, delivery) in parcels {
            self.deliver(to, delivery).await;
        }
    }

    async fn deliver(&self, to: Inlet<Delivery>, delivery: Delivery) {
        let (Delivery::Message(text) | Delivery::Answer(text, _)) = &delivery;
        let room = match to.room_now(text.len()) {
            Some(room) => Ok(room),
            // One of many must not hold up the others.
            None if self.sharing.is_of_many() => Err(!to.is_closed()),
            None => match tokio::time::timeout(UNREAD, to.room(text.len())).await {
                Ok(room) => room.map_err(|_| false),
                Err(_) => Err(true),
            },
        };
        match room {
            Ok(room) => {
                let _ = to.put(delivery, room);
            }
            Err(unread) => {
                if unread {
                    count(&self.ledger.dropped.unread);
                }
                self.cut(&to);
            }
        }
    }

    /// Ends a stream that is not read, or by nobody any more.
    fn cut(&self, stream: &Inlet<Delivery>) {
        let mut state = self.state();
        for listener in state.listeners.values_mut() {
            listener.stream.take_if(|open| open.is_same(stream));
        }
        for line in state.lines.values_mut() {
            let call = line.router.calls().find(|(_, call)| call.to.is_same(stream)).map(|(number, _)| number);
            if let Some(call) = call {
                line.router.take(call);
            }
        }
    }

    /// A line that was too long may be anybody's answer; if one only waits, it is hers.
    fn too_long(&self, process: &Process) {
        let mut state = self.state();
        let Some(line) = state.lines.get_mut(&process.number) else { return };
        let only = if self.sharing.is_of_many() { line.router.only_at_work() } else { line.router.only() };
        let limit = self.means.max_message_bytes;
        if let Some(call) = only.and_then(|only| line.router.take(only)) {
            let why =
                format!("the server's answer is longer than {limit} bytes; ask for less, or allow longer messages");
            answer_for(&call, code::INTERNAL, &why);
        }
    }

    fn sorted(&self, process: &Process, line: &[u8]) -> Vec<Parcel> {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(open) = state.lines.get_mut(&process.number) else { return Vec::new() };
        match open.router.hear(line, self.ledger.question()) {
            Heard::Answer { call, text, code } => {
                if call.nature == Nature::Handshake && code.is_none() {
                    state.memory.result = result_of(&text);
                }
                state.dismiss_former();
                vec![(call.to, Delivery::Answer(text.into(), code))]
            }
            Heard::Related { call, text } => {
                let to = open.router.call(call).map(|call| call.to.clone());
                to.map(|to| (to, Delivery::Message(text.into()))).into_iter().collect()
            }
            // The stream ends with the call.
            Heard::Ended { call } => {
                drop(call);
                Vec::new()
            }
            Heard::Unrelated { method, uri, text } => {
                let parcels = self.placed(state, process.number, &method, uri.as_deref(), &text.into());
                parcels.unwrap_or_else(|| {
                    count(&self.ledger.dropped.unclaimed);
                    Vec::new()
                })
            }
            Heard::Question { number, method, text } => {
                if self.sharing == Sharing::Session
                    && let Some(parcels) = self.placed(state, process.number, &method, None, &text.into())
                {
                    return parcels;
                }
                self.answer_question(state, process, number, &method);
                Vec::new()
            }
            Heard::Nobodys(Why::Junk) => {
                drop(guard);
                self.ledger.junk(process.number, line, &self.means.scrub);
                Vec::new()
            }
            Heard::Nobodys(Why::Unknown) => {
                count(&self.ledger.dropped.unknown);
                Vec::new()
            }
        }
    }

    /// The bridge answers in place of callers whom nobody can tell apart.
    fn answer_question(&self, state: &mut State, process: &Process, number: u64, method: &str) {
        let Some(line) = state.lines.get_mut(&process.number) else { return };
        let answer = if method == "ping" {
            line.router.pong(number)
        } else {
            count(&self.ledger.dropped.unclaimed);
            line.router.refuse(number, "there is no client here that could be asked")
        };
        if let Some(answer) = answer {
            let _ = process.input.put_small(answer);
        }
    }

    /// Answers whoever waits for a process that has ended.
    fn lost(&self, process: &Process, status: Option<ExitStatus>) {
        let mut state = self.state();
        let line = state.lines.remove(&process.number);
        state.current.take_if(|current| current.number == process.number);
        if process.is_dismissed() {
            tracing::info!(process = process.number, "the server's process has ended");
        } else {
            state.backoff.ended(process.started.elapsed(), Instant::now());
            let status = status.map(|status| status.to_string());
            tracing::warn!(
                process = process.number,
                status,
                "the server has ended by itself; the next request starts it"
            );
        }
        drop(state);
        let how = match status {
            Some(status) if !process.is_dismissed() => format!("the server ended ({status}) before it answered"),
            _ => "the server was ended before it answered".to_owned(),
        };
        let why = format!("{how}; the next request starts it anew");
        for call in line.into_iter().flat_map(|mut line| line.router.take_all()) {
            // A subscription ends with its stream.
            if call.nature != Nature::Listen {
                answer_for(&call, code::INTERNAL, &why);
            }
        }
    }
}

fn result_of(answer: &[u8]) -> Option<Box<str>> {
    match Message::read(answer).ok()?.kind {
        Kind::Response { outcome: Ok(result), .. } => Some(result.into()),
        _ => None,
    }
}
