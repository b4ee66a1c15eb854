//! Kinds of members: how their values are parsed, described and named in errors.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::http::body::Kind;
use crate::token::{Audience, Audiences, ExtraClaims, Scope, ScopeToken, Subject};

/// Any string.
pub(super) struct Text;

impl Kind for Text {
    type Value = String;

    fn expected() -> Cow<'static, str> {
        "a string".into()
    }

    fn schema() -> MetaSchema {
        MetaSchema::new("string")
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

/// A string that is wiped on drop.
pub(super) struct Secret;

impl Kind for Secret {
    type Value = Zeroizing<String>;

    fn expected() -> Cow<'static, str> {
        Text::expected()
    }

    fn schema() -> MetaSchema {
        Text::schema()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self::Value, D::Error> {
        Text::read(deserializer).map(Zeroizing::new)
    }
}

impl Kind for Subject {
    type Value = Self;

    fn expected() -> Cow<'static, str> {
        Self::EXPECTED.into()
    }

    fn schema() -> MetaSchema {
        MetaSchema {
            min_length: Some(1),
            max_length: Some(Self::MAX_LENGTH),
            pattern: Some(r"^[\x21-\x7E]+$".to_owned()),
            ..MetaSchema::new("string")
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// Whole seconds, at least one.
pub(super) struct Seconds;

impl Kind for Seconds {
    type Value = i64;

    fn expected() -> Cow<'static, str> {
        "an integer of seconds, 1 or more".into()
    }

    fn schema() -> MetaSchema {
        MetaSchema { minimum: Some(1.0), ..MetaSchema::new_with_format("integer", "int64") }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        match i64::deserialize(deserializer)? {
            seconds if seconds >= 1 => Ok(seconds),
            _ => Err(D::Error::custom("less than 1")),
        }
    }
}

impl Kind for ExtraClaims {
    type Value = Self;

    fn expected() -> Cow<'static, str> {
        Self::EXPECTED.into()
    }

    fn schema() -> MetaSchema {
        let any = MetaSchemaRef::Inline(Box::new(MetaSchema::ANY));
        MetaSchema {
            additional_properties: Some(Box::new(any)),
            max_properties: Some(Self::MAX),
            ..MetaSchema::new("object")
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// A list of audiences.
impl Kind for Audiences {
    type Value = Self;

    fn expected() -> Cow<'static, str> {
        List::<Audience>::expected()
    }

    fn schema() -> MetaSchema {
        List::<Audience>::schema()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = List::<Audience>::read(deserializer)?;
        Self::collect(all).ok_or_else(|| D::Error::custom("none, or too many"))
    }
}

/// A non-empty list in the order given. Duplicates collapse, but count towards the limit.
pub(super) struct List<T>(PhantomData<fn() -> T>);

/// An element of a list: a string with a grammar.
pub(super) trait Element: Sized + PartialEq {
    /// The plural of its name.
    const PLURAL: &'static str;
    /// The form of a valid element.
    const EXPECTED: &'static str;
    /// Maximum elements in a list.
    const MAX: usize;

    fn parse(text: &str) -> Option<Self>;
}

impl Element for ScopeToken {
    const PLURAL: &'static str = "scope tokens";
    const EXPECTED: &'static str = Self::EXPECTED;
    const MAX: usize = Scope::MAX;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Element for Audience {
    const PLURAL: &'static str = "audiences";
    const EXPECTED: &'static str = Self::EXPECTED;
    const MAX: usize = Audiences::MAX;

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl<T: Element> Kind for List<T> {
    type Value = Vec<T>;

    fn expected() -> Cow<'static, str> {
        format!("an array of 1 to {} {}, each {}", T::MAX, T::PLURAL, T::EXPECTED).into()
    }

    fn schema() -> MetaSchema {
        let items = MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let items = Some(Box::new(items));
        MetaSchema { items, min_items: Some(1), max_items: Some(T::MAX), ..MetaSchema::new("array") }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(Self(PhantomData))
    }
}

impl<'de, T: Element> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::PLURAL)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
        let wrong = || A::Error::custom("an element of another form, none, or too many");
        let (mut all, mut written) = (Vec::new(), 0);
        while let Some(text) = items.next_element::<Cow<str>>()? {
            written += 1;
            if written > T::MAX {
                return Err(wrong());
            }
            let element = T::parse(&text).ok_or_else(wrong)?;
            if !all.contains(&element) {
                all.push(element);
            }
        }
        if all.is_empty() { Err(wrong()) } else { Ok(all) }
    }
}
