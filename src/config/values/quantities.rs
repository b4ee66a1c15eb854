//! Durations, instants and memory.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::Parsed;
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
pub(in crate::config) struct Memory(pub(in crate::config) u64);

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
pub(in crate::config) struct Instant(pub(in crate::config) Timestamp);

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
}
