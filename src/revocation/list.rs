//! The list in memory: a million entries in 23 MiB, and lookups of some tens of instructions.
//!
//! An entry is a keyed 126-bit fingerprint of its kind and id, its kind, and an instant. Entries
//! are sorted, and an index of their first 16 bits narrows a lookup to a dozen. The keys are random
//! and this process's own, so nobody can choose ids that collide.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use super::signed::{Head, Relevant};
use super::{Entry, Kind};
use crate::clock::Timestamp;
use crate::crypto::NoRandomness;
use crate::keys::Key;
use crate::token::{AccessClaims, Actor, ClientId, RefreshClaims, Session, SessionId, Subject};

/// Maximum number of entries.
pub const MAX_ENTRIES: usize = 2_000_000;

/// Two halves; the lowest two bits are the kind.
type Fingerprint = (u64, u64);

fn fingerprint(kind: Kind, id: &str) -> Fingerprint {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    let [high, low] = KEYS.each_ref().map(|key| key.hash_one((kind as u8, id)));
    (high, low & !3 | kind as u64)
}

fn kind((_, low): Fingerprint) -> Kind {
    match low & 3 {
        0 => Kind::Jti,
        1 => Kind::Session,
        2 => Kind::Client,
        _ => Kind::Subject,
    }
}

/// Seconds since 1970 in 32 bits; later than 2106 saturates.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.unix().max(0)).unwrap_or(u32::MAX)
}

/// The fingerprints of a token's names, computed once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Box<[Fingerprint]>);

impl Marks {
    /// Computes the marks of an access token.
    #[must_use]
    pub fn of_access(claims: &AccessClaims) -> Self {
        let names = names(claims.session.as_ref(), &claims.client, &claims.subject);
        Self::of(token_id(&claims.id).chain(names).chain(actors(claims.actor.as_ref())))
    }

    /// Computes the marks of a refresh token.
    #[must_use]
    pub fn of_refresh(claims: &RefreshClaims) -> Self {
        let session = &claims.session;
        Self::of(token_id(&claims.id).chain(names(session.id.as_ref(), &session.client, &session.subject)))
    }

    /// Computes the marks that every access token of a session has.
    #[must_use]
    pub fn of_session(session: &Session) -> Self {
        let names = names(session.id.as_ref(), &session.client, &session.subject);
        Self::of(names.chain(actors(session.actor.as_ref())))
    }

    /// Computes the marks of these names.
    #[must_use]
    pub fn of<'t>(names: impl IntoIterator<Item = (Kind, &'t str)>) -> Self {
        Self(names.into_iter().map(|(kind, id)| fingerprint(kind, id)).collect())
    }
}

/// A client or subject under both kinds: they share one namespace.
fn identity(name: &str) -> [(Kind, &str); 2] {
    [(Kind::Client, name), (Kind::Subject, name)]
}

fn token_id(id: &str) -> impl Iterator<Item = (Kind, &str)> {
    std::iter::once((Kind::Jti, id))
}

fn actors(chain: Option<&Actor>) -> impl Iterator<Item = (Kind, &str)> {
    chain.into_iter().flat_map(Actor::iter).flat_map(|actor| identity(actor.as_str()))
}

/// Returns every name by which an entry may end a token, except its id and its actors. A client's
/// id is also its subject and no one else's, so lines of either kind match it.
fn names<'t>(
    session: Option<&'t SessionId>,
    client: &'t ClientId,
    subject: &'t Subject,
) -> impl Iterator<Item = (Kind, &'t str)> {
    let session = session.map(|id| (Kind::Session, id.as_str()));
    let (client, subject) = (client.as_str(), subject.as_str());
    let identities = std::iter::once(client).chain((client != subject).then_some(subject));
    session.into_iter().chain(identities.flat_map(identity))
}

/// Why a line is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct LineError {
    /// The line's number, from 1.
    pub line: usize,
    /// What would be right.
    pub message: String,
}

/// Builds a list line by line.
#[derive(Debug, Default)]
pub struct Builder {
    entries: Vec<(u64, u64, u32)>,
    counts: [usize; Kind::ALL.len()],
    relevant: Relevant,
}

