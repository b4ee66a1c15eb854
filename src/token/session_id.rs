//! Session ids: `sid`, by which a session can be ended.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::Timestamp;
use crate::crypto::{NoRandomness, unique};

/// A session's id: its start in seconds, a dot, and 128 random bits in base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionId {
    start: Timestamp,
    text: Box<str>,
}

impl SessionId {
    /// The form of an id, to complete a sentence.
    pub const EXPECTED: &'static str = "a session's id: its start in seconds, a dot, and 22 base64url characters";

    /// Generates an id for a session that begins at `start`.
    ///
    /// # Errors
    /// The system's random number generator fails.
    pub fn new(start: Timestamp) -> Result<Self, NoRandomness> {
        let text = format!("{}.{}", start.unix(), URL_SAFE_NO_PAD.encode(unique::<16>()?));
        Ok(Self { start, text: text.into() })
    }

    /// Parses an id as [`SessionId::new`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, random) = text.split_once('.')?;
        let canonical = !seconds.starts_with('0') && seconds.bytes().all(|b| b.is_ascii_digit());
        let start = seconds.parse().ok().filter(|_| canonical && seconds.len() <= 12).map(Timestamp::from_unix)?;
        is_random_id(random).then(|| Self { start, text: text.into() })
    }

    /// Returns the start of the session.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Returns the id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether `text` is 128 bits in base64url, like a token's `jti`.
#[must_use]
pub fn is_random_id(text: &str) -> bool {
    text.len() == 22 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(Self::EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        let start = Timestamp::from_unix(1_780_315_200);
        let id = SessionId::new(start).unwrap();
        assert_eq!(SessionId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.start(), start);
        let random = "AAAAAAAAAAAAAAAAAAAAAA";
        assert!(SessionId::parse(&format!("1.{random}")).is_some());
        for wrong in [
            random.to_owned(),
            format!(".{random}"),
            format!("01.{random}"),
            format!("-1.{random}"),
            format!("+1.{random}"),
            format!("1.{random}A"),
            format!("1.{}", random.replace('A', "/")),
            "1.AAAAAAAAAAAAAAAAAAAAAB".to_owned(),
            format!("1234567890123.{random}"),
            format!("1.{random} "),
        ] {
            assert_eq!(SessionId::parse(&wrong), None, "{wrong}");
        }
    }
}
