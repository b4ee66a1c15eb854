//! Kinds of values: durations, the issuer, addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::clock::Timestamp;

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

fn written(seconds: i64) -> String {
    match seconds {
        s if s != 0 && s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s != 0 && s % 3_600 == 0 => format!("{}h", s / 3_600),
        s => format!("{s}s"),
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

            // How the parser hands over a date that is not in quotation marks, and a table too.
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Instant, A::Error> {
                let written = toml::value::Datetime::deserialize(MapAccessDeserializer::new(members));
                let instant = written.ok().and_then(|written| written.to_string().parse().ok());
                instant.ok_or_else(|| de::Error::custom(Instant::EXPECTED))
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// The service's name for itself: an https URL without query, fragment or
/// trailing slash (RFC 8414 §2); http only on a loopback host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// The issuer of a development server at `address`.
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
        // It is the default audience too.
        if text.len() > 255 {
            return wrong("is longer than 255 bytes");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
            return wrong("has a character that a URL has not");
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

/// An address to accept connections on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `IPv4:port` or `[IPv6]:port`.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
    /// `fd:name`, a socket that the service manager has opened.
    Inherited(String),
}

impl Listen {
    /// Whether only this machine can reach the address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            Self::Inherited(_) => false,
        }
    }
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
        text.parse().map(Self::Tcp).map_err(|_| {
            "expected an address: \"127.0.0.1:8080\", \"[::1]:8080\", \"unix:/path\" or \"fd:name\"".to_owned()
        })
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("an address such as \"127.0.0.1:8080\""))
    }
}

/// Who connects: a network, or a process on this machine by a Unix socket.
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
        // Bits outside the network are a slip of somebody's pen.
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

/// Which proxies are believed about whom they speak for, and in which header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// The proxies.
    pub trusted: Vec<Peer>,
    /// They write `Forwarded` (RFC 7239) instead of `X-Forwarded-For`.
    pub is_rfc7239: bool,
}

impl Forwarding {
    /// The header's name, in lower case.
    #[must_use]
    pub fn header(&self) -> &'static str {
        if self.is_rfc7239 { "forwarded" } else { "x-forwarded-for" }
    }
}

/// `X-Forwarded-For` or `Forwarded`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ForwardedHeader {
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
                if all.is_empty() || all.len() > 16 {
                    return Err(de::Error::custom("expected 1 to 16 addresses"));
                }
                Ok(Addresses(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// Reads a string by its [`FromStr`], whose error is a sentence for people.
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
        for right in ["127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0", "unix:/run/lingpai.sock", "fd:http"] {
            assert_eq!(right.parse::<Listen>().unwrap().to_string(), right);
        }
        for wrong in ["", "8080", ":8080", "localhost:8080", "::1:8080", "127.0.0.1", "unix:", "unix:run", "fd:"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }
}
