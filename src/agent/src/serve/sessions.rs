//! Which sessions and partitions there are, who keeps a process for each, and room for no more processes than there may be
//! (row 65).
//!
//! Knows nothing of HTTP but the words by which callers name their session or partition.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cardea_contract::{Isolation, Stdio};
use rustix::process::Signal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::keeper::{Keeper, SOLE, Sharing, Trouble};
use super::ledger::Ledger;
use super::memory::Memory;
use super::message::Message;
use super::process::Means;
use super::router::Owner;

/// Most sessions that share a process.
const MAX_SHARING: usize = 10_000;
/// Until a process that makes room has ended.
const ROOM: Duration = Duration::from_secs(10);
/// Processes that are renewed at once.
const RENEWED_AT_ONCE: usize = 4;
/// What the bridge tells a process that is shared by all: a client of the newest revision that has sessions, which can do
/// nothing that a server could ask for.
const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"#,
    r#""clientInfo":{"name":"cardea","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// A session, or what stands for one.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) owner: Owner,
}

/// No process may be started for another session.
#[derive(Debug)]
pub(crate) struct Full;

/// All of them.
pub(crate) struct Sessions {
    config: Stdio,
    means: Means,
    ledger: Arc<Ledger>,
    places: Arc<Semaphore>,
    table: Mutex<Table>,
    /// One looks for room at a time, or several would end the same session for it.
    making_room: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<String, Session>,
    partitions: HashMap<Vec<u8>, Seat>,
    /// Keepers of what all share: one for each era.
    shared: HashMap<bool, Arc<Keeper>>,
    owners: Owner,
}

struct Session {
    seat: Seat,
    asked: Instant,
}

impl Sessions {
    pub(crate) fn new(config: Stdio, means: Means, ledger: Arc<Ledger>) -> Self {
        let places = Arc::new(Semaphore::new(usize::try_from(config.max_processes).unwrap_or(usize::MAX >> 4)));
        let (table, making_room) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { config, means, ledger, places, table, making_room }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn isolation(&self) -> Isolation {
        self.config.isolation
    }

    /// The session of this id, if there is one.
    pub(crate) fn find(&self, id: &str) -> Option<Seat> {
        let mut table = self.table();
        let session = table.sessions.get_mut(id)?;
        if session.seat.keeper.is_over() {
            table.sessions.remove(id);
            return None;
        }
        session.asked = Instant::now();
        Some(session.seat.clone())
    }

    /// A seat for a new session, which has no id yet.
    pub(crate) async fn open(&self) -> Result<Seat, Full> {
        match self.config.isolation {
            Isolation::PerSession => {
                let place = self.place().await?;
                Ok(Seat { keeper: self.keeper(Sharing::Session, place, Memory::default()), owner: SOLE })
            }
            Isolation::Shared => {
                let keeper = self.shared(Sharing::Sessions).await?;
                let mut table = self.table();
                if table.sessions.len() >= MAX_SHARING {
                    return Err(Full);
                }
                table.owners += 1;
                Ok(Seat { keeper, owner: table.owners })
            }
        }
    }

    /// Lets later requests find the session: its id, which nobody can guess.
    pub(crate) fn admit(&self, seat: Seat) -> Result<String, Full> {
        let mut drawn = [0; 16];
        aws_lc_rs::rand::fill(&mut drawn).map_err(|_| Full)?;
        let id = format!("{:032x}", u128::from_be_bytes(drawn));
        self.table().sessions.insert(id.clone(), Session { seat, asked: Instant::now() });
        Ok(id)
    }

    /// Ends a session; false if there is none of this id.
    pub(crate) fn close(&self, id: &str) -> bool {
        let session = self.table().sessions.remove(id);
        session.map(|session| session.seat.end()).is_some()
    }

    /// The seat of all that a principal asks in the era without sessions.
    pub(crate) async fn partition(&self, word: &[u8]) -> Result<Seat, Full> {
        if let Some(seat) = self.known(word) {
            return Ok(seat);
        }
        if self.config.isolation == Isolation::Shared {
            let keeper = self.shared(Sharing::Partitions).await?;
            let mut hasher = DefaultHasher::new();
            word.hash(&mut hasher);
            return Ok(Seat { keeper, owner: hasher.finish() });
        }
        let place = self.place().await?;
        let keeper = self.keeper(Sharing::Partition, place, Memory::default());
        // Another request of the same principal may have been faster; what was prepared here has started nothing.
        let mut table = self.table();
        if let Some(seat) = table.known(word) {
            return Ok(seat);
        }
        let seat = Seat { keeper, owner: SOLE };
        table.partitions.insert(word.to_owned(), seat.clone());
        Ok(seat)
    }

    fn known(&self, word: &[u8]) -> Option<Seat> {
        self.table().known(word)
    }

    async fn shared(&self, sharing: Sharing) -> Result<Arc<Keeper>, Full> {
        let known = |table: &Table| table.shared.get(&sharing.is_modern()).filter(|keeper| !keeper.is_over()).cloned();
        if let Some(keeper) = known(&self.table()) {
            return Ok(keeper);
        }
        let place = self.place().await?;
        let mut memory = Memory::default();
        if sharing == Sharing::Sessions {
            for text in [INITIALIZE, INITIALIZED] {
                if let Ok(message) = Message::read(text.as_bytes()) {
                    memory.note(0, &message);
                }
            }
        }
        let keeper = self.keeper(sharing, place, memory);
        let mut table = self.table();
        if let Some(keeper) = known(&table) {
            return Ok(keeper);
        }
        table.shared.insert(sharing.is_modern(), keeper.clone());
        Ok(keeper)
    }

    fn keeper(&self, sharing: Sharing, place: OwnedSemaphorePermit, memory: Memory) -> Arc<Keeper> {
        Keeper::new(sharing, self.means.clone(), self.ledger.clone(), place, memory)
    }

    /// Room for a process: free, or made by ending what nobody has used for longest.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Full> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _one_at_a_time = self.making_room.lock().await;
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let now = Instant::now();
        let idlest = self.keepers().into_iter().filter_map(|keeper| Some((keeper.idle(now)?, keeper)));
        let Some((_, idlest)) = idlest.max_by_key(|(idle, _)| *idle) else { return Err(Full) };
        tracing::info!("there are as many processes as there may be; the one that was idle for longest makes room");
        idlest.end();
        self.forget_ended();
        let place = tokio::time::timeout(ROOM, self.places.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Full)
    }

