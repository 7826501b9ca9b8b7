//! The proxy's own name for a request, and the trace it belongs to (W3C Trace Context, levels 1 and 2). The id is never
//! the caller's; of the caller's trace only what is well-formed goes on, below a span of the proxy's.
//!
//! Does not know who collects traces.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// Tells the caller what to name when it asks about a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longest `tracestate` that must be passed on (Trace Context, section 3.3.1.5); a longer one is dropped whole.
const MAX_STATE: usize = 512;
/// Most members of a `tracestate` (section 3.3.1.1).
const MAX_MEMBERS: usize = 32;

/// Id of a request, a UUID of version 7: they sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(uuid::Uuid);

impl RequestId {
    pub(crate) fn new() -> Self {
        let millis = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random()).into_uuid())
    }

    pub(crate) fn write<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

/// Where a request stands in its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: [u8; 16],
    /// Span of whoever called, if it said so.
    pub(crate) parent: Option<[u8; 8]>,
    /// Span of the proxy.
    pub(crate) span: [u8; 8],
    flags: u8,
    state: Vec<HeaderValue>,
}

impl Trace {
    /// Takes up the caller's trace, or begins one that is kept or not: what is not well-formed, or there twice, is as good
    /// as not there.
    pub(crate) fn of(headers: &HeaderMap, kept: bool) -> Self {
        let span = random();
        let mut parents = headers.get_all(&TRACEPARENT).iter();
        match (parents.next().and_then(|value| parent(value.as_bytes())), parents.next()) {
            (Some((id, parent, flags)), None) => Self { id, parent: Some(parent), span, flags, state: state(headers) },
            _ => Self { id: random(), parent: None, span, flags: kept.into(), state: Vec::new() },
        }
    }

    /// Writes the headers for the server: the same trace, our span.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let mut value = [0; 55];
        value.copy_from_slice(b"00-00000000000000000000000000000000-0000000000000000-00");
        let fields = [(3..35, self.id.as_slice()), (36..52, &self.span), (53..55, std::slice::from_ref(&self.flags))];
        for (range, bytes) in fields {
            value.get_mut(range).into_iter().for_each(|digits| hex(bytes, digits));
        }
        headers.remove(&TRACESTATE);
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert(TRACEPARENT, value);
            self.state.iter().for_each(|state| {
                headers.append(TRACESTATE, state.clone());
            });
        }
    }

    /// Whether this trace is kept by those who take part in it.
    #[cfg(feature = "otel")]
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The trace's id as logs show it.
    pub(crate) fn id<'a>(&self, buffer: &'a mut [u8; 32]) -> &'a str {
        hex(&self.id, buffer);
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

/// Trace id, span id and flags of a `traceparent` (section 3.2). A later version may be longer, `ff` is none, and of the
/// flags those go on that are known: sampled, random.
fn parent(value: &[u8]) -> Option<([u8; 16], [u8; 8], u8)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let [version] = unhex::<1>(fields.next()?)?;
    let (id, parent, [flags]) = (unhex(fields.next()?)?, unhex(fields.next()?)?, unhex::<1>(fields.next()?)?);
    let ends = fields.next().is_none();
    (version != 0xff && (version != 0 || ends) && id != [0; 16] && parent != [0; 8]).then_some((id, parent, flags & 3))
}

/// The `tracestate` as far as it may go on: whole or not at all.
fn state(headers: &HeaderMap) -> Vec<HeaderValue> {
    let values: Vec<_> = headers.get_all(&TRACESTATE).iter().cloned().collect();
    let mut members = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let (length, count) = (values.iter().map(HeaderValue::len).sum::<usize>(), members.clone().count());
    if length <= MAX_STATE && count <= MAX_MEMBERS && members.all(is_member) { values } else { Vec::new() }
}

/// `key=value` (sections 3.3.1.2 and 3.3.1.3), or nothing.
fn is_member(member: &[u8]) -> bool {
    let member = member.trim_ascii();
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return member.is_empty();
    };
    let (key, value) = (member.get(..at).unwrap_or_default(), member.get(at + 1..).unwrap_or_default());
    let in_key = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(byte);
    (1..=256).contains(&key.len())
        && key.first().is_some_and(u8::is_ascii_alphanumeric)
        && key.iter().all(in_key)
        && (1..=256).contains(&value.len())
        && value.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'=')
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Upper case is not well-formed (section 3.2.2.2).
    let digit = |byte: u8| if byte.is_ascii_uppercase() { None } else { char::from(byte).to_digit(16) };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        let [high, low] = digits else { return None };
        *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8], digits: &mut [u8]) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    for (pair, byte) in digits.chunks_mut(2).zip(bytes) {
        for (place, value) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *place = digit(value);
        }
    }
}

/// Ids need not be secret: were there no randomness they would only repeat.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn written(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        let trace = Trace::of(&headers, false);
        trace.write(&mut headers);
        headers
    }

    #[test]
    fn a_trace_goes_on_below_our_span() {
        let headers = written(&[("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b@c=2, ,d=x y")]);
        let value = headers["traceparent"].to_str().unwrap();
        assert!(value.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && value.ends_with("-01"), "{value}");
        assert!(!value.contains("00f067aa0ba902b7"));
        assert_eq!(headers.get_all("tracestate").iter().count(), 2);
        let later = written(&[("traceparent", &PARENT.replacen("00", "cc", 1)), ("tracestate", "a=1")]);
        assert!(later["traceparent"].to_str().unwrap().starts_with("00-4bf92f"), "{later:?}");
        let longer = format!("{}-more", PARENT.replacen("00", "cc", 1));
        assert!(written(&[("traceparent", &longer)])["traceparent"].to_str().unwrap().starts_with("00-4bf92f"));
    }

    #[test]
    fn what_is_not_well_formed_is_begun_anew() {
        for parents in [
            vec![],
            vec![""],
            vec!["x"],
            vec![PARENT, PARENT],
            vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"],
            vec!["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            vec!["00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01"],
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
        ] {
            let mut pairs: Vec<_> = parents.iter().map(|parent| ("traceparent", *parent)).collect();
            pairs.push(("tracestate", "a=1"));
            let headers = written(&pairs);
            let values: Vec<_> = headers.get_all("traceparent").iter().collect();
            assert!(values.len() == 1 && values[0].len() == 55, "{parents:?}: {values:?}");
            assert!(!values[0].to_str().unwrap().contains("4bf92f"), "{parents:?}");
            assert!(!headers.contains_key("tracestate"), "{parents:?}");
        }
    }

    #[test]
    fn a_state_that_is_not_well_formed_or_too_long_is_dropped_whole() {
        let many = ["a=1"; 33].join(",");
        let long = format!("a={}", "x".repeat(600));
        for state in ["a", "A=1", "a=1=2", "=1", "a=", "a=\u{e9}", many.as_str(), long.as_str()] {
            let headers = written(&[("traceparent", PARENT), ("tracestate", "ok=1"), ("tracestate", state)]);
            assert!(!headers.contains_key("tracestate"), "{state}");
        }
    }

    #[test]
    fn ids_are_of_version_7_and_differ() {
        let (mut one, mut two) = ([0; 36], [0; 36]);
        let (one, two) = (RequestId::new().write(&mut one).to_owned(), RequestId::new().write(&mut two).to_owned());
        assert!(one.as_bytes()[14] == b'7' && one.len() == 36 && one != two && one[..8] <= two[..8], "{one} {two}");
    }
}
