//! The schedule: which key signs, verifies and is published at a given instant.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use arc_swap::ArcSwapOption;
use std::sync::Arc;

use super::jwks::Jwks;
use super::nonce::{self, Nonce};
use super::{Alg, Key, KeyError, KeyName, Kid, Purpose};
use crate::clock::Timestamp;
use crate::crypto::Digester;

/// What the configuration says about keys.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The algorithms that sign: the service's, and those of individual clients.
    pub algorithms: BTreeSet<Alg>,
    /// Keys that count as absent.
    pub revoked: Vec<Kid>,
    /// Seconds after its successor's instant that a key verifies access tokens
    /// and is published: the longest access lifetime, and the leeway.
    pub access_window: i64,
    /// The same for refresh tokens.
    pub refresh_window: i64,
}

/// What a key does at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It will sign; it is published and verifies already.
    Upcoming,
    /// It signs.
    Signing,
    /// It no longer signs, but what it signed is still accepted.
    Retiring,
    /// Nothing that it signed is accepted any more, so it may be deleted.
    Retired,
    /// It is listed in `[keys] revoked` and counts as absent.
    Revoked,
}

impl State {
    /// Every state, in the order of a key's life.
    pub const ALL: [Self; 5] = [Self::Upcoming, Self::Signing, Self::Retiring, Self::Retired, Self::Revoked];

    /// The state's word, as `keys list` shows it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Upcoming => "upcoming",
            Self::Signing => "signing",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

pub(super) struct Entry {
    pub(super) key: Key,
    /// When the next key of the same algorithm starts to sign.
    pub(super) until: Option<Timestamp>,
}

impl Entry {
    pub(super) fn is_retired(&self, longest_window: i64, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until.plus(longest_window) <= now)
    }
}

/// A key and its state at an instant.
#[derive(Debug, Clone, Copy)]
pub struct Scheduled<'a> {
    /// The key.
    pub key: &'a Key,
    /// What it does.
    pub state: State,
    /// When its successor starts to sign, if there is one.
    pub signs_until: Option<Timestamp>,
    /// When it leaves the JWKS, and the last access token that it signed expires.
    pub published_until: Option<Timestamp>,
    /// When the last token of any kind that it signed expires.
    pub verifies_until: Option<Timestamp>,
}

