//! One entry of the list: parses and formats a line.

use std::fmt;

use crate::clock::Timestamp;
use crate::token::{ClientId, SessionId, Subject, is_random_id};

/// What an entry ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One access token.
    Jti,
    /// A session with all its tokens.
    Session,
    /// A client's tokens and sessions that began before an instant.
    Client,
    /// A subject's tokens and sessions that began before an instant.
    Subject,
}

impl Kind {
    /// Every kind, in the order of array indices.
    pub const ALL: [Self; 4] = [Self::Jti, Self::Session, Self::Client, Self::Subject];

    /// Returns the word at the beginning of a line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Jti => "jti",
            Self::Session => "session",
            Self::Client => "client",
            Self::Subject => "subject",
        }
    }

    /// Returns the log's word for a token that such an entry ends.
    #[must_use]
    pub const fn cause(self) -> &'static str {
        match self {
            Self::Jti => "revoked_token",
            Self::Session => "revoked_session",
            Self::Client => "revoked_client",
            Self::Subject => "revoked_subject",
        }
    }

    /// Whether the entry's instant is a `before`, not an `until`.
    pub(super) const fn has_before(self) -> bool {
        matches!(self, Self::Client | Self::Subject)
    }

    /// Checks the form of an id.
    ///
    /// # Errors
    /// What would be right.
    pub fn accepts(self, id: &str) -> Result<(), String> {
        let (right, expected) = match self {
            Self::Jti => (is_random_id(id), "a token's id: 22 base64url characters"),
            Self::Session => (SessionId::parse(id).is_some(), SessionId::EXPECTED),
            Self::Client => (ClientId::parse(id).is_some(), ClientId::EXPECTED),
            Self::Subject => (Subject::parse(id).is_some(), Subject::EXPECTED),
        };
        if right { Ok(()) } else { Err(format!("expected {expected}")) }
    }
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'l> {
    /// What it ends.
    pub kind: Kind,
    /// The id that it names.
    pub id: &'l str,
    /// Until when it matters, or the instant that sessions must have begun before.
    pub at: Timestamp,
}

impl<'l> Entry<'l> {
    /// Parses a line without its newline. None for comments and empty lines.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(line: &'l str) -> Result<Option<Self>, String> {
        let mut fields = line.split([' ', '\t']).filter(|field| !field.is_empty());
        let Some(word) = fields.next().filter(|word| !word.starts_with('#')) else { return Ok(None) };
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word);
        let kind = kind.ok_or("expected a line that begins with jti, session, client or subject")?;
        let id = fields.next().ok_or_else(|| format!("expected an id after {word}"))?;
        kind.accepts(id)?;
        if kind.has_before() && fields.next() != Some("before") {
            return Err(format!("expected {word} {id} before an instant"));
        }
        let at = fields.next().and_then(Timestamp::parse_rfc3339);
        let at = at.ok_or("expected an instant in UTC such as 2026-11-22T00:00:00Z at the end of the line")?;
        if fields.next().is_some() {
            return Err("expected nothing after the instant".to_owned());
        }
        Ok(Some(Self { kind, id, at }))
    }
}

impl Entry<'_> {
    /// Returns when it stops mattering, if a session can last `longest` seconds.
    #[must_use]
    pub fn ends(&self, longest: i64) -> Timestamp {
        if self.kind.has_before() { self.at.plus(longest) } else { self.at }
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, at } = self;
        let before = if kind.has_before() { "before " } else { "" };
        write!(f, "{} {id} {before}{}", kind.word(), at.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JTI: &str = "AAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn lines() {
        let until = Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").unwrap();
        for (line, kind, id) in [
            (format!("jti {JTI} 2026-11-22T00:00:00Z"), Kind::Jti, JTI.to_owned()),
            (format!("  session \t 17.{JTI}  2026-11-22T00:00:00Z "), Kind::Session, format!("17.{JTI}")),
            ("client orders before 2026-11-22T00:00:00Z".to_owned(), Kind::Client, "orders".to_owned()),
            ("subject user:7 before 2026-11-22T00:00:00Z".to_owned(), Kind::Subject, "user:7".to_owned()),
        ] {
            let entry = Entry::parse(&line).unwrap().unwrap();
            assert_eq!(entry, Entry { kind, id: &id, at: until });
            assert_eq!(Entry::parse(&entry.to_string()).unwrap(), Some(entry));
        }
        for nothing in ["", " ", "\t", "# jti", "  # x"] {
            assert_eq!(Entry::parse(nothing), Ok(None), "{nothing:?}");
        }
        for wrong in [
            "x",
            "jti",
            "JTI AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z",
            "jti AAAAAAAAAAAAAAAAAAAAAA",
            "jti AAAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z",
            "jti AAAAAAAAAAAAAAAAAAAAAA before 2026-11-22T00:00:00Z",
            "jti AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z x",
            "jti AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z # why",
            "jti AAAAAAAAAAAAAAAAAAAAAA 2026-11-22",
            "jti AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00+01:00",
            "session AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z",
            "client orders 2026-11-22T00:00:00Z",
            "client a/b before 2026-11-22T00:00:00Z",
            "client orders after 2026-11-22T00:00:00Z",
            "subject user:7 before",
            "subject é before 2026-11-22T00:00:00Z",
            "jti\u{a0}AAAAAAAAAAAAAAAAAAAAAA 2026-11-22T00:00:00Z",
        ] {
            assert!(Entry::parse(wrong).is_err(), "{wrong}");
        }
    }
}
