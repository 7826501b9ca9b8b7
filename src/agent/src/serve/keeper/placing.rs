//! To whom a message goes that names nobody. One that may be of several callers goes to none of them, where they must not
//! hear of each other (E32).

use bytes::Bytes;

use super::{Keeper, Line, Listener, MAX_KEPT, MAX_KEPT_BYTES, SOLE, Sharing, State};
use crate::serve::room::{Delivery, Inlet};

/// Where something goes.
pub(super) type Parcel = (Inlet<Delivery>, Delivery);

impl Keeper {
    /// None: to nobody.
    pub(super) fn placed(
        &self,
        state: &mut State,
        process: u64,
        method: &str,
        uri: Option<&str>,
        text: &Bytes,
    ) -> Option<Vec<Parcel>> {
        let Line { router, .. } = state.lines.get(&process)?;
        // What is of no request.
        let of_none = method.ends_with("/list_changed") || uri.is_some();
        let call = |number: Option<u64>| Some(router.call(number?)?.to.clone());
        let one = |to: Inlet<Delivery>| vec![(to, Delivery::Message(text.clone()))];
        match self.sharing {
            Sharing::Session => {
                let listener = state.listeners.entry(SOLE).or_default();
                let stream = listener.open();
                let to = if of_none { stream.or(call(router.only())) } else { call(router.only()).or(stream) };
                match to.or(call(router.latest())) {
                    Some(to) => Some(one(to)),
                    None => listener.keep(text).then(Vec::new),
                }
            }
            Sharing::Sessions if of_none => {
                let memory = &state.memory;
                let wants = |owner: u64| uri.is_none_or(|uri| memory.wants(owner, uri));
                let mut parcels = Vec::new();
                for (_, listener) in state.listeners.iter_mut().filter(|(owner, _)| wants(**owner)) {
                    match listener.open() {
                        Some(stream) => parcels.extend(one(stream)),
                        None => {
                            listener.keep(text);
                        }
                    }
                }
                Some(parcels)
            }
            // It would have named a subscription.
            Sharing::Partition | Sharing::Partitions if of_none => None,
            Sharing::Partition => call(router.only()).map(one),
            Sharing::Sessions | Sharing::Partitions => call(router.only_at_work()).map(one),
        }
    }
}

impl Listener {
    /// The stream, if somebody reads it.
    fn open(&self) -> Option<Inlet<Delivery>> {
        self.stream.clone().filter(|stream| !stream.is_closed())
    }

    /// Keeps a message for the next stream; false if there is no room.
    fn keep(&mut self, text: &Bytes) -> bool {
        if self.kept.contains(text) {
            return true;
        }
        let bytes = self.kept.iter().map(Bytes::len).sum::<usize>() + text.len();
        let fits = self.kept.len() < MAX_KEPT && bytes <= MAX_KEPT_BYTES;
        if fits {
            self.kept.push_back(text.clone());
        }
        fits
    }
}
