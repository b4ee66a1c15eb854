//! The signed list, for verifiers that check tokens offline.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::{Entry, Kind};
use crate::clock::Timestamp;
use crate::crypto::NoRandomness;
use crate::keys::{Key, Purpose};

/// Maximum entries in a signed list.
pub const MAX_SIGNED: usize = 10_000;

/// The entries of a list that still matter, by kind and id; none if there are more than
/// [`MAX_SIGNED`].
#[derive(Debug, Clone)]
pub(super) struct Relevant {
    entries: Option<BTreeMap<(Kind, Box<str>), Timestamp>>,
    now: Timestamp,
    longest: i64,
}

impl Default for Relevant {
    fn default() -> Self {
        Self::at(Timestamp::default(), 0)
    }
}

impl Relevant {
    /// Starts a collection of those that matter at `now`, if a session can last `longest` seconds.
    pub(super) fn at(now: Timestamp, longest: i64) -> Self {
        Self { entries: Some(BTreeMap::new()), now, longest }
    }

    pub(super) fn add(&mut self, entry: &Entry<'_>) {
        if entry.ends(self.longest) <= self.now {
            return;
        }
        let Some(entries) = &mut self.entries else { return };
        let at = entries.entry((entry.kind, entry.id.into())).or_insert(entry.at);
        *at = entry.at.max(*at);
        if entries.len() > MAX_SIGNED {
            self.entries = None;
        }
    }

    /// Returns the entries of both, or its own if those are too many; of two with the same name the
    /// later instant counts.
    pub(super) fn extended_by(&self, other: &Self) -> Self {
        let mut all = self.clone();
        for ((kind, id), at) in other.entries.iter().flatten() {
            all.add(&Entry { kind: *kind, id, at: *at });
        }
        if all.can_be_signed() { all } else { self.clone() }
    }

    /// Whether they are few enough to be listed.
    pub(super) fn can_be_signed(&self) -> bool {
        self.entries.is_some()
    }

    /// Signs a JWT of those that matter when it is issued. None if there are too many.
    pub(super) fn signed(&self, key: &Key, head: Head<'_>, longest: i64) -> Option<Result<String, NoRandomness>> {
        let entries = self.entries.as_ref()?;
        let current = entries.iter().filter_map(|((kind, id), at)| {
            let entry = Entry { kind: *kind, id, at: *at };
            (entry.ends(longest) > head.issued).then_some(entry)
        });
        let mut revoked = Revoked::default();
        for Entry { kind, id, at } in current {
            match kind {
                Kind::Jti => revoked.jti.push(id),
                Kind::Session => revoked.session.push(id),
                Kind::Client => _ = revoked.client.insert(id, at),
                Kind::Subject => _ = revoked.subject.insert(id, at),
            }
        }
        let claims = Claims { iss: head.issuer, iat: head.issued, exp: head.expires, revoked };
        #[expect(clippy::expect_used, reason = "strings and numbers")]
        let json = serde_json::to_vec(&claims).expect("JSON");
        let message = format!("{}.{}", key.header(Purpose::Revocations), URL_SAFE_NO_PAD.encode(json));
        let signature = key.sign(Purpose::Revocations, message.as_bytes());
        Some(signature.map(|signature| format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

/// The head of a signed list: its issuer, when it was issued, and until when verifiers may trust
/// it.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `iat`.
    pub issued: Timestamp,
    /// `exp`.
    pub expires: Timestamp,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: Timestamp,
    exp: Timestamp,
    revoked: Revoked<'a>,
}

/// The claim `revoked`: for each kind ids, or ids with their `before`.
#[derive(Serialize, Default)]
struct Revoked<'a> {
    jti: Vec<&'a str>,
    session: Vec<&'a str>,
    client: BTreeMap<&'a str, Timestamp>,
    subject: BTreeMap<&'a str, Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_union_that_is_too_long_leaves_its_own() {
        let now = Timestamp::from_unix(1_780_315_200);
        let of = |prefix: &str, count: usize| {
            let mut all = Relevant::at(now, 0);
            for number in 0..count {
                all.add(&Entry { kind: Kind::Jti, id: &format!("{prefix}{number}"), at: now.plus(60) });
            }
            all
        };
        let count = |all: &Relevant| all.entries.as_ref().map(BTreeMap::len);
        let newer = of("a", 6_000);
        assert_eq!(count(&newer.extended_by(&of("b", 4_000))), Some(MAX_SIGNED));
        assert_eq!(count(&newer.extended_by(&of("b", 4_001))), Some(6_000));
        assert_eq!(count(&newer.extended_by(&of("b", MAX_SIGNED + 1))), Some(6_000));
        assert_eq!(count(&of("a", MAX_SIGNED + 1).extended_by(&newer)), None);
    }
}
