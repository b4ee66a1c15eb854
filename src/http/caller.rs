//! Who sends a request: the other end of the connection, or whom a trusted proxy names.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use poem::Addr;
use poem::http::{HeaderMap, HeaderName};

use crate::config::{Forwarding, Peer};

/// An address that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// On the network.
    Ip(IpAddr),
    /// On this machine, by a Unix socket.
    Unix,
}

impl Caller {
    /// Who sent the request that came from `peer` with these `headers`.
    ///
    /// Every proxy appends whom it has heard: so the list is read from its end, and
    /// as long as a trusted proxy speaks. What stands before the first address that
    /// is not trusted was written by whoever is there, and may be a lie.
    pub(super) fn of(peer: &Addr, headers: &HeaderMap, forwarding: &Forwarding) -> Self {
        let mut caller = match peer {
            Addr::SocketAddr(address) => Self::Ip(address.ip().to_canonical()),
            _ => Self::Unix,
        };
        if !caller.is_trusted(forwarding) {
            return caller;
        }
        let fields = headers.get_all(HeaderName::from_static(forwarding.header())).iter().rev();
        // One who writes bytes that are no text must not hide what a proxy adds to them.
        for hop in fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b',')) {
            let read = if forwarding.is_rfc7239 { forwarded_for } else { address };
            let Some(named) = std::str::from_utf8(hop).ok().and_then(read) else { break };
            caller = Self::Ip(named);
            if !caller.is_trusted(forwarding) {
                break;
            }
        }
        caller
    }

    /// Returns the prefix that limits count by: an IPv4 address, or the /64 of an IPv6 address,
    /// which is what one subscriber has.
    pub(super) fn limit_prefix(self) -> Option<IpAddr> {
        match self {
            Self::Ip(IpAddr::V6(address)) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            Self::Ip(address) => Some(address),
            Self::Unix => None,
        }
    }

    fn is_trusted(self, forwarding: &Forwarding) -> bool {
        forwarding.trusted.iter().any(|peer| match (peer, self) {
            (Peer::Network(network), Self::Ip(address)) => network.contains(&address),
            (Peer::Unix, Self::Unix) => true,
            _ => false,
        })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// `for=` in one element of `Forwarded` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    address(node.trim().trim_matches('"'))
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn caller(peer: &str, lines: &[&str], trusted: &[&str], is_rfc7239: bool) -> String {
        let forwarding = Forwarding { trusted: trusted.iter().map(|t| t.parse().unwrap()).collect(), is_rfc7239 };
        let mut headers = HeaderMap::new();
        for line in lines {
            let name = HeaderName::from_static(forwarding.header());
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let peer = match peer.parse() {
            Ok(address) => Addr::SocketAddr(address),
            Err(_) => Addr::custom("unix", ""),
        };
        Caller::of(&peer, &headers, &forwarding).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, expected) in [
            // Nobody is believed who is not trusted.
            ("192.0.2.1:1", &["203.0.113.7"][..], "192.0.2.1"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["203.0.113.7"], "203.0.113.7"),
            // What the caller itself wrote stands before.
            ("10.0.0.1:1", &["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1", "é, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            // All of them are proxies.
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // What is no address ends the list.
            ("10.0.0.1:1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["a lie"], "10.0.0.1"),
            ("10.0.0.1:1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("[fd00::1]:1", &["2001:db8::7"], "2001:db8::7"),
            ("[fd00::1]:1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            // IPv4 on an IPv6 socket is IPv4.
            ("[::ffff:10.0.0.1]:1", &["::ffff:203.0.113.7"], "203.0.113.7"),
        ] {
            assert_eq!(caller(peer, lines, &proxies, false), expected, "{peer} {lines:?}");
        }
        assert_eq!(caller("10.0.0.1:1", &["203.0.113.7"], &[], false), "10.0.0.1");
        assert_eq!(caller("unix", &["203.0.113.7"], &proxies, false), "unix");
        assert_eq!(caller("unix", &["203.0.113.7"], &["unix"], false), "203.0.113.7");
    }

    #[test]
    fn the_standard_field() {
        for (line, expected) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("for=127.0.0.1, For=\"203.0.113.7:4711\";proto=https;by=10.0.0.1", "203.0.113.7"),
            ("proto=https;for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=_hidden", "10.0.0.1"),
            ("203.0.113.7", "10.0.0.1"),
        ] {
            assert_eq!(caller("10.0.0.1:1", &[line], &["10.0.0.0/8"], true), expected, "{line}");
        }
    }
}
