//! Kinds of values: how each is written in the file, in the environment and on the command line.

mod listen;
mod proxies;
mod quantities;
mod urls;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};

pub(super) use listen::Addresses;
pub use listen::Listen;
pub use proxies::{ForwardedHeader, Forwarding, Peer};
pub use quantities::Seconds;
pub(super) use quantities::{Instant, Memory};
pub use urls::{Issuer, Origin};

/// Settings from the command line or the environment, which override the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `LINGPAI_ISSUER` or `--issuer`.
    pub issuer: Option<Issuer>,
    /// `LINGPAI_LISTEN` or `--listen`; empty if neither was given.
    pub listen: Vec<Listen>,
    /// `LINGPAI_KEYS` or `--keys`.
    pub keys: Option<PathBuf>,
}

/// Whether proofs need a nonce (RFC 9449 §8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nonces {
    /// Each proof must have one.
    Required,
    /// A proof may have one, which must be good.
    #[default]
    Offered,
    /// None is given and none is read.
    Off,
}

impl Nonces {
    const ALL: [Self; 3] = [Self::Required, Self::Offered, Self::Off];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Offered => "offered",
            Self::Off => "off",
        }
    }
}

impl FromStr for Nonces {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|one| one.name() == text);
        named.ok_or_else(|| "expected \"required\", \"offered\" or \"off\"".to_owned())
    }
}

impl<'de> Deserialize<'de> for Nonces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new("\"required\", \"offered\" or \"off\""))
    }
}

/// Reads a string with its [`FromStr`], whose error is a sentence for people.
struct Parsed<T> {
    expected: &'static str,
    value: std::marker::PhantomData<T>,
}

impl<T> Parsed<T> {
    fn new(expected: &'static str) -> Self {
        Self { expected, value: std::marker::PhantomData }
    }
}

impl<T: FromStr<Err = String>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
