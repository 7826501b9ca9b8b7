//! Bounds of requests: what was asked, with every default filled in. The schema has refused what is out of range.

use std::num::NonZeroU32;

use cardea_api::v1alpha1::{Limits, Rate};
use cardea_contract as contract;

const MAX_BODY_BYTES: usize = 1024 * 1024;
const REQUEST_SECONDS: u32 = 60;
const CONCURRENT: u32 = 256;
const STREAM_IDLE_SECONDS: NonZeroU32 = NonZeroU32::new(3600).unwrap();
const FAILURES_PER_PEER: contract::Rate = contract::Rate {
    requests: NonZeroU32::new(100).unwrap(),
    per_seconds: NonZeroU32::new(10).unwrap(),
    burst: NonZeroU32::new(100).unwrap(),
};

/// Bounds with their defaults.
pub(super) fn limits(asked: &Limits) -> contract::Limits {
    let concurrent = asked.concurrent.and_then(positive).map_or(CONCURRENT, NonZeroU32::get);
    let rate = asked.rate.clone().unwrap_or_default();
    let per_server = rate.per_server.as_ref().and_then(of);
    contract::Limits {
        max_body_bytes: asked.max_body_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(MAX_BODY_BYTES),
        request_seconds: asked.request_seconds.and_then(positive).map_or(REQUEST_SECONDS, NonZeroU32::get),
        concurrent,
        concurrent_per_principal: asked.concurrent_per_principal.and_then(positive),
        streams_per_principal: asked.streams_per_principal.and_then(positive).or(Some(part(concurrent, 4))),
        stream_idle_seconds: asked.stream_idle_seconds.and_then(positive).or(Some(STREAM_IDLE_SECONDS)),
        rate: contract::Rates {
            per_server,
            per_principal: rate.per_principal.as_ref().and_then(of).or(per_server.map(half)),
            per_tool: rate.per_tool.as_ref().and_then(of),
            failures_per_peer: rate.failures_per_peer.as_ref().and_then(of).or(Some(FAILURES_PER_PEER)),
        },
    }
}

fn of(asked: &Rate) -> Option<contract::Rate> {
    let requests = positive(asked.requests)?;
    let burst = asked.burst.and_then(positive).unwrap_or(requests);
    Some(contract::Rate { requests, per_seconds: positive(asked.per_seconds)?, burst })
}

/// Half as much in the same time; of a single request in a time, that one.
fn half(whole: contract::Rate) -> contract::Rate {
    contract::Rate { requests: part(whole.requests.get(), 2), burst: part(whole.burst.get(), 2), ..whole }
}

fn part(whole: u32, of: u32) -> NonZeroU32 {
    NonZeroU32::new(whole / of).unwrap_or(NonZeroU32::MIN)
}

fn positive(number: i32) -> Option<NonZeroU32> {
    u32::try_from(number).ok().and_then(NonZeroU32::new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn resolved(asked: Value) -> Value {
        json!(limits(&serde_json::from_value(asked).unwrap()))
    }

    #[test]
    fn defaults_are_filled_in() {
        assert_eq!(
            resolved(json!({})),
            json!({
                "maxBodyBytes": 1_048_576, "requestSeconds": 60, "concurrent": 256, "streamsPerPrincipal": 64,
                "streamIdleSeconds": 3600,
                "rate": {"failuresPerPeer": {"requests": 100, "perSeconds": 10, "burst": 100}},
            })
        );
        assert_eq!(resolved(json!({"concurrent": 3}))["streamsPerPrincipal"], 1);
    }

    #[test]
    fn a_principal_has_half_of_a_server_s_rate_unless_it_is_said_otherwise() {
        let whole = json!({"requests": 100, "perSeconds": 60, "burst": 9});
        let rate = resolved(json!({"rate": {"perServer": whole}}))["rate"].clone();
        assert_eq!(rate["perServer"], whole);
        assert_eq!(rate["perPrincipal"], json!({"requests": 50, "perSeconds": 60, "burst": 4}));
        assert!(rate.get("perTool").is_none());
        let own = json!({"requests": 7, "perSeconds": 1});
        let rate = resolved(json!({"rate": {"perServer": {"requests": 1, "perSeconds": 1}, "perPrincipal": own}}));
        assert_eq!(rate["rate"]["perPrincipal"], json!({"requests": 7, "perSeconds": 1, "burst": 7}));
        let one = resolved(json!({"rate": {"perServer": {"requests": 1, "perSeconds": 1}}}));
        assert_eq!(one["rate"]["perPrincipal"]["requests"], 1);
    }
}
