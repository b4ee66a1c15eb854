//! Kinds of values: durations, the issuer, addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::clock::Timestamp;

/// Maximum length of an issuer, in bytes.
const MAX_ISSUER: usize = 255;
/// Maximum number of addresses in one setting.
const MAX_ADDRESSES: usize = 16;

/// A duration written `<integer><s|m|h|d>`, between `MIN` and `MAX` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> FromStr for Seconds<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.char_indices().next_back().and_then(|(at, unit)| {
            let number = text.get(..at).filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))?;
            let unit = match unit {
                's' => 1,
                'm' => 60,
                'h' => 3_600,
                'd' => 86_400,
                _ => return None,
            };
            number.parse::<i64>().ok()?.checked_mul(unit)
        });
        match seconds {
            Some(seconds) if (MIN..=MAX).contains(&seconds) => Ok(Self(seconds)),
            Some(_) => Err(format!("expected a duration from {} to {}", written(MIN), written(MAX))),
            None => Err("expected a duration: an integer and one of s, m, h, d, for example \"10m\"".into()),
        }
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Seconds<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a duration such as \"10m\""))
    }
}

impl<const MIN: i64, const MAX: i64> From<Seconds<MIN, MAX>> for i64 {
    fn from(seconds: Seconds<MIN, MAX>) -> Self {
        seconds.0
    }
}

fn written(seconds: i64) -> String {
    match seconds {
        s if s != 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s != 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        s => format!("{s}s"),
    }
}

/// An amount of memory in bytes, written as an integer and MiB or GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory(pub(super) u64);

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = |name: &str, shift: u32| {
            let number = text.strip_suffix(name).filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))?;
            number.parse::<u64>().ok()?.checked_mul(1 << shift)
        };
        let bytes = unit("MiB", 20).or_else(|| unit("GiB", 30)).filter(|bytes| *bytes >= 16 << 20);
        bytes.map(Self).ok_or_else(|| "expected memory of at least 16MiB, such as \"128MiB\" or \"2GiB\"".to_owned())
    }
}

impl From<Memory> for u64 {
    fn from(memory: Memory) -> Self {
        memory.0
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("memory such as \"128MiB\""))
    }
}

/// An RFC 3339 instant in UTC, written as a string or in TOML's own form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant(pub(super) Timestamp);

impl Instant {
    const EXPECTED: &str = "expected an instant in UTC such as \"2026-11-22T00:00:00Z\"";
}

impl FromStr for Instant {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Timestamp::parse_rfc3339(text).map(Self).ok_or(Self::EXPECTED)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Instant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an instant in UTC such as \"2026-11-22T00:00:00Z\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Instant, E> {
                text.parse().map_err(E::custom)
            }

            // The parser hands over an unquoted date this way, and a table too.
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Instant, A::Error> {
                let written = toml::value::Datetime::deserialize(MapAccessDeserializer::new(members));
                let instant = written.ok().and_then(|written| written.to_string().parse().ok());
                instant.ok_or_else(|| de::Error::custom(Instant::EXPECTED))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

impl From<Instant> for Timestamp {
    fn from(instant: Instant) -> Self {
        instant.0
    }
}

/// The service's name for itself: an https URL without query, fragment or
/// trailing slash (RFC 8414 §2); http only on a loopback host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Returns the issuer of a development server at `address`.
    #[must_use]
    pub fn local(address: &str) -> Self {
        Self(format!("http://{address}"))
    }

    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Issuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| Err(format!("the issuer {why}; expected an https URL such as \"https://tokens.example.com\""));
        // It is also the default audience.
        if text.len() > MAX_ISSUER {
            return wrong(&format!("is longer than {MAX_ISSUER} bytes"));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
            return wrong("has a character that is not allowed in a URL");
        }
        if text.contains(['?', '#']) {
            return wrong("has a query or a fragment");
        }
        if text.ends_with('/') {
            return wrong("ends with a slash");
        }
        let Ok(uri) = text.parse::<http::Uri>() else { return wrong("is not a URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return wrong("is not an absolute URL");
        };
        if authority.as_str().contains('@') {
            return wrong("names a user");
        }
        match scheme {
            "https" if text.starts_with("https://") => Ok(Self(text.to_owned())),
            "http" if text.starts_with("http://") && is_loopback(authority.host()) => Ok(Self(text.to_owned())),
            "http" => wrong("is http on a host that is not loopback"),
            _ => wrong("is not https"),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl<'de> Deserialize<'de> for Issuer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an https URL"))
    }
}

/// Settings from the command line or the environment, which override the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `LINGPAI_ISSUER` or `--issuer`.
    pub issuer: Option<Issuer>,
    /// `LINGPAI_LISTEN` or `--listen`; empty if neither was given.
    pub listen: Vec<Listen>,
    /// `LINGPAI_KEYS` or `--keys`.
    pub keys: Option<PathBuf>,
}

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

