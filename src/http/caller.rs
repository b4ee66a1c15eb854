//! The caller's address: the connection's peer, or the address that a trusted proxy reports.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use poem::Addr;
use poem::http::{HeaderMap, HeaderName};

use super::parameters::{elements_from_last, parameters};
use crate::config::{Forwarding, Peer};

/// The address that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// On the network.
    Ip(IpAddr),
    /// On this machine, through a Unix socket.
    Unix,
}

impl Caller {
    /// Returns the caller of a request from `peer` with these `headers`.
    ///
    /// Every proxy appends the address of its own peer. So the list is read from its end, as long
    /// as trusted proxies wrote it: anything before the first address that is not trusted came from
    /// there and may be forged. Several field lines form one list.
    pub(super) fn of(peer: &Addr, headers: &HeaderMap, forwarding: &Forwarding) -> Self {
        let mut caller = match peer {
            Addr::SocketAddr(address) => Self::Ip(address.ip().to_canonical()),
            _ => Self::Unix,
        };
        if !caller.is_trusted(forwarding) {
            return caller;
        }
        let fields = headers.get_all(HeaderName::from_static(forwarding.header())).iter().rev();
        for hop in fields.flat_map(|field| elements_from_last(field.as_bytes())) {
            let read = if forwarding.is_rfc7239 { forwarded_for } else { address };
            let Some(named) = hop.and_then(read) else { break };
            caller = Self::Ip(named);
            if !caller.is_trusted(forwarding) {
                break;
            }
        }
        caller
    }

    /// Returns the prefix that limits count by: an IPv4 address, or the /64 of an IPv6 address,
    /// which is what one subscriber gets.
    pub(super) fn limit_prefix(self) -> Option<IpAddr> {
        match self {
            Self::Ip(IpAddr::V6(address)) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
            Self::Ip(address) => Some(address),
            Self::Unix => None,
        }
    }

    /// Returns the address as text. IPv4 is written by hand: every request has a line with it.
    pub(super) fn text(self) -> String {
        let Self::Ip(IpAddr::V4(address)) = self else { return self.to_string() };
        let mut text = String::with_capacity("255.255.255.255".len());
        for octet in address.octets() {
            if !text.is_empty() {
                text.push('.');
            }
            for unit in [100, 10].into_iter().filter(|unit| octet >= *unit) {
                text.push(char::from(b'0' + octet / unit % 10));
            }
            text.push(char::from(b'0' + octet % 10));
        }
        text
    }

    pub(super) fn is_trusted(self, forwarding: &Forwarding) -> bool {
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

/// Parses `for=` in one element of `Forwarded` (RFC 7239 §4). It must not occur twice.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let pairs = parameters(element)?;
    let mut nodes = pairs.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"for")).map(|(_, value)| value);
    let (node, None) = (nodes.next()?, nodes.next()) else { return None };
    address(node)
}

/// Parses an address with or without a port (RFC 7239 §6), an IPv6 address with or without
/// brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = if port.is_empty() { "0" } else { port.strip_prefix(':')? };
            (IpAddr::V6(address.parse().ok()?), port)
        }
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => (IpAddr::V4(address.parse().ok()?), port),
            _ => (text.parse().ok()?, "0"),
        },
    };
    is_port(port).then(|| address.to_canonical())
}

