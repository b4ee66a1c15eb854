//! Tokens that were already verified, so that checking one again costs no signature.
//!
//! Only verified tokens are cached, so a flood of forged ones neither adds nor evicts entries. A
//! token that comes once is the first to be evicted (the library's CLOCK-Pro), so a caller with
//! many does not evict those of others. A cache belongs to one snapshot of keys and configuration,
//! and is dropped with it. Tokens themselves are not kept in memory, only their digests.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Library;

use super::{Kind, Verified};
use crate::clock::Timestamp;
use crate::crypto::sha256;

/// Minimum weight of an entry in bytes: bounds the count at `entries`, and the bytes at `entries *
/// ENTRY`.
const ENTRY: usize = 2 << 10;

/// The SHA-256 of a token, untruncated. Each kind of token has a cache of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Computes the fingerprint of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    /// Returns it as a proof names it in `ath`: in base64url (RFC 9449 §4.2).
    #[must_use]
    pub fn base64(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// A cached entry.
struct Cached<K, V> {
    verified: Verified<K>,
    value: V,
    bytes: usize,
}

#[derive(Clone)]
struct Weight;

impl<K, V> Weighter<Fingerprint, Arc<Cached<K, V>>> for Weight {
    fn weight(&self, _: &Fingerprint, cached: &Arc<Cached<K, V>>) -> u64 {
        cached.bytes.max(ENTRY) as u64
    }
}

type Tokens<K, V> = Library<Fingerprint, Arc<Cached<K, V>>, Weight>;

/// Recently verified tokens of kind `K`, and the value computed from each.
pub struct Cache<K, V>(Option<Tokens<K, V>>);

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// A verified token from the cache.
pub struct Hit<K, V>(Arc<Cached<K, V>>);

impl<K, V> Hit<K, V> {
    /// Returns its claims.
    #[must_use]
    pub fn claims(&self) -> &K {
        self.0.verified.claims()
    }

    /// Returns the value computed from it.
    #[must_use]
    pub fn value(&self) -> &V {
        &self.0.value
    }
}

impl<K: Kind, V> Cache<K, V> {
    /// Creates a cache for `entries` tokens; with 0 it keeps none.
    #[must_use]
    pub fn new(entries: u32) -> Self {
        let items = usize::try_from(entries).unwrap_or(usize::MAX);
        Self((entries > 0).then(|| Library::with_weighter(items, u64::from(entries) * ENTRY as u64, Weight)))
    }

    /// Returns the token if it is cached and still valid at `now`.
    #[must_use]
    pub fn get(&self, token: &Fingerprint, now: Timestamp) -> Option<Hit<K, V>> {
        self.0.as_ref()?.get(token).filter(|cached| cached.verified.holds_at(now)).map(Hit)
    }

    /// Caches a verified token and the value computed from it; `bytes` is its approximate size.
    pub fn insert(&self, token: Fingerprint, verified: Verified<K>, value: V, bytes: usize) -> Hit<K, V> {
        let cached = Arc::new(Cached { verified, value, bytes });
        if let Some(library) = &self.0 {
            library.insert(token, Arc::clone(&cached));
        }
        Hit(cached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::AccessClaims;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_000)
    }

    fn fingerprint(number: usize) -> Fingerprint {
        Fingerprint::of(&number.to_string())
    }

    /// Fills a cache for `entries` tokens with these, of `bytes` each.
    fn filled(entries: u32, numbers: std::ops::Range<usize>, bytes: usize) -> Cache<AccessClaims, ()> {
        let cache = Cache::new(entries);
        for number in numbers {
            cache.insert(fingerprint(number), Verified::sample(now()), (), bytes);
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
        // A hundred times 2 KiB holds ten of 20 KiB.
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
            cache.insert(fingerprint(number), Verified::sample(now()), (), 1);
        }
        let left = known(&cache, 0..50);
        assert!(left >= 40, "{left}");
    }
}
