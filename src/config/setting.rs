//! What a declared setting expands to: the form of `settings!`, and what a value adds to the digest.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde::de::value::{Error, MapDeserializer};

use super::source::List;
use super::values::{ForwardedHeader, Issuer, Nonces, Origin, Peer};
use crate::clock::Timestamp;
use crate::token::Sender;

/// A setting, as the handbook shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key, such as `token.leeway`.
    pub key: &'static str,
    /// Its default, in Markdown: a value in TOML, words, or nothing.
    pub default: &'static str,
    /// Whether a change needs a restart; otherwise a reload applies it.
    pub needs_restart: bool,
    /// What it does, in Markdown.
    pub text: &'static str,
}

/// Neither the file nor an override sets `issuer`.
#[derive(Debug)]
pub(super) struct Missing;

/// A value's part of the configuration digest.
pub(super) trait Meaning {
    /// Adds bytes that are the same for values that mean the same.
    fn bytes(&self) -> Cow<'_, [u8]>;
}

macro_rules! meaning {
    ($($of:ty: |$value:ident| $bytes:expr;)*) => {$(
        impl Meaning for $of {
            fn bytes(&self) -> Cow<'_, [u8]> {
                let $value = self;
                $bytes.into()
            }
        }
    )*};
}

meaning! {
    bool: |is| vec![u8::from(*is)];
    u32: |number| number.to_be_bytes().to_vec();
    i64: |number| number.to_be_bytes().to_vec();
    String: |text| text.as_bytes();
    Issuer: |issuer| issuer.as_str().as_bytes();
    Origin: |origin| origin.as_str().as_bytes();
    Peer: |peer| format!("{peer:?}").into_bytes();
    ForwardedHeader: |header| vec![u8::from(header.is_rfc7239)];
    Nonces: |nonces| nonces.name().as_bytes();
    Sender: |sender| sender.name().as_bytes();
    Timestamp: |instant| instant.unix().to_be_bytes().to_vec();
}

impl<T: Meaning> Meaning for toml::Spanned<T> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        self.get_ref().bytes()
    }
}

impl<T: Meaning> Meaning for Option<T> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        let some = self.as_ref().map(|value| [b"=", &*value.bytes()].concat());
        some.unwrap_or_default().into()
    }
}

/// Neither the order of an array nor a duplicate in it means anything.
impl<T: Meaning> Meaning for Vec<T> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        let mut all: Vec<_> = self.iter().map(Meaning::bytes).collect();
        all.sort_unstable();
        all.dedup();
        all.iter()
            .fold(Vec::new(), |mut bytes, one| {
                bytes.extend_from_slice(&(one.len() as u64).to_be_bytes());
                bytes.extend_from_slice(one);
                bytes
            })
            .into()
    }
}

/// The digest of secrets: only how many there are.
pub(super) fn count(secrets: Option<&List>) -> [u8; 8] {
    secrets.map_or(0, |secrets| secrets.get_ref().len() as u64).to_be_bytes()
}

/// Returns the default `toml`, read as if the file said it.
#[expect(clippy::expect_used, reason = "a unit test reads every default")]
pub(super) fn written<T: DeserializeOwned>(toml: &str) -> T {
    let value = toml::de::ValueDeserializer::parse(toml).expect("a value in TOML");
    T::deserialize(value).expect("a value that the setting's own parser takes")
}

/// Returns an empty table.
#[expect(clippy::expect_used, reason = "a unit test reads every table that may be absent")]
pub(super) fn empty<T: DeserializeOwned>() -> T {
    let nothing = MapDeserializer::<_, Error>::new(std::iter::empty::<(&str, &str)>());
    T::deserialize(nothing).expect("a table without a required setting")
}