impl Builder {
    /// Starts a list that is read at `now`, if a session can last `longest` seconds.
    #[must_use]
    pub fn at(now: Timestamp, longest: i64) -> Self {
        Self { relevant: Relevant::at(now, longest), ..Self::default() }
    }

    /// Adds the line `text`, whose number in its file is `line`.
    ///
    /// # Errors
    /// The line is malformed, or the list is full.
    pub fn add(&mut self, line: usize, text: &str) -> Result<(), LineError> {
        let error = |message| LineError { line, message };
        if let Some(entry) = Entry::parse(text).map_err(error)? {
            let Entry { kind, id, at } = entry;
            if self.entries.len() == MAX_ENTRIES {
                return Err(error(format!(
                    "expected at most {MAX_ENTRIES} entries; `lingpai revoke --prune` drops old ones"
                )));
            }
            let (high, low) = fingerprint(kind, id);
            self.entries.push((high, low, seconds(at)));
            if let Some(count) = self.counts.get_mut(kind as usize) {
                *count += 1;
            }
            self.relevant.add(&entry);
        }
        Ok(())
    }

    /// Returns the list.
    #[must_use]
    pub fn finish(self) -> Revocations {
        let Self { entries, counts, relevant } = self;
        Revocations::of(entries, counts, relevant)
    }
}

const BUCKETS: usize = 1 << 16;

fn bucket(high: u64) -> usize {
    let [first, second, ..] = high.to_be_bytes();
    u16::from_be_bytes([first, second]).into()
}

/// Entries that a list lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: usize,
    /// A sum of their fingerprints, to tell them from as many others.
    which: u64,
}

impl Lost {
    /// Whether others are lost than `before`, and not fewer.
    #[must_use]
    pub fn exceeds(self, before: Self) -> bool {
        self != before && self.count >= before.count
    }
}

/// Two lists have more than [`MAX_ENTRIES`] entries together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// A list, ready for lookups.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Fingerprints and instants, sorted.
    entries: Box<[(u64, u64, u32)]>,
    /// For each value of the first 16 bits, where its fingerprints start; empty for an empty list.
    index: Box<[u32]>,
    counts: [usize; Kind::ALL.len()],
    relevant: Relevant,
}

impl Revocations {
    fn of(mut entries: Vec<(u64, u64, u32)>, counts: [usize; Kind::ALL.len()], relevant: Relevant) -> Self {
        entries.sort_unstable();
        // Of two entries with the same name, the later instant counts.
        entries.dedup_by(|later, earlier| {
            let same = (later.0, later.1) == (earlier.0, earlier.1);
            if same {
                earlier.2 = later.2;
            }
            same
        });
        let mut index = vec![0; BUCKETS + 1].into_boxed_slice();
        for (high, ..) in &entries {
            if let Some(next) = index.get_mut(bucket(*high) + 1) {
                *next += 1;
            }
        }
        let mut sum = 0;
        for start in &mut index {
            sum += *start;
            *start = sum;
        }
        Self { entries: entries.into(), index, counts, relevant }
    }

    /// Returns a list with the entries of both; of two with the same name the later instant counts.
    /// None if `newer` adds nothing.
    ///
    /// # Errors
    /// [`TooMany`] for more than [`MAX_ENTRIES`] entries.
    pub fn extended_by(&self, newer: &Self) -> Result<Option<Self>, TooMany> {
        let added = newer.entries.iter().filter(|(high, low, at)| self.find((*high, *low)).is_none_or(|own| own < *at));
        let added: Vec<_> = added.copied().collect();
        if added.is_empty() {
            return Ok(None);
        }
        if self.entries.len() + added.len() > MAX_ENTRIES {
            return Err(TooMany);
        }
        let mut counts = self.counts;
        for (high, low, _) in &added {
            if let Some(count) = counts.get_mut(kind((*high, *low)) as usize) {
                *count += 1;
            }
        }
        let entries = [&*self.entries, &added].concat();
        Ok(Some(Self::of(entries, counts, newer.relevant.extended_by(&self.relevant))))
    }

