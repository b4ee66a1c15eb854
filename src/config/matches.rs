//! `match` of a rule: claims and their values, each with its place in the file.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::setting::Meaning;
use super::source::Text;

/// Claims that an identity must have, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Matches(pub Vec<(Text, Spanned<MatchValue>)>);

/// What a claim must be.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchValue {
    /// A string, with stars for what may be there.
    Text(String),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// An object with these members.
    Table(Matches),
}

impl<'de> Deserialize<'de> for Matches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = Matches;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of claims such as { sub = \"repo:acme/shop:**\" }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Matches, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Matches(all))
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl<'de> Deserialize<'de> for MatchValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = MatchValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a boolean, an integer, or a table for an object's members")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MatchValue, E> {
                Ok(MatchValue::Text(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<MatchValue, E> {
                Ok(MatchValue::Bool(value))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<MatchValue, E> {
                Ok(MatchValue::Integer(number))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<MatchValue, A::Error> {
                Matches::deserialize(de::value::MapAccessDeserializer::new(members)).map(MatchValue::Table)
            }
        }
        deserializer.deserialize_any(Value)
    }
}

impl Meaning for Matches {
    fn bytes(&self) -> Cow<'_, [u8]> {
        let mut members: Vec<_> =
            self.0.iter().map(|(name, value)| format!("{:?}={}", name.get_ref(), value.get_ref().text())).collect();
        members.sort_unstable();
        members.join(",").into_bytes().into()
    }
}

impl MatchValue {
    /// A text that no other value has.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => format!("{text:?}"),
            Self::Bool(value) => value.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Table(inner) => format!("{{{}}}", String::from_utf8_lossy(&inner.bytes())),
        }
    }
}
