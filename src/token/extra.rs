//! Extra claims: those that a client may add to its tokens.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::text::Text;

/// Reserved names, which no extra claim may have: the service's own, and those to which other
/// specifications give an effect that this service does not check.
pub const RESERVED: [&str; 20] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "cnf",
    "act",
    "may_act",
    "auth_time",
    "acr",
    "amr",
    "azp",
    "nonce",
    "sid",
    "events",
    "typ",
];

/// Claims that grant a power (RFC 8693 §4.4), or that make the token something else (RFC 8417,
/// `OpenID` Connect). A token with one of them is refused. (`act` and `cnf` are among the claims,
/// so they never come here.)
const UNENFORCED: [&str; 3] = ["may_act", "nonce", "events"];

/// The largest integer that every JSON reader represents exactly (RFC 8259 §6).
const MAX_INTEGER: i64 = (1 << 53) - 1;
const MAX_TEXT: usize = 255;
const MAX_LIST: usize = 32;

/// A string, a boolean or an integer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Up to 255 characters.
    Text(Box<str>),
    /// A boolean.
    Bool(bool),
    /// An integer within ±(2^53-1).
    Integer(i64),
}

/// The value of an extra claim.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// One value.
    One(Scalar),
    /// Up to 32 values.
    Many(Vec<Scalar>),
}

/// Up to 16 extra claims with distinct names, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtraClaims(Vec<(Box<str>, ClaimValue)>);

impl ExtraClaims {
    /// Maximum extra claims per token.
    pub const MAX: usize = 16;
    /// The form of a valid value, to complete a sentence.
    pub const EXPECTED: &'static str = "an object of at most 16 members with unreserved names; a value is a string of \
                                        at most 255 characters, a boolean, an integer within ±(2^53-1), or an array \
                                        of at most 32 of these";

    /// Whether there are no claims.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ClaimValue)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Returns the claims whose names `allowed` accepts.
    #[must_use]
    pub fn filtered(&self, allowed: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| allowed(name)).cloned().collect())
    }

    /// Adds a top-level claim of a token.
    pub(super) fn read_from_token(&mut self, name: &str, value: ClaimValue) -> Result<(), &'static str> {
        if UNENFORCED.contains(&name) {
            return Err("a claim that this service does not enforce");
        }
        self.push(name, value)
    }

    fn push(&mut self, name: &str, value: ClaimValue) -> Result<(), &'static str> {
        if name.is_empty() || name.chars().count() > MAX_TEXT {
            return Err("a name of 1 to 255 characters");
        }
        if self.0.len() == Self::MAX {
            return Err("at most 16 extra claims");
        }
        if self.0.iter().any(|(other, _)| &**other == name) {
            return Err("distinct names");
        }
        self.0.push((name.into(), value));
        Ok(())
    }
}

impl Serialize for ExtraClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads the member `claims` of a request or a refresh token.
impl<'de> Deserialize<'de> for ExtraClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Claims;
        impl<'de> Visitor<'de> for Claims {
            type Value = ExtraClaims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(ExtraClaims::EXPECTED)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<ExtraClaims, A::Error> {
                let mut all = ExtraClaims::default();
                while let Some(name) = members.next_key::<Text>()? {
                    if RESERVED.contains(&&*name) {
                        return Err(de::Error::custom("a reserved name"));
                    }
                    let value = members.next_value()?;
                    all.push(&name, value).map_err(de::Error::custom)?;
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Claims)
    }
}

fn scalar_text<E: de::Error>(text: &str) -> Result<Scalar, E> {
    if text.chars().count() > MAX_TEXT {
        return Err(E::custom("at most 255 characters"));
    }
    Ok(Scalar::Text(text.into()))
}

fn scalar_integer<E: de::Error>(number: i64) -> Result<Scalar, E> {
    if !(-MAX_INTEGER..=MAX_INTEGER).contains(&number) {
        return Err(E::custom("an integer within ±(2^53-1)"));
    }
    Ok(Scalar::Integer(number))
}

/// The visitor methods that scalars and claim values share.
macro_rules! scalar_visits {
    ($wrap:expr) => {
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            scalar_text(text).map($wrap)
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Bool(value)))
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
            scalar_integer(number).map($wrap)
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
            scalar_integer(i64::try_from(number).unwrap_or(i64::MAX)).map($wrap)
        }
    };
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneScalar;
        impl Visitor<'_> for OneScalar {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a boolean or an integer")
            }

            scalar_visits!(std::convert::identity);
        }
        deserializer.deserialize_any(OneScalar)
    }
}

impl<'de> Deserialize<'de> for ClaimValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = ClaimValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a boolean, an integer, or an array of these")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ClaimValue, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    if all.len() == MAX_LIST {
                        return Err(de::Error::custom("at most 32 values"));
                    }
                    all.push(item);
                }
                Ok(ClaimValue::Many(all))
            }

            scalar_visits!(ClaimValue::One);
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ExtraClaims, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sentence_names_the_limits() {
        for limit in [ExtraClaims::MAX, MAX_TEXT, MAX_LIST] {
            assert!(ExtraClaims::EXPECTED.contains(&format!("at most {limit} ")), "{limit}");
        }
    }

    #[test]
    fn what_may_be_said() {
        let text = r#"{"z":"x","a":true,"n":-9007199254740991,"list":["x",1,false],"none":[]}"#;
        let claims = read(text).unwrap();
        assert_eq!(serde_json::to_string(&claims).unwrap(), text);
        let longest = format!(r#"{{"a":"{}"}}"#, "é".repeat(255));
        assert!(read(&longest).is_ok());
    }

    #[test]
    fn what_may_not() {
        let many = (0..17).map(|i| format!(r#""c{i}":1"#)).collect::<Vec<_>>().join(",");
        let cases = [
            r#"{"a":null}"#.to_owned(),
            r#"{"a":{}}"#.into(),
            r#"{"a":[[]]}"#.into(),
            r#"{"a":[null]}"#.into(),
            r#"{"a":1.5}"#.into(),
            r#"{"a":1e3}"#.into(),
            r#"{"a":9007199254740992}"#.into(),
            r#"{"a":-9007199254740992}"#.into(),
            r#"{"a":18446744073709551615}"#.into(),
            r#"{"a":1,"a":2}"#.into(),
            r#"{"a":1,"\u0061":2}"#.into(),
            r#"{"":1}"#.into(),
            r#"{"exp":1}"#.into(),
            r#"{"e\u0078p":1}"#.into(),
            r"[]".into(),
            format!(r#"{{"a":"{}"}}"#, "x".repeat(256)),
            format!(r#"{{"a":[{}]}}"#, ["1"; 33].join(",")),
            format!("{{{many}}}"),
        ];
        for text in cases {
            assert!(read(&text).is_err(), "{text}");
        }
        for name in RESERVED {
            assert!(read(&format!(r#"{{"{name}":1}}"#)).is_err(), "{name}");
        }
    }
}