    /// Whether an entry ends every token that `(high, low, at)` ends.
    fn covers(&self, &(high, low, at): &(u64, u64, u32)) -> bool {
        let has_before = kind((high, low)).has_before();
        self.find((high, low)).is_some_and(|own| !has_before || own >= at)
    }

    /// Returns the kind of entry that ends a token with these `marks` whose session began at
    /// `began`, if any.
    #[must_use]
    pub fn end(&self, marks: &Marks, began: Timestamp) -> Option<Kind> {
        let ends = |mark: &Fingerprint| {
            let kind = kind(*mark);
            let has_some = self.counts.get(kind as usize).is_some_and(|count| *count > 0);
            let at = has_some.then(|| self.find(*mark)).flatten()?;
            (!kind.has_before() || seconds(began) < at).then_some(kind)
        };
        marks.0.iter().find_map(ends)
    }

    fn find(&self, (high, low): Fingerprint) -> Option<u32> {
        let bucket = bucket(high);
        let range = *self.index.get(bucket)? as usize..*self.index.get(bucket + 1)? as usize;
        let entries = self.entries.get(range)?;
        // One comparison per step; equal first halves are as rare as 64-bit collisions.
        let first = entries.partition_point(|entry| entry.0 < high);
        let mut alike = entries.get(first..)?.iter().take_while(|entry| entry.0 == high);
        alike.find(|entry| entry.1 == low).map(|entry| entry.2)
    }

    /// Returns the entries that still matter at `now` and are missing from `new`: those whose instant
    /// is ahead, and `before` entries as long as a session of `longest` seconds can still run, which
    /// are also missing where `new` has an earlier instant.
    #[must_use]
    pub fn lost(&self, new: &Self, now: Timestamp, longest: i64) -> Lost {
        let longest = u32::try_from(longest).unwrap_or(u32::MAX);
        let matters = |name: Fingerprint, at: u32| {
            let until = if kind(name).has_before() { at.saturating_add(longest) } else { at };
            until > seconds(now)
        };
        let missing = |entry: &&(u64, u64, u32)| matters((entry.0, entry.1), entry.2) && !new.covers(entry);
        self.entries.iter().filter(missing).fold(Lost::default(), |lost, (high, low, at)| Lost {
            count: lost.count + 1,
            which: lost.which ^ high ^ low.rotate_left(32) ^ u64::from(*at),
        })
    }

    /// Signs the entries that matter at its issue as a JWT (`typ` `revocations+jwt`), if a session
    /// can last `longest` seconds. None for more than [`MAX_SIGNED`](super::MAX_SIGNED) entries.
    #[must_use]
    pub fn signed(&self, key: &Key, head: Head<'_>, longest: i64) -> Option<Result<String, NoRandomness>> {
        self.relevant.signed(key, head, longest)
    }

    /// Whether few enough entries mattered at load time for the signed form.
    #[must_use]
    pub fn can_be_signed(&self) -> bool {
        self.relevant.can_be_signed()
    }

