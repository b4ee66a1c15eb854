//! Names: client, subject, audience.

use std::borrow::{Borrow, Cow};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a string type with a grammar, whose only constructor checks it.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, 1 to $max:literal $of:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Maximum length, in characters.
            pub const MAX_LENGTH: usize = $max;
            /// The form of a valid value, to complete a sentence.
            pub const EXPECTED: &'static str = concat!("1 to ", $max, " ", $of);

            /// Parses `text`; None if it is malformed.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let check: fn(&str) -> bool = $check;
                check(text).then(|| Self(text.into()))
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.into()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::token::text::Text::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom(Self::EXPECTED))
            }
        }
    };
}
pub(super) use checked_string;

checked_string!(
    /// A client's id (RFC 6749 §2.2).
    ClientId,
    1 to 64 "characters of A-Z a-z 0-9 . _ ~ -",
    |text| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)
    }
);

checked_string!(
    /// The subject of a token (RFC 7519 §4.1.2).
    Subject,
    1 to 255 "visible ASCII characters",
    |text| (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
);

checked_string!(
    /// A recipient that may accept a token (RFC 7519 §4.1.3).
    Audience,
    1 to 255 "characters without control characters",
    |text| {
        // A character takes at most four bytes.
        let is_short = text.len() <= 4 * Self::MAX_LENGTH && text.chars().count() <= Self::MAX_LENGTH;
        !text.is_empty() && is_short && !text.contains(char::is_control)
    }
);

impl ClientId {
    /// The id of the client of tokens without credentials.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// Returns the client of tokens without credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(Self::ANONYMOUS.into())
    }

    /// Whether this is [`ClientId::anonymous`].
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        &*self.0 == Self::ANONYMOUS
    }
}

/// A client is also a subject: that of its own tokens.
impl From<&ClientId> for Subject {
    fn from(client: &ClientId) -> Self {
        Self(client.0.clone())
    }
}

/// One to eight distinct audiences, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Box<[Audience]>);

impl Audiences {
    /// Maximum audiences per token.
    pub const MAX: usize = 8;

    /// Collapses duplicates. None for no audience or more than eight.
    #[must_use]
    pub fn collect(audiences: impl IntoIterator<Item = Audience>) -> Option<Self> {
        let mut all: Vec<Audience> = Vec::new();
        for audience in audiences {
            if !all.contains(&audience) {
                all.push(audience);
            }
        }
        (1..=Self::MAX).contains(&all.len()).then(|| Self(all.into()))
    }

    /// Whether it has `audience`.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|one| one.as_str() == audience)
    }

    /// Returns the audiences that are also in `other`; None if there are none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        Self::collect(self.0.iter().filter(|one| other.contains(one.as_str())).cloned())
    }

    /// Returns the audiences with spaces between, for the log.
    #[must_use]
    pub fn joined(&self) -> Cow<'_, str> {
        match &*self.0 {
            [one] => one.as_str().into(),
            many => many.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ").into(),
        }
    }

    /// Iterates over the audiences.
    pub fn iter(&self) -> impl Iterator<Item = &Audience> {
        self.0.iter()
    }
}

/// A string for one audience, otherwise an array (RFC 7519 §4.1.3).
impl Serialize for Audiences {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [one] => one.as_str().serialize(serializer),
            many => serializer.collect_seq(many.iter().map(Audience::as_str)),
        }
    }
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> serde::de::Visitor<'de> for OneOrMany {
            type Value = Audiences;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an audience or an array of 1 to {}", Audiences::MAX)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Audiences, E> {
                Audience::parse(text).map(|one| Audiences([one].into())).ok_or_else(|| E::custom(Audience::EXPECTED))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Audiences, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = items.next_element()? {
                    all.push(one);
                    if all.len() > Audiences::MAX {
                        break;
                    }
                }
                let length = all.len();
                let unique = Audiences::collect(all).filter(|unique| unique.0.len() == length);
                let expected = format_args!("expected 1 to {} distinct audiences", Audiences::MAX);
                unique.ok_or_else(|| serde::de::Error::custom(expected))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
