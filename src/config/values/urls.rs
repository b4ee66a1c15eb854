//! URLs: the issuer, and the origins of pages.

use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};

use super::Parsed;

/// Maximum length of an issuer, in bytes.
const MAX_ISSUER: usize = 255;

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
        if text == "*" {
            return Err("there is no \"*\"; list each origin, such as \"https://app.example.com\"".to_owned());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
