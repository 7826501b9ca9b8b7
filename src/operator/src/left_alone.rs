//! Servers that are left as they are, since their own spec makes no sense or is suspended: what policies say reaches them all
//! the same. Who writes servers must not be able to keep a policy's Deny out by a mistake, or by what looks like one.
//!
//! Knows servers that policies govern, as they were applied last since this operator leads. After a restart they are not
//! known, and stay as they are until their spec makes sense.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::children::ServerKey;
use crate::observe::Observed;
use crate::validate::ValidatedServer;

/// Servers as they were applied last, each with the UID that it had.
#[derive(Default)]
pub struct LeftAlone(Mutex<HashMap<ServerKey, (String, Arc<ValidatedServer>)>>);

impl LeftAlone {
    /// A server stands as this. Remembered if policies govern it: of others nothing can change but by their own spec.
    pub fn applied(&self, key: &ServerKey, server: &ValidatedServer) {
        if server.policies.is_empty() {
            self.forget(key);
        } else {
            self.known().insert(key.clone(), (server.uid.clone(), Arc::new(server.clone())));
        }
    }

    /// A server as it stands, with the rules that its policies have now. None if it is not known, or if its policies make no
    /// sense together.
    pub fn governed(&self, key: &ServerKey, observed: &Observed) -> Option<ValidatedServer> {
        let last = self.known().get(key).filter(|(uid, _)| *uid == observed.uid).map(|(_, server)| server.clone())?;
        if !observed.governing.unknown.is_empty() {
            return None;
        }
        last.with_policies(&observed.governing).ok()
    }

    /// Forgets a server that is gone.
    pub fn forget(&self, key: &ServerKey) {
        self.known().remove(key);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<ServerKey, (String, Arc<ValidatedServer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
