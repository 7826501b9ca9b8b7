//! What each caller takes of a server: requests in a time, requests and streams at once. A principal is a subject of an
//! issuer, whatever tokens, sessions and connections it comes with (attack E28); who proves nobody is known by the client
//! certificate, or else the network it comes from.
//!
//! Does not know why somebody is refused otherwise, nor what a refusal looks like.

use std::mem::discriminant;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cardea_contract::{Limits, Rate};
use cardea_policy::{Evidence, Principal};

use super::ledger::{Entry, Ledger};
use super::rate::{self, Bucket};
use super::{Limit, Slot, Slots};

/// Principals, and peers that prove nobody, that are told apart at once.
const MAX_CALLERS: usize = 4096;
/// Tools of one principal that are told apart.
const MAX_TOOLS: usize = 128;
/// A refusal by a limit is audited this often for a principal; all are counted.
const LINES: Duration = Duration::from_secs(1);

/// All callers, by the limits of one configuration.
pub(crate) struct Callers {
    pub(crate) limits: Limits,
    server: Option<Bucket>,
    principals: Ledger<Caller>,
    peers: Ledger<Peer>,
}

/// A limit that a caller has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) limit: Limit,
    /// When to come back.
    pub(crate) wait: Duration,
    /// Whether an audit line says so.
    pub(crate) audited: bool,
}

/// One principal.
struct Caller {
    requests: Slots,
    streams: Slots,
    rate: Option<Bucket>,
    tools: Ledger<Bucket>,
    audited: Mutex<Option<Instant>>,
}

/// A peer that proved nobody.
struct Peer {
    failures: Bucket,
    shut_until: Mutex<Instant>,
}

/// What a principal has of the server while one request of it is served.
pub(crate) struct Admitted {
    caller: Arc<Caller>,
    _request: Slot,
    stream: Option<Slot>,
}

/// Who is known by nothing better.
#[derive(Clone, Copy, Hash, PartialEq, Eq, Debug)]
pub(crate) enum PeerKey {
    /// SHA-256 of a client certificate that leads to an anchor.
    Certificate([u8; 32]),
    /// The network an address belongs to.
    Network(IpAddr),
}

/// The address itself for IPv4; for IPv6 the /64, of which a caller has every address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        address => address,
    }
}

impl Callers {
    pub(crate) fn new(limits: Limits) -> Self {
        let keep = |rate: &Option<Rate>| rate.as_ref().map(rate::full_after).unwrap_or_default();
        let of_principals = keep(&limits.rate.per_principal).max(keep(&limits.rate.per_tool)).max(LINES);
        Self {
            server: limits.rate.per_server.as_ref().map(Bucket::new),
            principals: Ledger::new(MAX_CALLERS, of_principals),
            peers: Ledger::new(MAX_CALLERS, keep(&limits.rate.failures_per_peer)),
            limits,
        }
    }

    /// Lets one request of `principal` in, which has its place among `all` already. Of callers who are nobody in
    /// particular, `peer` tells one from another.
    pub(crate) fn admit(&self, principal: &Principal, peer: PeerKey, all: &Slots) -> Result<Admitted, Exceeded> {
        let (issuer, peer) = match &principal.evidence {
            Evidence::Token { issuer } => (issuer.as_str(), None),
            // Of one ServiceAccount or certificate there is one, whatever issuers are called.
            Evidence::ServiceAccount { .. } | Evidence::Certificate { .. } => ("", None),
            Evidence::Anonymous => ("", Some(peer)),
        };
        let key = (discriminant(&principal.evidence), issuer, &principal.subject, peer);
        let caller = self.principals.of(key, || Caller::new(&self.limits));
        // Its own first: whoever is over it must not use up what is everybody's.
        if let Some(Err(wait)) = caller.rate.as_ref().map(Bucket::take) {
            return Err(caller.exceeded(Limit::RatePerPrincipal, wait));
        }
        let request = match self.limits.concurrent_per_principal {
            Some(limit) => caller.requests.take(1, count(limit.get())),
            None => caller.requests.take_fair_share(all.taken(), count(self.limits.concurrent)),
        };
        let request = request.ok_or_else(|| caller.exceeded(Limit::ConcurrentPerPrincipal, Duration::ZERO))?;
        if let Some(Err(wait)) = self.server.as_ref().map(Bucket::take) {
            return Err(caller.exceeded(Limit::RatePerServer, wait));
        }
        Ok(Admitted { caller, _request: request, stream: None })
    }

    /// Counts a call of a tool.
    pub(crate) fn call(&self, admitted: &Admitted, tool: &str) -> Result<(), Exceeded> {
        let Some(rate) = &self.limits.rate.per_tool else { return Ok(()) };
        let bucket = admitted.caller.tools.of(tool, || Bucket::new(rate));
        bucket.take().map_err(|wait| admitted.caller.exceeded(Limit::RatePerTool, wait))
    }

    /// Counts a stream, to its end.
    pub(crate) fn stream(&self, admitted: &mut Admitted) -> Result<(), Exceeded> {
        if let Some(limit) = self.limits.streams_per_principal {
            let stream = admitted.caller.streams.take(1, count(limit.get()));
            let missing = || admitted.caller.exceeded(Limit::StreamsPerPrincipal, Duration::ZERO);
            admitted.stream = Some(stream.ok_or_else(missing)?);
        }
        Ok(())
    }

    /// Whether `peer` has failed too often to be heard now.
    pub(crate) fn shut_out(&self, peer: PeerKey) -> Result<(), Exceeded> {
        let until = self.peers.get(peer).map(|peer| *peer.shut_until.lock().unwrap_or_else(PoisonError::into_inner));
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(wait) if !wait.is_zero() => Err(Exceeded { limit: Limit::FailuresPerPeer, wait, audited: false }),
            _ => Ok(()),
        }
    }

    /// Counts that `peer` has proven nobody.
    pub(crate) fn failed(&self, peer: PeerKey) -> Result<(), Exceeded> {
        let Some(rate) = &self.limits.rate.failures_per_peer else { return Ok(()) };
        let peer = self.peers.of(peer, || Peer { failures: Bucket::new(rate), shut_until: Mutex::new(Instant::now()) });
        peer.failures.take().map_err(|wait| {
            *peer.shut_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + wait;
            // The last that is heard of it for a while.
            Exceeded { limit: Limit::FailuresPerPeer, wait, audited: true }
        })
    }
}

impl Caller {
    fn new(limits: &Limits) -> Self {
        let keep = limits.rate.per_tool.as_ref().map(rate::full_after).unwrap_or_default();
        Self {
            requests: Slots::default(),
            streams: Slots::default(),
            rate: limits.rate.per_principal.as_ref().map(Bucket::new),
            tools: Ledger::new(MAX_TOOLS, keep),
            audited: Mutex::default(),
        }
    }

    fn exceeded(&self, limit: Limit, wait: Duration) -> Exceeded {
        let mut last = self.audited.lock().unwrap_or_else(PoisonError::into_inner);
        let audited = last.is_none_or(|last| last.elapsed() >= LINES);
        if audited {
            *last = Some(Instant::now());
        }
        Exceeded { limit, wait, audited }
    }
}

impl Entry for Caller {
    fn in_use(&self) -> bool {
        self.requests.in_use()
    }
}

impl Entry for Slots {
    fn in_use(&self) -> bool {
        self.taken() > 0
    }
}

impl Entry for Bucket {
    fn in_use(&self) -> bool {
        false
    }
}

impl Entry for Peer {
    fn in_use(&self) -> bool {
        false
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_one_caller_has() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
