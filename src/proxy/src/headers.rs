//! Which headers pass, in either direction: an allow-list both ways. What is not on it does not pass, so tokens,
//! cookies, forwarded identities, baggage and hop-by-hop headers need no list of their own (rows 47, 75). A trace goes on
//! anew ([`crate::trace`]).
//!
//! Does not know what the headers mean, but for those that must not come twice (row 76).

use cardea_contract::pod;
use http::header::{
    ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, ORIGIN, RETRY_AFTER,
};
use http::{HeaderMap, HeaderValue};

/// `MCP-Protocol-Version`: revision in use.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Session-Id`: session of the legacy revisions.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Mcp-Method`: mirrors `method` since 2026-07-28.
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`: mirrors `params.name` or `params.uri` since 2026-07-28.
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Last-Event-ID`: where a stream of the legacy revisions is taken up again.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Whose requests belong together, for the bridge to a stdio server.
pub(crate) const PARTITION: HeaderName = HeaderName::from_static(pod::PARTITION_HEADER);
/// `X-Accel-Buffering: no` keeps proxies in front from buffering a stream.
pub(crate) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `Mcp-Param-…`: mirrors an argument since 2026-07-28.
pub(crate) const PARAMETER: &str = "mcp-param-";

/// Headers of an MCP request by the era it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, GET streams.
    Legacy,
    /// From 2026-07-28: stateless, mirrored headers.
    Modern,
}

/// A header that must not come twice, and does.
pub(crate) fn duplicate(headers: &HeaderMap) -> Option<&HeaderName> {
    headers.keys().find(|name| {
        let single = [AUTHORIZATION, HOST, ORIGIN, CONTENT_LENGTH, CONTENT_TYPE, LAST_EVENT_ID].contains(name)
            || name.as_str().starts_with("mcp-");
        single && headers.get_all(*name).iter().nth(1).is_some()
    })
}

/// What of a request's headers goes upstream. A session goes by the server's own id, once it is known to be the caller's.
pub(crate) fn for_upstream(headers: &HeaderMap, era: Era) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(12);
    for (name, value) in headers {
        let pass = match name.as_str() {
            "accept" | "accept-language" | "user-agent" | "mcp-protocol-version" => true,
            // The modern era knows no resuming (row 31) …
            "last-event-id" => era == Era::Legacy,
            // … and only it has mirrored headers that were compared with the body (row 27).
            "mcp-method" | "mcp-name" => era == Era::Modern,
            name => era == Era::Modern && name.starts_with(PARAMETER),
        };
        if pass {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// What of an answer's headers goes to the caller. No cookies, no CORS, no challenges of the server's own, and no session
/// but a sealed one.
pub(crate) fn for_caller(headers: &HeaderMap<HeaderValue>) -> HeaderMap {
    let pass = |name: &HeaderName| [CONTENT_TYPE, CACHE_CONTROL, RETRY_AFTER, ALLOW, PROTOCOL_VERSION].contains(name);
    headers.iter().filter(|(name, _)| pass(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_what_is_listed_goes_upstream() {
        let asked = map(&[
            ("accept", "application/json"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-cardea-identity", "forged"),
            ("x-forwarded-user", "root"),
            ("x_forwarded_user", "root"),
            ("forwarded", "for=1.1.1.1"),
            ("dpop", "x"),
            ("connection", "mcp-method"),
            ("accept-encoding", "gzip"),
            ("content-type", "application/json; charset=utf-7"),
            ("mcp-session-id", "s"),
            ("last-event-id", "e"),
            ("mcp-method", "tools/call"),
            ("mcp-param-region", "eu"),
            ("traceparent", "00-1"),
        ]);
        let names = |era| {
            let mut names: Vec<_> = for_upstream(&asked, era).keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(names(Era::Legacy), ["accept", "last-event-id"]);
        assert_eq!(names(Era::Modern), ["accept", "mcp-method", "mcp-param-region"]);
    }

    #[test]
    fn only_what_is_listed_comes_back() {
        let answer = map(&[
            ("content-type", "application/json"),
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("www-authenticate", "Basic"),
            ("mcp-session-id", "s"),
            ("transfer-encoding", "chunked"),
        ]);
        assert_eq!(for_caller(&answer).keys().collect::<Vec<_>>(), ["content-type"]);
    }

    #[test]
    fn a_header_that_decides_must_not_come_twice() {
        for name in ["authorization", "host", "origin", "content-length", "mcp-name", "mcp-param-x", "last-event-id"] {
            assert!(duplicate(&map(&[(name, "a"), (name, "a")])).is_some(), "{name}");
        }
        assert!(duplicate(&map(&[("accept", "a"), ("accept", "b"), ("mcp-name", "a")])).is_none());
    }
}
