//! Strict JSON for signed tokens: text that every parser reads the same way.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Maximum nesting of objects and arrays. Kubernetes' tokens have 3 levels, key sets 4.
const MAX_DEPTH: usize = 16;

/// Parses an object without duplicate names at any depth. None for anything else: other values, bad
/// UTF-8, lone surrogates, deeper nesting, numbers beyond the range of a double.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    read(bytes, Names::Any)
}

/// Parses an object as [`object`] does, and refuses escapes in names and in the value of `alg`.
///
/// Other values may have escapes: PHP escapes `/`, and .NET escapes `+`, as in
/// `client-authentication+jwt`.
pub(super) fn header(bytes: &[u8]) -> Option<Map<String, Value>> {
    read(bytes, Names::Plain)
}

fn read(bytes: &[u8], names: Names) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_str(std::str::from_utf8(bytes).ok()?);
    let value = Strict { names, depth: MAX_DEPTH }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    match value {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Any,
    Plain,
}

/// Parses a value with at most `depth` levels.
#[derive(Clone, Copy)]
struct Strict {
    names: Names,
    depth: usize,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth, ..self })
    }

    fn next_name<'de, A: MapAccess<'de>>(self, members: &mut A) -> Result<Option<String>, A::Error> {
        match self.names {
            Names::Any => members.next_key(),
            Names::Plain => Ok(members.next_key_seed(Plain)?.map(str::to_owned)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        // Most tokens have as many claims; an object within has fewer.
        let mut all = Map::with_capacity(if self.depth == MAX_DEPTH { 8 } else { 0 });
        while let Some(name) = self.next_name(&mut members)? {
            let value = if self.names == Names::Plain && name == "alg" {
                Value::String(members.next_value_seed(Plain)?.to_owned())
            } else {
                members.next_value_seed(inside)?
            };
            if all.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(Value::Object(all))
    }
}

/// A string without escapes: its bytes are its characters.
struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = &'de str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de str, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = &'de str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string without escapes")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<&'de str, E> {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_one_reading_is_read() {
        let deepest = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        for text in
            ["{}", " {\t\"a\"\n:\r[1, -2, 3.5, true, null, {\"a\": \"\\u00e9\\ud83d\\ude00\"}]} ", &deepest(MAX_DEPTH)]
        {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(object(text.as_bytes()), value.as_object().cloned(), "{text}");
        }
        for text in [
            "",
            "[]",
            "1",
            "null",
            "\"{}\"",
            "{",
            "{} {}",
            "{},",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":1,}",
            "{a:1}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"b":[{"a":1,"a":2}]}"#,
            r#"{"b":{"a":1,"a":2}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            r#"{"\ud800":1}"#,
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            "{\"a\":\"\n\"}",
            "{/**/}",
            &deepest(MAX_DEPTH + 1),
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
            assert_eq!(header(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object(b"{\"a\":\"\xed\xa0\x80\"}"), None, "a surrogate in UTF-8");
    }

    #[test]
    fn a_header_has_no_escape_in_a_name_or_in_alg() {
        for text in [r#"{"alg":"ES256","kid":"a\/b"}"#, r#"{"typ":"client-authentication\u002Bjwt"}"#] {
            assert!(header(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            r#"{"alg":"\u0045S256"}"#,
            r#"{"\u0061lg":"ES256"}"#,
            r#"{"x\/y":1}"#,
            r#"{"x":{"\u0061":1}}"#,
            r#"{"alg":{"ES256":null}}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":null}"#,
        ] {
            assert_eq!(header(text.as_bytes()), None, "{text}");
        }
    }
}