/// An immutable set of keys and their schedule.
pub struct KeyRing {
    pub(super) plan: Plan,
    /// By instant, then by algorithm: the order of the JWKS.
    pub(super) entries: Vec<Entry>,
    pub(super) revoked: Vec<Key>,
    /// Keys that are in the folder and have retired: all that is kept of them.
    pub(super) retired: Vec<(KeyName, Kid)>,
    /// Keys that were in the folder.
    pub(super) departed: Vec<Kid>,
    /// Places in `entries`, by instant.
    by_alg: BTreeMap<Alg, Vec<usize>>,
    /// The entry whose header it is; None for a revoked key's.
    by_header: HashMap<String, (Purpose, Option<usize>)>,
    jwks: ArcSwapOption<Jwks>,
    /// The nonce that was offered last.
    nonce: ArcSwapOption<Nonce>,
    digest: [u8; 32],
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.entries.len()).finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The schedule of `keys`, which were read from `folder`.
    ///
    /// # Errors
    /// An algorithm of the plan for which no key would sign at `now`.
    pub fn new(keys: Vec<Key>, plan: Plan, folder: &Path, now: Timestamp) -> Result<Self, KeyError> {
        let mut ring = Self::lenient(keys, plan);
        ring.forget_retired(now);
        match ring.plan.algorithms.iter().find(|alg| ring.signer(**alg, now).is_none()) {
            None => Ok(ring),
            Some(alg) => Err(KeyError::new(folder, ring.why_none_signs(*alg, folder, now))),
        }
    }

    fn why_none_signs(&self, alg: Alg, folder: &Path, now: Timestamp) -> String {
        let name = alg.name();
        let add = match alg {
            Alg::Rs256 => {
                "make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out FILE` and `lingpai keys \
                 import FILE`"
                    .to_owned()
            }
            _ => format!("make one with `lingpai keys new --alg {name}`"),
        };
        if self.revoked.iter().any(|key| key.name().alg == alg && key.name().from <= now) {
            return format!("`revoked` lists every {name} key that could sign; {add} first");
        }
        match self.of(alg).next() {
            Some(first) => format!(
                "holds no {name} key that signs now: the first is {}, and this machine's clock says {now}; put an earlier \
                 key back if one is missing, or set the clock if it is wrong; in an emergency, `lingpai keys rotate --now`",
                first.key.name()
            ),
            None if folder.exists() => format!("holds no {name} key that signs now; {add}"),
            None => {
                format!("holds no {name} key that signs now, because the folder does not exist; put it back, or {add}")
            }
        }
    }

    /// The same, but no key needs to sign now: for inspecting a folder.
    #[must_use]
    pub fn lenient(mut keys: Vec<Key>, plan: Plan) -> Self {
        keys.sort_by_key(|key| (key.name().from, key.name().alg.name()));
        let mut digest = Digester::default();
        for key in &keys {
            digest.add(key.name().to_string().as_bytes());
            digest.add(key.kid().as_str().as_bytes());
        }
        let (revoked, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| plan.revoked.contains(key.kid()));
        let mut successor = HashMap::new();
        let mut entries: Vec<_> = keys
            .into_iter()
            .rev()
            .map(|key| Entry { until: successor.insert(key.name().alg, key.name().from), key })
            .collect();
        entries.reverse();
        let mut ring = Self {
            plan,
            entries,
            revoked,
            retired: Vec::new(),
            departed: Vec::new(),
            by_alg: BTreeMap::new(),
            by_header: HashMap::new(),
            jwks: ArcSwapOption::empty(),
            nonce: ArcSwapOption::empty(),
            digest: digest.finish(),
        };
        ring.index();
        ring
    }

    /// Drops keys from which nothing is accepted any more.
    fn forget_retired(&mut self, now: Timestamp) {
        let longest = self.longest_window();
        let (retired, mut kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.is_retired(longest, now));
        self.retired.extend(retired.into_iter().map(|entry| (entry.key.name(), entry.key.kid().clone())));
        kept.shrink_to_fit();
        self.entries = kept;
        self.index();
    }

    fn index(&mut self) {
        self.by_alg.clear();
        self.by_header = HashMap::with_capacity(Purpose::ALL.len() * self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            self.by_alg.entry(entry.key.name().alg).or_default().push(at);
            for purpose in Purpose::ALL {
                self.by_header.insert(entry.key.header(purpose).to_owned(), (purpose, Some(at)));
            }
        }
        for key in &self.revoked {
            for purpose in Purpose::ALL {
                self.by_header.insert(key.header(purpose).to_owned(), (purpose, None));
            }
        }
    }

    /// Whether a key has retired since the ring was made.
    #[must_use]
    pub fn holds_retired(&self, now: Timestamp) -> bool {
        self.entries.iter().any(|entry| entry.is_retired(self.longest_window(), now))
    }

    /// Returns the number of keys in the folder.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() + self.revoked.len() + self.retired.len()
    }

    /// Whether the folder has no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a digest of the names and ids of all keys in the folder, equal on
    /// replicas with the same keys.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Returns the key of the algorithm `alg` that signs at `now`: the newest whose
    /// instant has come.
    #[must_use]
    pub fn signer(&self, alg: Alg, now: Timestamp) -> Option<&Key> {
        let places = self.by_alg.get(&alg)?;
        let from = |at: &usize| self.entries.get(*at).map(|entry| entry.key.name().from);
        let come = places.partition_point(|at| from(at).is_some_and(|from| from <= now));
        let newest = places.get(come.checked_sub(1)?)?;
        self.entries.get(*newest).map(|entry| &entry.key)
    }

    /// Whether a key of every algorithm of the plan signs at `now`.
    #[must_use]
    pub fn signs(&self, now: Timestamp) -> bool {
        self.plan.algorithms.iter().all(|alg| self.signer(*alg, now).is_some())
    }

    /// Returns the files and ids of the keys that sign at `now`.
    #[must_use]
    pub fn signing(&self, now: Timestamp) -> Vec<String> {
        let signers = self.plan.algorithms.iter().filter_map(|alg| self.signer(*alg, now));
        signers.map(|key| format!("{} {}", key.name(), key.kid())).collect()
    }

    /// Whether any token is signed with `alg`.
    #[must_use]
    pub fn uses(&self, alg: Alg) -> bool {
        self.plan.algorithms.contains(&alg)
    }

    /// Returns when the newest key of the algorithm `alg` starts to sign, or started, if any
    /// token is signed with it.
    #[must_use]
    pub fn newest(&self, alg: Alg) -> Option<Timestamp> {
        self.of(alg).last().filter(|_| self.uses(alg)).map(|entry| entry.key.name().from)
    }

    pub(super) fn of(&self, alg: Alg) -> impl Iterator<Item = &Entry> {
        self.by_alg.get(&alg).into_iter().flatten().filter_map(|at| self.entries.get(*at))
    }

    /// Returns the key whose header segment for some purpose is exactly `header`. It
    /// may no longer verify: see [`Verifier::accepts`].
    #[must_use]
    pub fn find(&self, header: &str) -> Option<Verifier<'_>> {
        let (purpose, at) = *self.by_header.get(header)?;
        let entry = at.and_then(|at| self.entries.get(at));
        Some(Verifier { purpose, entry, window: self.window(purpose) })
    }

    /// Returns the keys that verify access tokens at `now` or later, in the order of the JWKS.
    pub fn published(&self, now: Timestamp) -> impl Iterator<Item = &Key> {
        let published = move |entry: &&Entry| self.end_of_publishing(entry).is_none_or(|end| now < end);
        self.entries.iter().filter(published).map(|entry| &entry.key)
    }

    fn end_of_publishing(&self, entry: &Entry) -> Option<Timestamp> {
        Some(entry.until?.plus(self.plan.access_window))
    }

    /// Returns the published keys at `now`. The bytes are rebuilt only when a key has
    /// left the set.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Arc<Jwks> {
        if let Some(jwks) = self.jwks.load().as_ref().filter(|jwks| jwks.holds_at(now)) {
            return Arc::clone(jwks);
        }
        let ends = |entry: &Entry| self.end_of_publishing(entry);
        let jwks = Arc::new(Jwks::new(
            self.published(now).map(Key::jwk),
            self.entries.iter().filter_map(ends).filter(|end| *end <= now).max(),
            self.entries.iter().filter_map(ends).filter(|end| *end > now).min(),
        ));
        self.jwks.store(Some(Arc::clone(&jwks)));
        jwks
    }

    /// Returns the nonce for a DPoP proof at `now`, which is computed once for each step and signer.
    /// None if no key signs.
    #[must_use]
    pub fn nonce(&self, now: Timestamp) -> Option<Arc<Nonce>> {
        let signer = self.plan.algorithms.iter().find_map(|alg| self.signer(*alg, now))?;
        if let Some(nonce) = self.nonce.load().as_ref().filter(|nonce| nonce.is_of(signer, now)) {
            return Some(Arc::clone(nonce));
        }
        let nonce = Arc::new(Nonce::new(signer, now));
        self.nonce.store(Some(Arc::clone(&nonce)));
        Some(nonce)
    }

    /// Whether `nonce` was made by a key whose tokens are accepted at `now`, in the last, the
    /// current or the next minute.
    #[must_use]
    pub fn accepts_nonce(&self, nonce: &str, now: Timestamp) -> bool {
        let longest = self.longest_window();
        let accepted = self.entries.iter().filter(|entry| !entry.is_retired(longest, now));
        nonce::is_by(accepted.map(|entry| &entry.key), nonce, now)
    }

    /// Returns every key with its state at `now`, including revoked ones, by instant.
    #[must_use]
    pub fn schedule(&self, now: Timestamp) -> Vec<Scheduled<'_>> {
        let longest = self.longest_window();
        let scheduled = self.entries.iter().map(|entry| Scheduled {
            key: &entry.key,
            state: match entry.until {
                _ if entry.key.name().from > now => State::Upcoming,
                _ if entry.is_retired(longest, now) => State::Retired,
                Some(until) if until <= now => State::Retiring,
                _ => State::Signing,
            },
            signs_until: entry.until,
            published_until: self.end_of_publishing(entry),
            verifies_until: entry.until.map(|until| until.plus(longest)),
        });
        let revoked = self.revoked.iter().map(|key| Scheduled {
            key,
            state: State::Revoked,
            signs_until: None,
            published_until: None,
            verifies_until: None,
        });
        let mut all: Vec<_> = scheduled.chain(revoked).collect();
        all.sort_by_key(|one| (one.key.name().from, one.key.name().alg.name()));
        all
    }

    pub(super) fn longest_window(&self) -> i64 {
        self.plan.access_window.max(self.plan.refresh_window)
    }

    fn window(&self, purpose: Purpose) -> i64 {
        match purpose {
            Purpose::Access | Purpose::Revocations => self.plan.access_window,
            Purpose::Refresh => self.plan.refresh_window,
        }
    }
}

/// A key found by the header of a token.
pub struct Verifier<'a> {
    purpose: Purpose,
    /// None if the key is revoked.
    entry: Option<&'a Entry>,
    window: i64,
}

impl Verifier<'_> {
    /// Returns the purpose that the header names.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether the key still verifies at `now`. Upcoming keys do, for replicas
    /// whose clock is ahead.
    #[must_use]
    pub fn accepts(&self, now: Timestamp) -> bool {
        self.entry.is_some() && self.ends().is_none_or(|end| now < end)
    }

    /// Returns when it stops verifying, if that is known.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        Some(self.entry?.until?.plus(self.window))
    }

    /// Whether the key is revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.entry.is_none()
    }

    /// Whether `signature` is the key's signature of `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.entry.is_some_and(|entry| entry.key.verifies(self.purpose, message, signature))
    }
}