/// Whether this is a port or an obfuscated port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
    fn addresses_are_written_as_usual() {
        for octet in 0..=255 {
            for address in [[octet, 0, 10, 255], [1, octet, octet, octet]] {
                let address = Ipv4Addr::from(address);
                assert_eq!(Caller::Ip(address.into()).text(), address.to_string());
            }
        }
        assert_eq!(Caller::Ip(Ipv6Addr::LOCALHOST.into()).text(), "::1");
        assert_eq!(Caller::Unix.text(), "unix");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, expected) in [
            // The header of an untrusted peer is ignored.
            ("192.0.2.1:1", &["203.0.113.7"][..], "192.0.2.1"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["203.0.113.7"], "203.0.113.7"),
            // The caller's own forgery comes first.
            ("10.0.0.1:1", &["127.0.0.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1", "é, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            // All are trusted proxies.
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // A malformed address ends the list.
            ("10.0.0.1:1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["a lie"], "10.0.0.1"),
            ("10.0.0.1:1", &["203.0.113.7:4711"], "203.0.113.7"),
            // Empty elements are skipped, in every line.
            ("10.0.0.1:1", &["203.0.113.7,, ,10.0.0.2, ,\t,"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1, 203.0.113.7", "", ",", "10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1:1", &["127.0.0.1\"", "203.0.113.7"], "203.0.113.7"),
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
            // A quoted string may contain separators: a proxy passes on the caller's Host.
            (r#"proto=http;host="a,for=203.0.113.9";for=198.51.100.1"#, "198.51.100.1"),
            (r#"for=198.51.100.1;host="a,for=203.0.113.9""#, "198.51.100.1"),
            (r#"for=198.51.100.1;host="a;for=203.0.113.9""#, "198.51.100.1"),
            (r#"host="a;for=203.0.113.9";for=198.51.100.1"#, "198.51.100.1"),
            (r#"for=198.51.100.1;host="\",for=203.0.113.9""#, "198.51.100.1"),
            (r#"for=198.51.100.1;host="a\\", for=10.0.0.2;host="\"\\\",""#, "198.51.100.1"),
            (r#"for="\198.51\.100.1""#, "198.51.100.1"),
            // An unclosed quote before a proxy's element does not reach into it.
            (r#"for="203.0.113.9, for=198.51.100.1"#, "198.51.100.1"),
            (r#"for="203.0.113.9, for="198.51.100.1";host="a,b""#, "198.51.100.1"),
            (r#"for=203.0.113.9;host="\, for="198.51.100.1""#, "198.51.100.1"),
            // Empty elements and pairs are skipped.
            ("for=203.0.113.9, for=198.51.100.1, ,;,", "10.0.0.1"),
            ("for=203.0.113.9, for=198.51.100.1, ,\t,", "198.51.100.1"),
            (";for=198.51.100.1;", "198.51.100.1"),
            ("for=198.51.100.1; proto=https", "198.51.100.1"),
            // An element without `for`, with two, or malformed ends the list.
            ("for=198.51.100.1, proto=https", "10.0.0.1"),
            ("for=198.51.100.1, for=10.0.0.2;for=10.0.0.3", "10.0.0.1"),
            ("for=198.51.100.1, for=10.0.0.2;proto", "10.0.0.1"),
            (r#"for=198.51.100.1, for=10.0.0.2;host="a"b""#, "10.0.0.1"),
            (r#"for=198.51.100.1, for=10.0.0.2;host="a\""#, "10.0.0.1"),
            // Ports, and addresses that should have been quoted.
            (r#"for="198.51.100.1:_proxy-1""#, "198.51.100.1"),
            (r#"for="198.51.100.1:x""#, "10.0.0.1"),
            (r#"for="198.51.100.1:""#, "10.0.0.1"),
            (r#"for="[2001:db8::7]4711""#, "10.0.0.1"),
            (r#"for="2001:db8::7""#, "2001:db8::7"),
            ("for=[2001:db8::7]:4711", "2001:db8::7"),
            ("for=198.51.100.1:4711", "198.51.100.1"),
        ] {
            assert_eq!(caller("10.0.0.1:1", &[line], &["10.0.0.0/8"], true), expected, "{line}");
        }
        // Several lines form one list, but a quoted string ends with its line.
        for (lines, expected) in [
            (&["for=203.0.113.9", "for=198.51.100.1", "for=10.0.0.2"][..], "198.51.100.1"),
            (&["for=198.51.100.1, ", "", " , "], "198.51.100.1"),
            (&["for=\"203.0.113.9", "for=198.51.100.1;host=\"a\""], "198.51.100.1"),
            (&["for=198.51.100.1;host=\"a", "for=203.0.113.9\""], "10.0.0.1"),
        ] {
            assert_eq!(caller("10.0.0.1:1", lines, &["10.0.0.0/8"], true), expected, "{lines:?}");
        }
    }
}
