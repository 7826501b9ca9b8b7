//! Who is being called: `Host` (or `:authority`) must be one of the configured authorities, and an `Origin`, if there is
//! one, their https origin. Stops DNS rebinding and browsers on foreign pages (rows 1 and 74, CVE-2025-66414).
//!
//! Knows nothing of paths, tokens or messages.

use http::header::{HOST, ORIGIN};
use http::request::Parts;

/// Why a request is not for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// `Host` is missing or told in two ways.
    Malformed,
    /// Another host.
    Host,
    /// A page of another origin.
    Origin,
}

/// Checks a request's head against `hosts` (lower case).
pub(crate) fn check(head: &Parts, hosts: &[String]) -> Result<(), Stranger> {
    let header = match head.headers.get(HOST) {
        Some(value) => Some(value.to_str().map_err(|_| Stranger::Malformed)?),
        None => None,
    };
    let authority = match (head.uri.authority().map(http::uri::Authority::as_str), header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => return Err(Stranger::Malformed),
        (Some(authority), _) | (None, Some(authority)) => authority,
        (None, None) => return Err(Stranger::Malformed),
    };
    if !listed(hosts, authority) {
        return Err(Stranger::Host);
    }
    match head.headers.get(ORIGIN).map(|origin| origin.to_str()) {
        None => Ok(()),
        Some(Ok(origin)) if origin.strip_prefix("https://").is_some_and(|authority| listed(hosts, authority)) => Ok(()),
        Some(_) => Err(Stranger::Origin),
    }
}

fn listed(hosts: &[String], authority: &str) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(uri: &str, host: Option<&str>, origin: Option<&str>) -> Result<(), Stranger> {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        check(&request.body(()).unwrap().into_parts().0, &["mcp.example:8443".into(), "mcp.example".into()])
    }

    #[test]
    fn hosts_and_origins() {
        use Stranger::{Host, Malformed, Origin};
        for (uri, host, origin, expected) in [
            ("/mcp", Some("mcp.example"), None, Ok(())),
            ("/mcp", Some("MCP.example:8443"), None, Ok(())),
            ("https://mcp.example/mcp", None, None, Ok(())),
            ("https://mcp.example/mcp", Some("mcp.example"), None, Ok(())),
            ("https://mcp.example/mcp", Some("evil.example"), None, Err(Malformed)),
            ("/mcp", None, None, Err(Malformed)),
            ("/mcp", Some("evil.example"), None, Err(Host)),
            ("/mcp", Some("mcp.example:80"), None, Err(Host)),
            ("/mcp", Some("mcp.example.evil.example"), None, Err(Host)),
            ("/mcp", Some("x@mcp.example"), None, Err(Host)),
            ("/mcp", Some("mcp.example."), None, Err(Host)),
            ("/mcp", Some(""), None, Err(Host)),
            ("/mcp", Some("mcp.example"), Some("https://mcp.example"), Ok(())),
            ("/mcp", Some("mcp.example"), Some("http://mcp.example"), Err(Origin)),
            ("/mcp", Some("mcp.example"), Some("https://evil.example"), Err(Origin)),
            ("/mcp", Some("mcp.example"), Some("https://x@mcp.example"), Err(Origin)),
            ("/mcp", Some("mcp.example"), Some("null"), Err(Origin)),
            ("/mcp", Some("mcp.example"), Some(""), Err(Origin)),
        ] {
            assert_eq!(outcome(uri, host, origin), expected, "{uri} {host:?} {origin:?}");
        }
    }
}
