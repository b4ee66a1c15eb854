//! How often something may happen: a table of fixed size, whoever asks.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytemuck::allocation::zeroed_slice_box;

/// Enough that two who are busy seldom share a place; the pages of those that nobody
/// uses take no memory.
const PLACES: usize = 1 << 16;

/// So often at once, and then once in every interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    at_once: u32,
    interval_micros: u64,
}

impl Rate {
    /// `at_once`, then one a second.
    #[must_use]
    pub fn then_each_second(at_once: u32) -> Self {
        Self { at_once, interval_micros: 1_000_000 }
    }

    /// `count` a second, and as many at once.
    #[must_use]
    pub fn a_second(count: u32) -> Self {
        Self { at_once: count, interval_micros: 1_000_000 / u64::from(count.max(1)) }
    }
}

/// Counts what happens, by the generic cell rate algorithm: each place holds the
/// instant until which what has happened there is paid for. Who has which place
/// is this process's secret, so nobody can choose to share another's.
pub struct Meter {
    paid_until: Box<[AtomicU64]>,
    places: RandomState,
    begun: Instant,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self { paid_until: zeroed_slice_box(PLACES), places: RandomState::new(), begun: Instant::now() }
    }
}

impl Meter {
    /// How long `who` must wait until one more fits into `rate`; None if it fits now.
    pub fn wait(&self, who: impl Hash, rate: Rate) -> Option<Duration> {
        Self::wait_at(self.place(who)?, rate, self.now())
    }

    /// Whether anything that `who` did is not paid for yet.
    pub fn owes(&self, who: impl Hash) -> bool {
        self.place(who).is_some_and(|place| place.load(Ordering::Relaxed) > self.now())
    }

    /// One more has happened.
    pub fn count(&self, who: impl Hash, rate: Rate) {
        if let Some(place) = self.place(who) {
            Self::count_at(place, rate, self.now());
        }
    }

    fn wait_at(place: &AtomicU64, rate: Rate, now: u64) -> Option<Duration> {
        let ahead = u64::from(rate.at_once).saturating_sub(1) * rate.interval_micros;
        let wait = place.load(Ordering::Relaxed).saturating_sub(now.saturating_add(ahead));
        (wait > 0).then(|| Duration::from_micros(wait))
    }

    fn count_at(place: &AtomicU64, rate: Rate, now: u64) {
        let one_more = |paid: u64| Some(paid.max(now).saturating_add(rate.interval_micros));
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    }

    fn place(&self, who: impl Hash) -> Option<&AtomicU64> {
        let hash = self.places.hash_one(who);
        self.paid_until.get(usize::try_from(hash % PLACES as u64).ok()?)
    }

    /// Microseconds since this began, and some, for what was never used is paid until 0.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_a_second() {
        let place = AtomicU64::new(0);
        let rate = Rate::then_each_second(3);
        let second = 1_000_000;
        for _ in 0..3 {
            assert_eq!(Meter::wait_at(&place, rate, second), None);
            Meter::count_at(&place, rate, second);
        }
        assert_eq!(Meter::wait_at(&place, rate, second), Some(Duration::from_secs(1)));
        assert_eq!(Meter::wait_at(&place, rate, second + 999_999), Some(Duration::from_micros(1)));
        assert_eq!(Meter::wait_at(&place, rate, 2 * second), None);
        Meter::count_at(&place, rate, 2 * second);
        assert_eq!(Meter::wait_at(&place, rate, 2 * second), Some(Duration::from_secs(1)));
        // After a rest all of it is there again, and no more.
        for _ in 0..3 {
            assert_eq!(Meter::wait_at(&place, rate, 100 * second), None);
            Meter::count_at(&place, rate, 100 * second);
        }
        assert_eq!(Meter::wait_at(&place, rate, 100 * second), Some(Duration::from_secs(1)));
    }

    #[test]
    fn everybody_has_a_place_of_their_own() {
        let (meter, rate) = (Meter::default(), Rate::a_second(1));
        assert!(!meter.owes("a") && meter.wait("a", rate).is_none());
        meter.count("a", rate);
        assert!(meter.owes("a") && meter.wait("a", rate).is_some());
        let others = (0..100).filter(|other| meter.owes(other)).count();
        assert!(others <= 1, "{others}");
    }
}
