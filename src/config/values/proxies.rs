//! Proxies that are trusted, and how they name the caller.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer};

use super::Parsed;

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
    pub(in crate::config) is_rfc7239: bool,
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
