//! Tokens that were found good, so that one that comes again costs no signature.
//!
//! Only what was found good is kept, so a flood of forged tokens puts nothing in
//! and nothing out; and a good token that comes once is the first to go (the library's
//! CLOCK-Pro), so that one caller with many does not push out those of others. A
//! cache belongs to one set of keys and one configuration, and ends with them. No
//! token stays in memory: it is known by a digest.

use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache as Library;

use super::{Kind, Verified};
use crate::clock::Timestamp;
use crate::crypto::Digester;

/// Bytes that an entry counts as at least. So there are at most as many entries as are
/// allowed, and they have at most so many times this.
const ENTRY: usize = 2 << 10;

/// All bits of the SHA-256 of a token and its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of `token`, if it is one of the kind `K`.
    #[must_use]
    pub fn of<K: Kind>(token: &str) -> Self {
        let mut digest = Digester::default();
        digest.add(&[K::PURPOSE as u8]);
        digest.add(token.as_bytes());
        Self(digest.finish())
    }
}

/// What is kept of a token beside what it says.
struct Kept<K, V> {
    verified: Verified<K>,
    made: V,
    bytes: usize,
}

#[derive(Clone)]
struct Weight;

impl<K, V> Weighter<Fingerprint, Arc<Kept<K, V>>> for Weight {
    fn weight(&self, _: &Fingerprint, kept: &Arc<Kept<K, V>>) -> u64 {
        kept.bytes.max(ENTRY) as u64
    }
}

type Tokens<K, V> = Library<Fingerprint, Arc<Kept<K, V>>, Weight>;

/// The last good tokens of the kind `K`, and what was made of each.
pub struct Cache<K, V>(Option<Tokens<K, V>>);

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// A good token.
pub struct Hit<K, V>(Arc<Kept<K, V>>);

impl<K, V> Hit<K, V> {
    /// What it says.
    #[must_use]
    pub fn claims(&self) -> &K {
        self.0.verified.claims()
    }

    /// What was made of it.
    #[must_use]
    pub fn made(&self) -> &V {
        &self.0.made
    }
}

impl<K: Kind, V> Cache<K, V> {
    /// Room for so many tokens; none is kept if it is 0.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        let items = usize::try_from(entries).unwrap_or(usize::MAX);
        Self((entries > 0).then(|| Library::with_weighter(items, u64::from(entries) * ENTRY as u64, Weight)))
    }

    /// The token, if it is known and would be found good at `now`, too.
    #[must_use]
    pub fn get(&self, token: &Fingerprint, now: Timestamp) -> Option<Hit<K, V>> {
        self.0.as_ref()?.get(token).filter(|kept| kept.verified.holds_at(now)).map(Hit)
    }

    /// Keeps what was made of a token that was found good, about so many `bytes`.
    pub fn keep(&self, token: Fingerprint, verified: Verified<K>, made: V, bytes: usize) -> Hit<K, V> {
        let kept = Arc::new(Kept { verified, made, bytes });
        if let Some(library) = &self.0 {
            library.insert(token, Arc::clone(&kept));
        }
        Hit(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::AccessClaims;
    use crate::token::RefreshClaims;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_000)
    }

    fn fingerprint(number: usize) -> Fingerprint {
        Fingerprint::of::<AccessClaims>(&number.to_string())
    }

    /// A cache for so many tokens, and what keeps one of so many bytes in it.
    fn filled(entries: u32, numbers: std::ops::Range<usize>, bytes: usize) -> Cache<AccessClaims, ()> {
        let cache = Cache::new(entries);
        for number in numbers {
            cache.keep(fingerprint(number), Verified::sample(now()), (), bytes);
        }
        cache
    }

    fn known(cache: &Cache<AccessClaims, ()>, numbers: std::ops::Range<usize>) -> usize {
        numbers.filter(|number| cache.get(&fingerprint(*number), now()).is_some()).count()
    }

    #[test]
    fn entries_and_bytes_are_bounded() {
        let small = known(&filled(100, 0..10_000, 1), 0..10_000);
        assert!((50..=100).contains(&small), "{small}");
        // A hundred times 2 KiB has room for ten of 20 KiB.
        let large = known(&filled(100, 0..10_000, 20 << 10), 0..10_000);
        assert!((1..=10).contains(&large), "{large}");
        assert_eq!(known(&filled(0, 0..100, 1), 0..100), 0);
    }

    #[test]
    fn tokens_that_come_once_do_not_push_out_those_that_come_again() {
        let cache = filled(100, 0..50, 1);
        for _ in 0..3 {
            assert_eq!(known(&cache, 0..50), 50);
        }
        for number in 1_000..100_000 {
            cache.keep(fingerprint(number), Verified::sample(now()), (), 1);
        }
        let left = known(&cache, 0..50);
        assert!(left >= 40, "{left}");
    }

    #[test]
    fn a_kind_is_part_of_the_fingerprint() {
        assert_ne!(Fingerprint::of::<AccessClaims>("a"), Fingerprint::of::<RefreshClaims>("a"));
        assert_eq!(Fingerprint::of::<AccessClaims>("a"), Fingerprint::of::<AccessClaims>("a"));
    }
}
