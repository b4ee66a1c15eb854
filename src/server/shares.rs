//! Limits that no single caller can exhaust.
//!
//! A pool grants a caller one more as long as the caller has fewer than are then still free. So one
//! caller gets at most half, two get a third each, and something is left for the next (dynamic
//! thresholds, Choudhury and Hahne 1998). A count-min sketch counts each caller's grants: a keyed hash
//! picks two cells per caller, and the lower one counts. Its memory does not grow with the number of
//! callers, and no caller can choose another's cells.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

const CELLS: usize = 4_096;

/// A caller, as limits see it: an IPv4 address or an IPv6 /64. All callers without an address are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Caller(pub(super) u64);

impl Caller {
    /// Returns the caller at `address`.
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        static KEYED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(address.map_or(0, |address| KEYED.hash_one(address)))
    }

    #[expect(clippy::cast_possible_truncation, reason = "parts of a hash")]
    fn cells(self) -> (usize, usize) {
        (self.0 as usize % CELLS, (self.0 >> 32) as usize % CELLS)
    }
}

/// A counter per caller, which may overestimate but never underestimates.
#[derive(Debug)]
pub(super) struct Counts([Box<[AtomicU32]>; 2]);

impl Default for Counts {
    fn default() -> Self {
        let row = || (0..CELLS).map(|_| AtomicU32::new(0)).collect();
        Self([row(), row()])
    }
}

impl Counts {
    fn cells(&self, caller: Caller) -> Option<(&AtomicU32, &AtomicU32)> {
        let ([first, second], (one, other)) = (&self.0, caller.cells());
        first.get(one).zip(second.get(other))
    }

    /// Adds one, and returns the previous count.
    pub(super) fn add(&self, caller: Caller) -> u32 {
        let Some((one, other)) = self.cells(caller) else { return 0 };
        one.fetch_add(1, Ordering::Relaxed).min(other.fetch_add(1, Ordering::Relaxed))
    }

    /// Subtracts one.
    pub(super) fn sub(&self, caller: Caller) {
        if let Some((one, other)) = self.cells(caller) {
            one.fetch_sub(1, Ordering::Relaxed);
            other.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A limited number of something that callers hold.
#[derive(Debug)]
pub(super) struct Pool {
    total: u32,
    used: AtomicU32,
    held: Counts,
}

impl Pool {
    pub(super) fn new(total: u32) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicU32::new(0), held: Counts::default() })
    }

    /// Takes one from the pool for `caller`, until it is dropped; None if the caller has its share.
    pub(super) fn take(self: &Arc<Self>, caller: Caller) -> Option<Held> {
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        let has = self.held.add(caller);
        let held = Held { pool: Arc::clone(self), caller };
        (has < self.total.saturating_sub(used)).then_some(held)
    }
}

/// One of a [`Pool`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pool: Arc<Pool>,
    caller: Caller,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pool.held.sub(self.caller);
        self.pool.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(number: u32) -> Caller {
        Caller::at(Some(IpAddr::from(number.to_be_bytes())))
    }

    #[test]
    fn nobody_gets_everything() {
        let pool = Pool::new(100);
        let one: Vec<_> = std::iter::from_fn(|| pool.take(caller(1))).collect();
        assert_eq!(one.len(), 50);
        let two: Vec<_> = std::iter::from_fn(|| pool.take(caller(2))).collect();
        assert_eq!(two.len(), 25);
        assert!(pool.take(caller(1)).is_none() && pool.take(caller(3)).is_some());
        drop((one, two));
        assert_eq!((pool.used.load(Ordering::Relaxed), pool.held.add(caller(1))), (0, 0));
        assert_eq!(std::iter::from_fn(|| pool.take(caller(1))).take(200).collect::<Vec<_>>().len(), 50);
    }

    #[test]
    fn there_are_never_more_than_the_total() {
        let pool = Pool::new(100);
        let held: Vec<_> = (0..10_000).filter_map(|number| pool.take(caller(number))).collect();
        assert!((90..=100).contains(&held.len()), "{}", held.len());
    }
}
