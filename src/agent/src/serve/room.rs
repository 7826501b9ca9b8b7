//! A queue that is bounded by bytes: who puts something in waits for room, so that whoever does not read slows down who
//! writes and costs no more than the queue holds.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most bytes that one entry stands for.
const MOST: usize = u32::MAX as usize;

/// Room for one entry.
pub(crate) struct Room {
    _taken: Option<OwnedSemaphorePermit>,
}

/// The end that takes in.
pub(crate) struct Inlet<T> {
    entries: UnboundedSender<(T, Room)>,
    room: Arc<Semaphore>,
    size: usize,
}

impl<T> Clone for Inlet<T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), room: self.room.clone(), size: self.size }
    }
}

/// The end that gives out.
pub(crate) struct Outlet<T>(UnboundedReceiver<(T, Room)>);

/// Whoever reads is gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// A queue for `size` bytes; one entry may be larger, if it is alone.
pub(crate) fn queue<T>(size: usize) -> (Inlet<T>, Outlet<T>) {
    let (entries, out) = unbounded_channel();
    let size = size.min(Semaphore::MAX_PERMITS).min(MOST);
    (Inlet { entries, room: Arc::new(Semaphore::new(size)), size }, Outlet(out))
}

impl<T> Inlet<T> {
    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.clamp(1, self.size.max(1))).unwrap_or(u32::MAX)
    }

    /// Waits for room.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Gone> {
        let waiting = self.room.clone().acquire_many_owned(self.permits(bytes));
        tokio::select! {
            permit = waiting => permit.map(|permit| Room { _taken: Some(permit) }).map_err(|_| Gone),
            () = self.entries.closed() => Err(Gone),
        }
    }

    /// Room, if there is some now.
    pub(crate) fn room_now(&self, bytes: usize) -> Option<Room> {
        self.room.clone().try_acquire_many_owned(self.permits(bytes)).ok().map(|permit| Room { _taken: Some(permit) })
    }

    /// Puts something in.
    pub(crate) fn put(&self, entry: T, room: Room) -> Result<(), Gone> {
        self.entries.send((entry, room)).map_err(|_| Gone)
    }

    /// Puts something in that is small and comes no more often than something with room did.
    pub(crate) fn put_small(&self, entry: T) -> Result<(), Gone> {
        self.put(entry, Room { _taken: None })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.entries.is_closed()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.entries.same_channel(&other.entries)
    }
}

impl<T> Outlet<T> {
    /// The next entry; none once nobody can put anything in any more. Its room is free again.
    pub(crate) async fn next(&mut self) -> Option<T> {
        self.0.recv().await.map(|(entry, _)| entry)
    }

    pub(crate) fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<T>> {
        self.0.poll_recv(context).map(|entry| entry.map(|(entry, _)| entry))
    }

    /// What is there without waiting.
    pub(crate) fn next_now(&mut self) -> Option<T> {
        self.0.try_recv().ok().map(|(entry, _)| entry)
    }
}

/// What goes to a caller.
pub(crate) enum Delivery {
    /// A message before the answer.
    Message(Bytes),
    /// The answer, with the code of its error.
    Answer(Bytes, Option<i32>),
}
