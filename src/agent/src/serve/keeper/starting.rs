//! How a keeper comes to a process: the first, the one after a crash, the one with newer secrets. What the session had
//! told the former one is told to the next before anything else (row 66).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Keeper, Line, Trouble};
use crate::serve::message::{self, Kind, Message, text_at};
use crate::serve::process::Process;
use crate::serve::room::{Delivery, queue};
use crate::serve::router::{Nature, Router};

/// Longest wait for a server that keeps ending; who comes earlier is told when to come again.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// Until a new process must have taken up the session.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// Attempts at a process with newer secrets, and the pause after the first, which doubles.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_secs(1);
/// What calls may take to end on a process that has made room for another.
const LONGEST_CALL: Duration = Duration::from_secs(600);

impl Keeper {
    /// The process for new requests, started if there is none.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<Arc<Process>, Trouble> {
        if let Some(process) = self.current()? {
            return Ok(process);
        }
        let keeper = self.clone();
        // In a task of its own: a caller that hangs up must not leave a half-started process.
        let started = tokio::spawn(async move {
            let _one_at_a_time = keeper.starting.lock().await;
            match keeper.current()? {
                Some(process) => Ok(process),
                None => keeper.start_rested().await,
            }
        });
        started.await.unwrap_or_else(|_| Err(Trouble::NotStarted("the bridge has failed".to_owned())))
    }

    fn current(&self) -> Result<Option<Arc<Process>>, Trouble> {
        if self.over.is_cancelled() {
            return Err(Trouble::Over);
        }
        Ok(self.state().current.clone().filter(|process| !process.input.is_closed()))
    }

    async fn start_rested(self: &Arc<Self>) -> Result<Arc<Process>, Trouble> {
        let former = self.state().current.clone();
        if let Some(former) = former {
            // It reads no more: of no use, even if it has not ended.
            former.end();
            former.parted.cancelled().await;
        }
        let wait = self.state().backoff.wait(Instant::now());
        if wait > LONGEST_REST {
            return Err(Trouble::Resting(wait));
        }
        tokio::time::sleep(wait).await;
        let process = self.start().await?;
        self.take_over(&process)?;
        Ok(process)
    }

    /// Lets new requests go to this process; a former one ends when its calls have.
    fn take_over(&self, process: &Arc<Process>) -> Result<(), Trouble> {
        let mut state = self.state();
        if self.over.is_cancelled() {
            process.dismiss();
            return Err(Trouble::Over);
        }
        if !state.lines.contains_key(&process.number) {
            return Err(Trouble::NotStarted("the server ended as soon as it was started".to_owned()));
        }
        state.current = Some(process.clone());
        state.dismiss_former();
        Ok(())
    }

    /// Starts a process and tells it what the former one was told.
    async fn start(self: &Arc<Self>) -> Result<Arc<Process>, Trouble> {
        if self.over.is_cancelled() {
            return Err(Trouble::Over);
        }
        let started = Process::start(&self.means, self.ledger.process());
        let (process, lines) = started.map_err(|error| {
            self.state().backoff.ended(Duration::ZERO, Instant::now());
            let reason = reason(&error);
            tracing::error!(reason, "the server is not started");
            Trouble::NotStarted(reason)
        })?;
        let process = Arc::new(process);
        let line = Line { process: process.clone(), router: Router::new() };
        self.state().lines.insert(process.number, line);
        tokio::spawn(self.clone().follow(process.clone(), lines));
        if let Err(trouble) = self.replay(&process).await {
            process.dismiss();
            return Err(trouble);
        }
        Ok(process)
    }

    async fn replay(self: &Arc<Self>, process: &Arc<Process>) -> Result<(), Trouble> {
        let (params, agreed) = {
            let state = self.state();
            (state.memory.initialize.clone(), state.memory.version())
        };
        let Some(params) = params else { return Ok(()) };
        let said = tokio::time::timeout(HANDSHAKE, self.put(process, &message::request("initialize", &params))).await;
        let said = said.ok().flatten().ok_or_else(|| {
            Trouble::NotStarted("the server does not answer initialize; its log says more".to_owned())
        })?;
        let result = match Message::read(&said).map(|message| message.kind) {
            Ok(Kind::Response { outcome: Ok(result), .. }) => result,
            _ => return Err(Trouble::NotStarted("the server refuses initialize; its log says more".to_owned())),
        };
        if agreed.is_some() && agreed != text_at(result, &["protocolVersion"]) {
            tracing::warn!(
                process = process.number,
                "the server speaks another revision than before; its sessions end"
            );
            self.end();
            return Err(Trouble::Over);
        }
        let (initialized, requests) = {
            let mut state = self.state();
            state.memory.result.get_or_insert_with(|| result.into());
            state.memory.rest()
        };
        if initialized {
            let _ = process.input.put_small(message::notification("notifications/initialized", None));
        }
        for request in requests {
            let answer = tokio::time::timeout(HANDSHAKE, self.put(process, &request)).await;
            if !answer.is_ok_and(|answer| answer.is_some()) {
                return Err(Trouble::NotStarted(
                    "the server does not take up the session; its log says more".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// A request of the bridge's own and what is answered. None: the process has ended.
    async fn put(&self, process: &Process, request: &str) -> Option<bytes::Bytes> {
        let message = Message::read(request.as_bytes()).ok()?;
        let (inlet, mut outlet) = queue(1);
        let (_, line) = {
            let mut state = self.state();
            state.lines.get_mut(&process.number)?.router.ask(0, Nature::Own, &message, inlet)?
        };
        process.input.put_small(line).ok()?;
        match outlet.next().await? {
            Delivery::Answer(text, _) => Some(text),
            Delivery::Message(_) => None,
        }
    }

    /// Replaces the process by one that has the secrets in force: the new one takes the session up first, then new
    /// requests go to it, and the former ends when its calls have. If none can be started the former stays.
    pub(crate) async fn renew(self: &Arc<Self>) {
        for attempt in 0..ATTEMPTS {
            let renewed = {
                let _one_at_a_time = self.starting.lock().await;
                match self.current() {
                    Ok(Some(former)) => self.start().await.and_then(|process| {
                        self.take_over(&process)?;
                        Ok(former)
                    }),
                    // Whatever is started next has them.
                    _ => return,
                }
            };
            match renewed {
                Ok(former) => {
                    tokio::spawn(async move {
                        if tokio::time::timeout(LONGEST_CALL, former.gone()).await.is_err() {
                            former.dismiss();
                        }
                    });
                    return;
                }
                Err(Trouble::Over) => return,
                Err(trouble) => {
                    tracing::error!(%trouble, "no process with the newer secrets; the one with the former stays for now");
                    tokio::time::sleep(PAUSE.saturating_mul(1 << attempt.min(5))).await;
                }
            }
        }
    }

    /// Starts the process ahead of any request.
    pub(crate) async fn prepare(self: &Arc<Self>) -> Result<(), Trouble> {
        self.ready().await.map(|_| ())
    }
}

/// An error with its causes.
fn reason(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