    fn keepers(&self) -> Vec<Arc<Keeper>> {
        let table = self.table();
        let seats = table.sessions.values().map(|session| &session.seat).chain(table.partitions.values());
        let mut keepers: Vec<_> = seats.map(|seat| seat.keeper.clone()).chain(table.shared.values().cloned()).collect();
        drop(table);
        keepers.sort_by_key(Arc::as_ptr);
        keepers.dedup_by(|one, other| Arc::ptr_eq(one, other));
        keepers
    }

    fn forget_ended(&self) {
        let mut table = self.table();
        table.sessions.retain(|_, session| !session.seat.keeper.is_over());
        table.partitions.retain(|_, seat| !seat.keeper.is_over());
        table.shared.retain(|_, keeper| !keeper.is_over());
    }

    /// Whether anybody waits for an answer.
    pub(crate) fn is_busy(&self) -> bool {
        let now = Instant::now();
        self.keepers().iter().any(|keeper| keeper.idle(now).is_none())
    }

    /// Ends what nobody has asked for too long, open streams or not.
    pub(crate) fn look(&self) {
        let (now, limit) = (Instant::now(), Duration::from_secs(self.config.idle_seconds.into()));
        for keeper in self.keepers() {
            keeper.look();
            if keeper.idle(now).is_some_and(|idle| idle >= limit) {
                keeper.end();
            }
        }
        self.forget_ended();
        if self.config.isolation == Isolation::Shared {
            let idle = |session: &Session| now.saturating_duration_since(session.asked) >= limit;
            let mut table = self.table();
            let ended: Vec<_> =
                table.sessions.extract_if(|_, session| idle(session)).map(|(_, one)| one.seat).collect();
            drop(table);
            for seat in ended {
                seat.end();
            }
        }
        self.ledger.tell();
    }

    /// Replaces every process by one with the secrets in force.
    pub(crate) async fn renew(&self) {
        use futures::StreamExt as _;

        let keepers = futures::stream::iter(self.keepers());
        keepers.for_each_concurrent(RENEWED_AT_ONCE, async |keeper| keeper.renew().await).await;
    }

    /// Signals every process.
    pub(crate) fn signal(&self, signal: Signal) {
        for keeper in self.keepers() {
            keeper.signal(signal);
        }
    }

    /// Ends all, and waits until nothing is left.
    pub(crate) async fn end(&self) {
        let keepers = self.keepers();
        for keeper in &keepers {
            keeper.end();
        }
        for keeper in keepers {
            keeper.gone().await;
        }
    }
}

impl Table {
    fn known(&self, word: &[u8]) -> Option<Seat> {
        self.partitions.get(word).filter(|seat| !seat.keeper.is_over()).cloned()
    }
}

impl Seat {
    /// Nobody uses it any more.
    pub(crate) fn end(&self) {
        match self.keeper.sharing {
            Sharing::Session | Sharing::Partition => self.keeper.end(),
            Sharing::Sessions | Sharing::Partitions => self.keeper.leave(self.owner),
        }
    }

    /// Waits until the process is there that others share.
    pub(crate) async fn greeting(&self) -> Result<Box<str>, Trouble> {
        self.keeper.prepare().await?;
        self.keeper.greeting().ok_or(Trouble::Over)
    }
}
