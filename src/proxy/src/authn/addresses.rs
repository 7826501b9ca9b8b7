//! Which addresses an authorization server may have (row 60). Private ones it may: it often runs in the same cluster. It
//! never lives on a link, where clouds keep the credentials of their machines, nor in the pod itself, whatever spelling
//! an address has.
//!
//! Does not know who names them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// How far the proxy reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    loopback: bool,
}

/// Metadata services of clouds outside the link-local range: Alibaba, Azure, Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// Likewise: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

impl Reach {
    /// Loopback is within reach if a URL that the configuration itself spells lies there, as on a machine without a
    /// cluster; no metadata and no DNS answer brings it about.
    pub(super) fn of<'a>(own: impl IntoIterator<Item = &'a str>) -> Self {
        let loopback = own.into_iter().any(|url| Url::parse(url).is_ok_and(|url| is_loopback(&url)));
        Self { loopback }
    }

    /// An https URL without credentials, whose host may be asked. Names are judged when they are resolved.
    pub(super) fn url(self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let within = match literal(&url) {
            Some(address) => self.permits(address),
            None => url.domain().is_some(),
        };
        (url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && within).then_some(url)
    }

    /// Whether this address may be connected to.
    pub(super) fn permits(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.permits_v4(address),
            IpAddr::V6(address) => self.permits_v6(address),
        }
    }

    fn permits_v4(self, address: Ipv4Addr) -> bool {
        if address.is_loopback() {
            return self.loopback;
        }
        let [first, ..] = address.octets();
        // 0/8 is this host, from 224 on are multicast, reserved and broadcast.
        !(first == 0 || first >= 224 || address.is_link_local() || METADATA_V4.contains(&address))
    }

    fn permits_v6(self, address: Ipv6Addr) -> bool {
        if address.is_loopback() {
            return self.loopback;
        }
        let [a, b, c, d, e, f, g, h] = address.segments();
        let last = Ipv4Addr::from((u32::from(g) << 16) | u32::from(h));
        match [a, b, c, d, e, f] {
            // IPv4-mapped (RFC 4291) and NAT64 (RFC 6052): another spelling of the IPv4 address within.
            [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => self.permits_v4(last),
            // IPv4-compatible, local NAT64 (RFC 8215), Teredo and 6to4: spellings that no server of today has.
            [0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] | [0x2002, ..] => false,
            _ => {
                !(address.is_unicast_link_local()
                    || address.is_multicast()
                    || a & 0xffc0 == 0xfec0
                    || METADATA_V6.contains(&address))
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match literal(url) {
        Some(address) => address.is_loopback(),
        None => url.domain().is_some_and(|name| name == "localhost" || name.ends_with(".localhost")),
    }
}

/// The host, if it is an address. The URL's parser has read octal, hexadecimal and shortened spellings by now.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_and_lie_where_an_issuer_may() {
        let reach = Reach::of(["https://idp.example"]);
        for (url, expected) in [
            ("https://idp.example/keys", true),
            ("https://10.0.0.1/keys", true),
            ("https://[fd12::1]/keys", true),
            ("https://[64:ff9b::c000:201]/keys", true),
            ("http://idp.example/keys", false),
            ("https://user@idp.example/keys", false),
            ("file:///etc/passwd", false),
            ("https://169.254.169.254/keys", false),
            ("https://0xa9fea9fe/keys", false),
            ("https://2852039166/keys", false),
            ("https://0251.0376.0251.0376/keys", false),
            ("https://[::ffff:169.254.169.254]/keys", false),
            ("https://[::169.254.169.254]/keys", false),
            ("https://[64:ff9b::169.254.169.254]/keys", false),
            ("https://[64:ff9b::7f00:1]/keys", false),
            ("https://[64:ff9b:1::a9fe:a9fe]/keys", false),
            ("https://[2002:a9fe:a9fe::1]/keys", false),
            ("https://[2001:0:a9fe:a9fe::1]/keys", false),
            ("https://[fe80::1]/keys", false),
            ("https://[fec0::1]/keys", false),
            ("https://[ff02::1]/keys", false),
            ("https://[fd00:ec2::254]/keys", false),
            ("https://[::]/keys", false),
            ("https://0.0.0.0/keys", false),
            ("https://255.255.255.255/keys", false),
            ("https://224.0.0.1/keys", false),
            ("https://168.63.129.16/keys", false),
            ("https://127.0.0.1/keys", false),
            ("https://127.1/keys", false),
            ("https://[::1]/keys", false),
            ("https://[::ffff:127.0.0.1]/keys", false),
        ] {
            assert_eq!(reach.url(url).is_some(), expected, "{url}");
        }
    }

    #[test]
    fn loopback_is_for_whom_the_configuration_puts_there() {
        for (own, expected) in [
            ("https://127.0.0.1:8443/realm", true),
            ("https://[::1]/realm", true),
            ("https://localhost:8443", true),
            ("https://idp.localhost", true),
            ("https://localhost.example", false),
            ("https://10.0.0.1", false),
            ("https://169.254.169.254", false),
        ] {
            let reach = Reach::of([own]);
            for address in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(reach.permits(address.parse().unwrap()), expected, "{own} {address}");
            }
            assert!(!reach.permits("169.254.169.254".parse().unwrap()), "{own}");
        }
    }
}
