//! The identity in plain headers, for a server that knows no signatures and is told who calls by a proxy: only if asked for,
//! under the names that were asked for. Whoever else reaches the server's port can write them too.
//!
//! Knows only the verified principal.

use std::fmt::Write;

use cardea_contract::{IdentityHeaders, pod};
use cardea_policy::Principal;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Longest value; a caller with more groups than fit is shown with none, never with some.
const MAX_BYTES: usize = 4096;

/// Names, compiled.
#[derive(Default)]
pub(crate) struct PlainHeaders {
    subject: Option<HeaderName>,
    groups: Option<HeaderName>,
    issuer: Option<HeaderName>,
}

impl PlainHeaders {
    /// None if a name is none, is there twice, or is not free: all that begins with `x-` is dropped when a caller sends it.
    pub(crate) fn compile(asked: &IdentityHeaders) -> Option<Self> {
        let names: Vec<_> = [&asked.subject, &asked.groups, &asked.issuer]
            .into_iter()
            .map(|name| match name {
                None => Some(None),
                Some(name) => {
                    let name: HeaderName = name.parse().ok()?;
                    (name.as_str().starts_with("x-") && name != pod::IDENTITY_HEADER).then_some(Some(name))
                }
            })
            .collect::<Option<_>>()?;
        let [subject, groups, issuer] = <[_; 3]>::try_from(names).ok()?;
        let same = |one: &Option<HeaderName>, other: &Option<HeaderName>| one.is_some() && one == other;
        let twice = same(&subject, &groups) || same(&subject, &issuer) || same(&groups, &issuer);
        (!twice).then_some(Self { subject, groups, issuer })
    }

    /// Writes them.
    pub(crate) fn write(&self, principal: &Principal, headers: &mut HeaderMap) {
        let mut insert = |name: &Option<HeaderName>, text: String| {
            if let Some(name) = name
                && let Ok(value) = HeaderValue::try_from(text)
            {
                headers.insert(name.clone(), value);
            }
        };
        if self.subject.is_some() {
            insert(&self.subject, encoded(&principal.subject));
        }
        if self.groups.is_some() {
            let groups: Vec<_> = principal.groups.iter().map(|group| encoded(group)).collect();
            insert(&self.groups, Some(groups.join(",")).filter(|text| text.len() <= MAX_BYTES).unwrap_or_default());
        }
        if self.issuer.is_some() {
            insert(&self.issuer, encoded(principal.issuer()));
        }
    }
}

/// Percent-encoded, but for what is printable ASCII and neither a space, a comma nor a percent sign: a value can neither
/// break a header nor look like two.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b",%".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_free_or_there_twice_are_refused() {
        let compile = |subject: &str, groups: &str| {
            let name = |text: &str| Some(text.to_owned());
            PlainHeaders::compile(&IdentityHeaders { subject: name(subject), groups: name(groups), issuer: None })
                .is_some()
        };
        assert!(compile("X-User", "X-Groups"));
        for (subject, groups) in [
            ("X-User", "x-user"),
            ("authorization", "x-a"),
            ("x-a", "X-Cardea-Identity"),
            ("x-a b", "x-c"),
            ("", "x-c"),
        ] {
            assert!(!compile(subject, groups), "{subject} {groups}");
        }
    }

    #[test]
    fn a_value_is_one_value() {
        assert_eq!(encoded("a\r\nx-user: root"), "a%0D%0Ax-user:%20root");
        assert_eq!(encoded("spiffe://a/b"), "spiffe://a/b");
        assert_eq!(encoded("%41,é"), "%2541%2C%C3%A9");
    }
}
