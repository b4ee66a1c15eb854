//! Confirmation: the key that the sender of a token must prove to hold (RFC 7800 §3.1).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::Text;

/// A SHA-256 in base64url: of a key (RFC 7638) or of a certificate (RFC 8705 §3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The thumbprint of this digest.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Parses 43 base64url characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Returns the digest.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// How a token is bound to its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// By a key that signs a proof for each request (RFC 9449).
    Dpop,
    /// By the certificate of a TLS connection (RFC 8705).
    Mtls,
}

impl Sender {
    /// Every method.
    pub const ALL: [Self; 2] = [Self::Dpop, Self::Mtls];

    /// Returns its name, as in the configuration and in refresh tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dpop => "dpop",
            Self::Mtls => "mtls",
        }
    }

    /// Returns the method with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sender| sender.name() == name)
    }

    /// Returns the member of `cnf` that holds the thumbprint.
    const fn member(self) -> &'static str {
        match self {
            Self::Dpop => "jkt",
            Self::Mtls => "x5t#S256",
        }
    }
}

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Sender {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom("expected \"dpop\" or \"mtls\""))
    }
}

/// The claim `cnf`: whose token it is. Exactly one member, `jkt` (RFC 9449 §6.1) or `x5t#S256` (RFC
/// 8705 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confirmation {
    /// How the sender proves to hold the key.
    pub sender: Sender,
    /// The thumbprint of its key or certificate.
    pub thumbprint: Thumbprint,
}

impl Serialize for Confirmation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.sender.member(), &self.thumbprint.to_string())?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Confirmation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMember;
        impl<'de> de::Visitor<'de> for OneMember {
            type Value = Confirmation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one member, jkt or x5t#S256, of 43 base64url characters")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut members: A) -> Result<Confirmation, A::Error> {
                let other = || de::Error::custom("another confirmation");
                let name: Text = members.next_key()?.ok_or_else(other)?;
                let sender = Sender::ALL.into_iter().find(|sender| sender.member() == &*name).ok_or_else(other)?;
                let text: Text = members.next_value()?;
                let thumbprint = Thumbprint::parse(&text).ok_or_else(other)?;
                match members.next_key::<de::IgnoredAny>()? {
                    None => Ok(Confirmation { sender, thumbprint }),
                    Some(_) => Err(other()),
                }
            }
        }
        deserializer.deserialize_map(OneMember)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_has_exactly_one_known_member() {
        let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        for (name, sender) in [("jkt", Sender::Dpop), ("x5t#S256", Sender::Mtls)] {
            let text = format!(r#"{{"{name}":"{thumbprint}"}}"#);
            let read: Confirmation = serde_json::from_str(&text).unwrap();
            assert_eq!((read.sender, read.thumbprint.to_string().as_str()), (sender, thumbprint));
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        for wrong in [
            "{}".to_owned(),
            "null".to_owned(),
            format!("\"{thumbprint}\""),
            format!("[\"{thumbprint}\"]"),
            r#"{"jkt":null}"#.to_owned(),
            r#"{"jkt":""}"#.to_owned(),
            format!(r#"{{"jkt":"{thumbprint}A"}}"#),
            format!(r#"{{"jkt":"{thumbprint}="}}"#),
            // The last character has two bits that must be zero.
            format!(r#"{{"jkt":"{}J"}}"#, &thumbprint[..42]),
            format!(r#"{{"kid":"{thumbprint}"}}"#),
            format!(r#"{{"JKT":"{thumbprint}"}}"#),
            format!(r#"{{"jkt":"{thumbprint}","jkt":"{thumbprint}"}}"#),
            format!(r#"{{"jkt":"{thumbprint}","x5t#S256":"{thumbprint}"}}"#),
            format!(r#"{{"jkt":"{thumbprint}","kid":"1"}}"#),
        ] {
            assert!(serde_json::from_str::<Confirmation>(&wrong).is_err(), "{wrong}");
        }
    }
}
