//! Addresses to accept connections on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::Parsed;

/// Maximum number of addresses in one setting.
const MAX_ADDRESSES: usize = 16;

/// An address to accept connections on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `IPv4:port` or `[IPv6]:port`.
    Tcp(SocketAddr),
    /// `localhost:port`: both loopback addresses.
    Localhost(u16),
    /// `:port`: every address of this machine.
    Everywhere(u16),
    /// `unix:/path`.
    Unix(PathBuf),
    /// `fd:name`, a socket that the service manager opened.
    Inherited(String),
}

impl Listen {
    /// Whether only this machine can reach the address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Localhost(_) | Self::Unix(_) => true,
            Self::Everywhere(_) | Self::Inherited(_) => false,
        }
    }

    /// Returns the IP addresses and the port that it stands for, IPv4 first.
    #[must_use]
    pub fn sockets(&self) -> Vec<SocketAddr> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr, port: u16| vec![(v4, port).into(), (v6, port).into()];
        match self {
            Self::Tcp(address) => vec![*address],
            Self::Localhost(port) => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, *port),
            Self::Everywhere(port) => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, *port),
            Self::Unix(_) | Self::Inherited(_) => Vec::new(),
        }
    }

    /// Whether the two cannot be open at once. Port 0 is a different port each time.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (ours, others) = (self.sockets(), other.sockets());
        if ours.is_empty() || others.is_empty() {
            return self == other;
        }
        let ip = |address: &SocketAddr| address.ip().to_canonical();
        let is_same = |one: &SocketAddr, other: &SocketAddr| match (one, other) {
            // The interface of a link-local address counts too.
            (SocketAddr::V6(one), SocketAddr::V6(other)) => one == other,
            _ => ip(one) == ip(other),
        };
        let clash = |one: &SocketAddr, other: &SocketAddr| {
            one.port() != 0
                && one.port() == other.port()
                && is_ipv4(one) == is_ipv4(other)
                && (ip(one).is_unspecified() || ip(other).is_unspecified() || is_same(one, other))
        };
        ours.iter().any(|one| others.iter().any(|other| clash(one, other)))
    }

    /// Whether this is `[::]:port` and `other` is an IPv4 address with that port. Then the IPv6 socket
    /// leaves IPv4 to the other one (`IPV6_V6ONLY`).
    #[must_use]
    pub fn leaves_ipv4_to(&self, other: &Self) -> bool {
        let Self::Tcp(SocketAddr::V6(address)) = self else { return false };
        let is_beside = |other: &SocketAddr| is_ipv4(other) && other.port() == address.port();
        address.ip().is_unspecified() && matches!(other, Self::Tcp(other) if is_beside(other))
    }
}

/// Whether it uses the IPv4 address space: an IPv4-mapped IPv6 address does.
fn is_ipv4(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_ipv4()
}

impl Default for Listen {
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
            Self::Everywhere(port) => write!(f, ":{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        if let Some(name) = text.strip_prefix("fd:").filter(|name| !name.is_empty()) {
            return Ok(Self::Inherited(name.to_owned()));
        }
        let port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
            return Ok(Self::Localhost(port));
        }
        if let Some(port) = text.strip_prefix(':').and_then(port) {
            return Ok(Self::Everywhere(port));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            "expected an address: \"127.0.0.1:8080\", \"[::1]:8080\", \"localhost:8080\", \":8080\" (every address), \
             \"unix:/path\" or \"fd:name\""
                .to_owned()
        })
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an address such as \"127.0.0.1:8080\""))
    }
}

/// One address or an array of them.
#[derive(Debug, Clone)]
pub(in crate::config) struct Addresses(pub(in crate::config) Vec<Listen>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Addresses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address such as \"127.0.0.1:8080\", or an array of addresses")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addresses, E> {
                text.parse().map(|one| Addresses(vec![one])).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Addresses, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                if all.is_empty() || all.len() > MAX_ADDRESSES {
                    return Err(de::Error::custom(format_args!("expected 1 to {MAX_ADDRESSES} addresses")));
                }
                Ok(Addresses(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

impl From<Addresses> for Vec<Listen> {
    fn from(addresses: Addresses) -> Self {
        addresses.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for right in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "0.0.0.0:0",
            "localhost:8080",
            ":8080",
            ":0",
            "unix:/run/lingpai.sock",
            "fd:http",
        ] {
            assert_eq!(right.parse::<Listen>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            ":",
            "8080",
            ":+80",
            ":65536",
            "localhost",
            "localhost:",
            "localhost:http",
            "example.com:8080",
            "::1:8080",
            "127.0.0.1",
            "unix:",
            "unix:run",
            "fd:",
        ] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_only_this_machine_reaches() {
        let is_loopback = |text: &str| text.parse::<Listen>().unwrap().is_loopback();
        assert!(["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/a"].into_iter().all(is_loopback));
        assert!(!["0.0.0.0:1", "[::]:1", ":1", "192.0.2.1:1", "fd:a"].into_iter().any(is_loopback));
    }

    #[test]
    fn addresses_that_cannot_be_open_at_once() {
        let listen = |text: &str| text.parse::<Listen>().unwrap();
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("127.0.0.1:1", "0.0.0.0:1"),
            ("127.0.0.1:1", "localhost:1"),
            ("[::1]:1", "localhost:1"),
            ("[::1]:1", "[::]:1"),
            ("0.0.0.0:1", ":1"),
            ("[::]:1", ":1"),
            ("192.0.2.1:1", ":1"),
            ("localhost:1", ":1"),
            ("127.0.0.1:1", "[::ffff:127.0.0.1]:1"),
            ("unix:/a", "unix:/a"),
            ("fd:a", "fd:a"),
        ] {
            assert!(listen(one).overlaps(&listen(other)) && listen(other).overlaps(&listen(one)), "{one} and {other}");
        }
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":0", ":0"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("127.0.0.1:1", "[::1]:1"),
            ("0.0.0.0:1", "[::]:1"),
            ("127.0.0.1:1", "[::]:1"),
            ("[fe80::1%1]:1", "[fe80::1%2]:1"),
            ("unix:/a", "unix:/b"),
            ("unix:/a", "fd:a"),
            (":1", "fd:a"),
        ] {
            assert!(
                !listen(one).overlaps(&listen(other)) && !listen(other).overlaps(&listen(one)),
                "{one} and {other}"
            );
        }
        assert!(listen("[::]:1").leaves_ipv4_to(&listen("127.0.0.1:1")));
        for (one, other) in
            [("[::]:1", "0.0.0.0:2"), ("[::]:1", "[::1]:1"), (":1", "0.0.0.0:1"), ("[::1]:1", "0.0.0.0:1")]
        {
            assert!(!listen(one).leaves_ipv4_to(&listen(other)), "{one} and {other}");
        }
    }
}