    /// Returns the number of entries of each kind.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, usize)> + use<> {
        Kind::ALL.into_iter().zip(self.counts)
    }

    /// Returns the number of distinct entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[&str]) -> Revocations {
        let mut builder = Builder::default();
        for (number, line) in lines.iter().enumerate() {
            builder.add(number + 1, line).unwrap();
        }
        builder.finish()
    }

    fn jti(number: u128) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(number.to_be_bytes())
    }

    #[test]
    fn tokens_are_found() {
        let now = Timestamp::from_unix(1_780_315_200);
        let lines: Vec<_> = (0..10_000).map(|n| format!("jti {} 2026-11-22T00:00:00Z", jti(n))).collect();
        let all = list(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(all.len(), 10_000);
        let mark = |kind, id: &str| Marks::of([(kind, id)]);
        for number in [0, 1, 77, 9_999] {
            assert_eq!(all.end(&mark(Kind::Jti, &jti(number)), now), Some(Kind::Jti));
        }
        for number in 10_000..20_000 {
            assert_eq!(all.end(&mark(Kind::Jti, &jti(number)), now), None);
        }
        // The same id under another kind is a different name.
        assert_eq!(all.end(&mark(Kind::Subject, &jti(1)), now), None);
        assert_eq!(Revocations::default().end(&mark(Kind::Jti, &jti(1)), now), None);
    }

    #[test]
    fn before_an_instant() {
        let all = list(&["client orders before 2026-06-01T12:00:00Z", "subject user:7 before 2026-06-01T12:00:00Z"]);
        let at = |seconds: i64| Timestamp::from_unix(1_780_315_200 + seconds);
        for (kind, name) in [(Kind::Client, "orders"), (Kind::Subject, "user:7")] {
            let marks = Marks::of([(Kind::Jti, "x"), (kind, name)]);
            assert_eq!(all.end(&marks, at(-1)), Some(kind));
            assert_eq!(all.end(&marks, at(0)), None);
        }
        assert_eq!(all.end(&Marks::of([(Kind::Client, "user:7"), (Kind::Subject, "orders")]), at(-1)), None);
        // The later of two counts, and an instant beyond 2106 does not wrap around.
        let two = list(&["client a before 2026-06-01T12:00:00Z", "client a before 2126-06-01T12:00:00Z"]);
        assert_eq!(two.end(&Marks::of([(Kind::Client, "a")]), at(3_600)), Some(Kind::Client));
        assert_eq!((two.len(), two.counts().map(|(_, count)| count).sum::<usize>()), (1, 2));
    }

    #[test]
    fn the_union_of_two_lists() {
        let now = Timestamp::from_unix(1_780_315_200);
        let until = "2026-11-22T00:00:00Z";
        let [early, late] = ["client a before 2026-06-01T11:00:00Z", "client a before 2026-06-01T13:00:00Z"];
        let before = list(&[&format!("jti {} {until}", jti(1)), early]);
        let newer = list(&[&format!("jti {} {until}", jti(2)), late]);
        for both in [before.extended_by(&newer).unwrap().unwrap(), newer.extended_by(&before).unwrap().unwrap()] {
            for (kind, id) in [(Kind::Jti, jti(1)), (Kind::Jti, jti(2)), (Kind::Client, "a".to_owned())] {
                assert_eq!(both.end(&Marks::of([(kind, &*id)]), now), Some(kind), "{id}");
            }
            assert_eq!(both.end(&Marks::of([(Kind::Jti, &*jti(3))]), now), None);
            assert_eq!(both.len(), 3);
            assert!([&before, &newer].iter().all(|one| matches!(both.extended_by(one), Ok(None))));
        }
        let all: Vec<_> = (0..MAX_ENTRIES as u64).map(|number| (number << 40, 0, 0)).collect();
        let full = Revocations::of(all, [0; 4], Relevant::default());
        assert!(matches!(full.extended_by(&newer), Err(TooMany)) && matches!(newer.extended_by(&full), Err(TooMany)));
    }

    #[test]
    fn what_got_lost() {
        let now = Timestamp::parse_rfc3339("2026-06-01T12:00:00Z").unwrap();
        let [old, new] = ["2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"];
        let before = list(&[&format!("jti {} {old}", jti(1)), &format!("jti {} {new}", jti(2))]);
        let lost = |before: &Revocations, after: &Revocations| before.lost(after, now, 86_400).count;
        assert_eq!(lost(&before, &Revocations::default()), 1);
        assert_eq!(lost(&before, &list(&[&format!("jti {} {old}", jti(2))])), 0);
        // A session that began before the instant can last another day.
        let clients = ["2026-05-31T12:00:00Z", "2026-05-31T12:00:01Z", "2026-06-02T00:00:00Z"];
        for (at, expected) in clients.into_iter().zip([0, 1, 1]) {
            let before = list(&[&format!("client orders before {at}")]);
            assert_eq!(lost(&before, &Revocations::default()), expected, "{at}");
        }
        let [early, late] =
            ["client a before 2026-06-01T11:00:00Z", "client a before 2026-06-01T11:30:00Z"].map(|a| list(&[a]));
        assert_eq!([lost(&late, &early), lost(&early, &late)], [1, 0], "the later instant ends more sessions");
    }
}
