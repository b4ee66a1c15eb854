//! Actors: `act`, which names the party that acts for a token's subject (RFC 8693 §4.1).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::Subject;
use super::text::Text;

/// The parties that act for a subject: one to four, from the current one to the earliest.
///
/// Written as RFC 8693 §4.1 nests them: `{"sub":"now","act":{"sub":"before"}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor(Box<[Subject]>);

impl Actor {
    /// Maximum number of actors in one token.
    pub const MAX: usize = 4;

    /// Adds the actor `current` before `earlier`. None for more than four.
    #[must_use]
    pub fn new(current: Subject, earlier: Option<&Self>) -> Option<Self> {
        let earlier = earlier.into_iter().flat_map(Self::iter).cloned();
        let all: Box<[_]> = std::iter::once(current).chain(earlier).collect();
        (all.len() <= Self::MAX).then_some(Self(all))
    }

    /// Iterates over the actors, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.0.iter()
    }

    /// Returns the current actor, the only one that matters to a decision (RFC 8693 §4.1).
    #[must_use]
    pub fn current(&self) -> Option<&Subject> {
        self.0.first()
    }

    /// Returns their names separated by spaces, the current one first.
    #[must_use]
    pub fn chain(&self) -> String {
        self.iter().map(Subject::as_str).collect::<Vec<_>>().join(" ")
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Nested(&self.0).serialize(serializer)
    }
}

/// Actors, at least one.
struct Nested<'a>(&'a [Subject]);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some((current, earlier)) = self.0.split_first() {
            map.serialize_entry("sub", current.as_str())?;
            if !earlier.is_empty() {
                map.serialize_entry("act", &Nested(earlier))?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level { left: Self::MAX }.read(deserializer).map(|mut all| {
            all.reverse();
            Self(all.into())
        })
    }
}

/// A nesting level; `left` counts the levels that remain, including this one.
#[derive(Clone, Copy)]
struct Level {
    left: usize,
}

impl Level {
    /// Reads the actors, the earliest first.
    fn read<'de, D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Subject>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> de::DeserializeSeed<'de> for Level {
    type Value = Vec<Subject>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Subject>, D::Error> {
        self.read(deserializer)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Vec<Subject>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with `sub` and at most {} levels of `act`", Actor::MAX)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<Subject>, A::Error> {
        let inside = Self { left: self.left.checked_sub(1).ok_or_else(|| de::Error::custom("too many actors"))? };
        let (mut current, mut earlier) = (None::<Subject>, None);
        while let Some(name) = members.next_key::<Text>()? {
            let is_repeated = match &*name {
                "sub" => current.replace(members.next_value()?).is_some(),
                "act" if inside.left > 0 => earlier.replace(members.next_value_seed(inside)?).is_some(),
                _ => return Err(de::Error::custom("a member other than `sub` and `act`, or too many actors")),
            };
            if is_repeated {
                return Err(de::Error::custom("a duplicate member"));
            }
        }
        let mut all = earlier.unwrap_or_default();
        all.push(current.ok_or_else(|| de::Error::missing_field("sub"))?);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> Subject {
        Subject::parse(text).unwrap()
    }

    #[test]
    fn actors_are_nested_and_at_most_four() {
        let mut actor = Actor::new(subject("a"), None).unwrap();
        for name in ["b", "c", "d"] {
            actor = Actor::new(subject(name), Some(&actor)).unwrap();
        }
        let written = r#"{"sub":"d","act":{"sub":"c","act":{"sub":"b","act":{"sub":"a"}}}}"#;
        assert_eq!(serde_json::to_string(&actor).unwrap(), written);
        assert_eq!(serde_json::from_str::<Actor>(written).unwrap(), actor);
        assert_eq!(actor.chain(), "d c b a");
        assert_eq!(Actor::new(subject("e"), Some(&actor)), None);
        let reordered = r#"{"act":{"sub":"a"},"sub":"b"}"#;
        assert_eq!(serde_json::from_str::<Actor>(reordered).unwrap().chain(), "b a");
    }

    #[test]
    fn anything_else_is_no_actor() {
        for wrong in [
            "{}",
            "null",
            r#""a""#,
            r#"["a"]"#,
            r#"{"sub":null}"#,
            r#"{"sub":1}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a b"}"#,
            r#"{"act":{"sub":"a"}}"#,
            r#"{"sub":"a","act":null}"#,
            r#"{"sub":"a","act":{}}"#,
            r#"{"sub":"a","sub":"a"}"#,
            r#"{"sub":"a","act":{"sub":"b"},"act":{"sub":"b"}}"#,
            r#"{"sub":"a","iss":"x"}"#,
            r#"{"sub":"e","act":{"sub":"d","act":{"sub":"c","act":{"sub":"b","act":{"sub":"a"}}}}}"#,
        ] {
            assert!(serde_json::from_str::<Actor>(wrong).is_err(), "{wrong}");
        }
    }
}