/// Where connections come from: a network, or processes on this machine through a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A CIDR block, or one address.
    Network(IpNet),
    /// `unix`.
    Unix,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let expected = "expected a network such as \"10.0.0.0/8\" or \"fd00::/8\", an address, or \"unix\"";
        // Bits outside the network are a typing mistake.
        network.filter(|network| network.trunc() == *network).map(Self::Network).ok_or_else(|| expected.to_owned())
    }
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("a network such as \"10.0.0.0/8\""))
    }
}

/// Where a page comes from, as browsers write it (RFC 6454 §6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected an origin such as \"https://app.example.com\", as browsers send it".to_owned();
        let (scheme, default_port) = if text.starts_with("https://") { ("https://", 443) } else { ("http://", 80) };
        let authority = text.strip_prefix(scheme).ok_or_else(expected)?;
        let lower = authority.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
        let parsed = authority.parse::<http::uri::Authority>().ok();
        let parsed = parsed.filter(|_| lower && !authority.contains(['/', '@', '*', '?', '#'])).ok_or_else(expected)?;
        let host = parsed.host();
        match parsed.port_u16() {
            Some(port) if port == default_port => Err(format!(
                "expected \"{scheme}{host}\", as browsers send it: {port} is the default port, which they leave out"
            )),
            Some(port) if authority == format!("{host}:{port}") => Ok(Self(text.to_owned())),
            None if authority == host => Ok(Self(text.to_owned())),
            _ => Err(expected()),
        }
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an origin such as \"https://app.example.com\""))
    }
}

/// Which proxies are trusted to name the caller, and in which header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// The proxies.
    pub trusted: Vec<Peer>,
    /// They write `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    pub is_rfc7239: bool,
}

impl Forwarding {
    /// Returns the header's name, in lower case.
    #[must_use]
    pub fn header(&self) -> &'static str {
        if self.is_rfc7239 { "forwarded" } else { "x-forwarded-for" }
    }
}

/// `X-Forwarded-For` or `Forwarded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardedHeader {
    pub(super) is_rfc7239: bool,
}

impl FromStr for ForwardedHeader {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is = |name| text.eq_ignore_ascii_case(name);
        match (is("X-Forwarded-For"), is("Forwarded")) {
            (false, false) => Err("expected \"X-Forwarded-For\" or \"Forwarded\"".to_owned()),
            (_, is_rfc7239) => Ok(Self { is_rfc7239 }),
        }
    }
}

impl<'de> Deserialize<'de> for ForwardedHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("\"X-Forwarded-For\" or \"Forwarded\""))
    }
}

/// Whether proofs need a nonce (RFC 9449 §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nonces {
    /// Each proof must have one.
    Required,
    /// A proof may have one, which must be good.
    #[default]
    Offered,
    /// None is given and none is read.
    Off,
}

impl Nonces {
    const ALL: [Self; 3] = [Self::Required, Self::Offered, Self::Off];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Offered => "offered",
            Self::Off => "off",
        }
    }
}

impl FromStr for Nonces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|one| one.name() == text);
        named.ok_or_else(|| "expected \"required\", \"offered\" or \"off\"".to_owned())
    }
}

impl<'de> Deserialize<'de> for Nonces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("\"required\", \"offered\" or \"off\""))
    }
}

/// One address or an array of them.
#[derive(Debug, Clone)]
pub(super) struct Addresses(pub(super) Vec<Listen>);

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

/// Reads a string with its [`FromStr`], whose error is a sentence for people.
struct Parsed<T> {
    expected: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T> Parsed<T> {
    fn new(expected: &'static str) -> Self {
        Self { expected, value: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let read = |text: &str| text.parse::<Seconds<1, 86_400>>().map(|s| s.0);
        assert_eq!(read("1s"), Ok(1));
        assert_eq!(read("10m"), Ok(600));
        assert_eq!(read("24h"), Ok(86_400));
        assert_eq!(read("1d"), Ok(86_400));
        for wrong in ["", "s", "10", "10 m", "-1s", "+1s", "1.5h", "0s", "2d", "1w", "99999999999999999999s", "９s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory() {
        let read = |text: &str| text.parse::<Memory>().map(|memory| memory.0);
        assert_eq!(read("128MiB"), Ok(128 << 20));
        assert_eq!(read("2GiB"), Ok(2 << 30));
        for wrong in
            ["", "MiB", "128", "128 MiB", "+128MiB", "1MiB", "128MB", "99999999999999999999GiB", "17592186044416GiB"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn issuers() {
        for right in [
            "https://tokens.example.com",
            "https://example.com/tokens",
            "https://example.com:8443",
            "http://localhost:8080",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(right.parse::<Issuer>().map(|i| i.0), Ok(right.to_owned()));
        }
        for wrong in [
            "",
            "example.com",
            "http://example.com",
            "https://example.com/",
            "https://example.com?x",
            "ftp://localhost",
            "https://example.com#x",
            "https://user@example.com",
            "https://exa mple.com",
            "https://",
            "HTTPS://example.com",
            "http://localhost.example.com",
        ] {
            assert!(wrong.parse::<Issuer>().is_err(), "{wrong}");
        }
    }

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