/// Declares settings. The rows of a table are the handbook's rows:
///
/// ```text
/// key: how it is written [as what it becomes] | default | digest | change | "text";
/// ```
///
/// - The default is a value as the file would have it; or in parentheses `(required)`, `(overridable)`, which is
///   required in the file or in an override, or nothing or the words that say what holds without it. Such a setting is
///   an `Option`.
/// - The digest includes what is `replicated`, so that replicas that differ are found; for a `secret` how many there
///   are; for a path the `contents` of its file. It leaves out what is `local` to a replica. There is no default: each
///   setting says whether replicas must agree.
/// - A `reload` applies a change, or a change needs a `restart`.
///
/// It expands to the table as parsed, the table as the program reads it, `read` from one to the other, the digest, what
/// a reload holds back, and the handbook's rows.
macro_rules! settings {
    ($(
        $(#[$about:meta])*
        $name:ident, written as $written:ident, at $at:literal {
            $($field:ident: $raw:ty $(as $value:ty)? | $default:tt | $digest:ident | $change:ident | $text:literal;)*
        }
        $(+ tables { $($table:ident: $of:ident),* })?
        $(+ optional tables { $($optional:ident: $optional_of:ident),* })?
        $(+ arrays of tables { $($array:ident: $array_of:ident),* })?
        $(+ beside { $($(#[$about_beside:meta])* $seen:vis $beside:ident: $beside_type:ty),* })?
    )*) => {
        $(
            #[derive(Debug, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $written {
                $(pub(super) $field: raw_type!($default, $raw),)*
                $($($table: Option<<$of as Table>::Written>,)*)?
                $($($optional: Option<<$optional_of as Table>::Written>,)*)?
                $($(pub(super) $array: Option<Vec<<$array_of as Table>::Written>>,)*)?
            }

            $(#[$about])*
            #[derive(Debug, Clone)]
            pub struct $name {
                $(
                    #[doc = $text]
                    pub $field: value_type!($default, $raw $(as $value)?),
                )*
                $($(
                    #[doc = concat!("`[", stringify!($table), "]`.")]
                    pub $table: $of,
                )*)?
                $($(
                    #[doc = concat!("`[", stringify!($optional), "]`, if it is there.")]
                    pub $optional: Option<$optional_of>,
                )*)?
                $($(
                    $(#[$about_beside])*
                    $seen $beside: $beside_type,
                )*)?
            }

            impl Table for $name {
                type Written = $written;
                const SETTINGS: &'static [Setting] = &[$(Setting {
                    key: concat!($at, name!($field)),
                    default: default_text!($default),
                    needs_restart: needs_restart!($change),
                    text: $text,
                }),*];
            }

            impl $name {
                pub(super) fn read(written: $written $($(, $beside: $beside_type)*)?) -> Result<Self, Missing> {
                    Ok(Self {
                        $($field: value!($default, written.$field, $raw),)*
                        $($($table: $of::read(written.$table.unwrap_or_else(empty))?,)*)?
                        $($($optional: written.$optional.map($optional_of::read).transpose()?,)*)?
                        $($($beside,)*)?
                    })
                }

                /// Adds the settings in which replicas must agree. `contents` adds the content of the file at a path.
                pub fn digest(&self, all: &mut Digester, contents: &dyn Fn(&Path, &mut Digester)) {
                    let _ = (contents, &mut *all);
                    $(digest!($digest, concat!($at, name!($field)), self.$field, all, contents);)*
                    $($(self.$table.digest(all, contents);)*)?
                    $($(if let Some(table) = &self.$optional {
                        table.digest(all, contents);
                    })*)?
                }

                /// Keeps the settings that only a restart changes as they are in `running`. Adds the key of each that
                /// differs to `changed`.
                pub fn hold(&mut self, running: &Self, changed: &mut Vec<&'static str>) {
                    let _ = (running, &changed);
                    $(hold!($change, concat!($at, name!($field)), self.$field, running.$field, changed);)*
                    $($(self.$table.hold(&running.$table, changed);)*)?
                    $($(match (&mut self.$optional, &running.$optional) {
                        (Some(table), Some(running)) => table.hold(running, changed),
                        (None, None) => {}
                        (table, running) => {
                            let held: Vec<_> = $optional_of::held().collect();
                            if !held.is_empty() {
                                changed.extend(held);
                                table.clone_from(running);
                            }
                        }
                    })*)?
                }
            }
        )*

        /// Every setting, in the handbook's order.
        pub fn settings() -> impl Iterator<Item = &'static Setting> {
            [$($name::SETTINGS),*].into_iter().flatten()
        }

        /// Returns `changed` with the name of a table in place of its settings where the whole table needs a restart.
        pub(super) fn in_short(changed: &[&'static str]) -> Vec<&'static str> {
            let tables = [$(($at, $name::SETTINGS)),*];
            let mut names: Vec<_> = changed.iter().map(|key| {
                let whole = tables.iter().find(|(_, settings)| {
                    settings.len() > 1
                        && settings.iter().all(|setting| setting.needs_restart)
                        && settings.iter().any(|setting| setting.key == *key)
                });
                whole.map_or(*key, |(at, _)| at.trim_end_matches('.'))
            }).collect();
            names.dedup();
            names
        }
    };
}

/// A table of settings.
pub(super) trait Table {
    /// The table as it is parsed.
    type Written;
    /// Its rows.
    const SETTINGS: &'static [Setting];

    /// The keys of the settings that need a restart.
    fn held() -> impl Iterator<Item = &'static str> {
        Self::SETTINGS.iter().filter(|setting| setting.needs_restart).map(|setting| setting.key)
    }
}

/// How a setting is called in the file.
macro_rules! name {
    (r#match) => {
        "match"
    };
    ($field:ident) => {
        stringify!($field)
    };
}

macro_rules! raw_type {
    ((required), $raw:ty) => { $raw };
    ($default:tt, $raw:ty) => { Option<$raw> };
}

macro_rules! value_type {
    ((required), $($type:tt)*) => { value_type!($($type)*) };
    ((overridable), $($type:tt)*) => { value_type!($($type)*) };
    (($($words:literal)?), $($type:tt)*) => { Option<value_type!($($type)*)> };
    ($default:tt, $($type:tt)*) => { value_type!($($type)*) };
    ($raw:ty as $value:ty) => { $value };
    ($raw:ty) => { $raw };
}

macro_rules! value {
    ((required), $written:expr, $raw:ty) => {
        $written.into()
    };
    ((overridable), $written:expr, $raw:ty) => {
        $written.ok_or(Missing)?.into()
    };
    (($($words:literal)?), $written:expr, $raw:ty) => {
        $written.map(Into::into)
    };
    ([], $written:expr, $raw:ty) => {
        $written.unwrap_or_default().into()
    };
    ($default:tt, $written:expr, $raw:ty) => {
        $written.unwrap_or_else(|| written::<$raw>(stringify!($default))).into()
    };
}

macro_rules! default_text {
    ((required)) => {
        "required"
    };
    ((overridable)) => {
        "required"
    };
    (()) => {
        ""
    };
    (($words:literal)) => {
        $words
    };
    ($default:tt) => {
        concat!("`", stringify!($default), "`")
    };
}

macro_rules! needs_restart {
    (restart) => {
        true
    };
    (reload) => {
        false
    };
}

macro_rules! digest {
    (local, $($_:tt)*) => {};
    (replicated, $key:expr, $value:expr, $all:ident, $contents:ident) => {
        $all.add($key.as_bytes());
        $all.add(&Meaning::bytes(&$value));
    };
    (secret, $key:expr, $value:expr, $all:ident, $contents:ident) => {
        $all.add($key.as_bytes());
        $all.add(&count($value.as_ref()));
    };
    (contents, $key:expr, $value:expr, $all:ident, $contents:ident) => {
        $all.add($key.as_bytes());
        if let Some(path) = &$value {
            $contents(path.get_ref(), $all);
        }
    };
}

macro_rules! hold {
    (reload, $($_:tt)*) => {};
    (restart, $key:expr, $new:expr, $running:expr, $changed:ident) => {
        if $new != $running {
            $changed.push($key);
            $new = $running.clone();
        }
    };
}

pub(super) use {default_text, digest, hold, name, needs_restart, raw_type, settings, value, value_type};
