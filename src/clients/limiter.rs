//! Rate limits: GCRA (the generic cell rate algorithm), exact for each client and each address.
//!
//! A limiter holds one number, the theoretical arrival time (TAT): the instant at which everything
//! counted so far is paid for. One more fits while the TAT is less than a burst ahead of the clock.
//! Checking and counting are one step, and refusals are not counted: so the debt never exceeds the
//! burst, and a caller that stops is clear again after that time.
//!
//! Each configured client with a rate has a [`RateLimiter`], which a reload hands on. Addresses are
//! not known in advance, so [`FailureLimiter`] is a table of fixed size: sets of eight places,
//! where a random key of this process maps a prefix to its set. Places hold the whole prefix, so
//! two prefixes never share one and none pays for another. In a full set the prefix with the least
//! debt is evicted: a flood from more prefixes than there are places only forgives failures. A
//! sketch such as count-min would need less memory, but under that flood it would refuse other
//! callers.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const NANOS: u64 = 1_000_000_000;

/// A burst, then one per emission interval (GCRA).
///
/// Instants are in ticks since the limiter was made. A second has the rate times the power of two
/// that brings it to between 2^31 and 2^32: so an interval is a whole number of ticks for every
/// rate, a tick is less than half a nanosecond, and 64 bits last for 136 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    per_second: u32,
}

impl Rate {
    /// Returns a rate of `count` per second with the same burst. At least one.
    #[must_use]
    pub fn per_second(count: u32) -> Self {
        let per_second = count.max(1);
        Self { burst: per_second, per_second }
    }

    /// Returns the same rate with this burst. At least one.
    #[must_use]
    pub fn with_burst(self, burst: u32) -> Self {
        Self { burst: burst.max(1), ..self }
    }

    /// Returns how many fit into a second once the burst is used up.
    #[must_use]
    pub fn count(self) -> u32 {
        self.per_second
    }

    fn ticks_per_second(self) -> u64 {
        u64::from(self.per_second) << self.per_second.leading_zeros()
    }

    /// Returns the emission interval, in ticks.
    fn interval(self) -> u64 {
        1 << self.per_second.leading_zeros()
    }

    /// Converts `elapsed` to ticks, rounded down.
    fn ticks(self, elapsed: Duration) -> u64 {
        let per_second = self.ticks_per_second();
        let whole = elapsed.as_secs().saturating_mul(per_second);
        whole.saturating_add(u64::from(elapsed.subsec_nanos()) * per_second / NANOS)
    }

    /// Converts `ticks` to a duration, rounded up to a nanosecond.
    fn duration(self, ticks: u64) -> Duration {
        let per_second = self.ticks_per_second();
        let nanos = (ticks % per_second * NANOS).div_ceil(per_second);
        Duration::from_secs(ticks / per_second).saturating_add(Duration::from_nanos(nanos))
    }

    /// Returns the latest possible TAT at `now`: the burst is used up.
    fn latest(self, now: u64) -> u64 {
        now.saturating_add(u64::from(self.burst).saturating_mul(self.interval()))
    }

    /// Returns the TAT after one more at `now`; Err is the number of ticks until one more fits.
    fn admit(self, tat: u64, now: u64) -> Result<u64, u64> {
        let (next, latest) = (tat.max(now).saturating_add(self.interval()), self.latest(now));
        if next <= latest { Ok(next) } else { Err(next - latest) }
    }
}

/// A rate limiter for one client.
#[derive(Debug)]
pub struct RateLimiter {
    rate: Rate,
    /// Ticks since `begun`.
    tat: AtomicU64,
    begun: Instant,
}

impl RateLimiter {
    /// Creates a limiter that has counted nothing.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, tat: AtomicU64::new(0), begun: Instant::now() }
    }

    /// Returns its rate.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Runs `work` and counts it, if one more fits; work that fails is not charged. It counts while
    /// it runs, so concurrent work stays within the rate too.
    ///
    /// # Errors
    /// The wait until one more fits, turned into an error by `limited`; or the error of `work`.
    pub fn run<T, E>(&self, limited: impl FnOnce(Duration) -> E, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let permit = self.take(self.now()).map_err(limited)?;
        let done = work()?;
        permit.keep();
        Ok(done)
    }

    fn take(&self, now: u64) -> Result<Permit<'_>, Duration> {
        let mut until = Err(0);
        let one_more = |tat: u64| {
            until = self.rate.admit(tat, now);
            until.ok()
        };
        let _ = self.tat.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        match until {
            Ok(until) => Ok(Permit { limiter: self, until, is_kept: false }),
            Err(ticks) => Err(self.rate.duration(ticks)),
        }
    }

    /// Gives back the interval that ends at `until`. While that is ahead of the clock, so is the
    /// TAT; the part of the interval that has passed is lost.
    fn give_back(&self, until: u64, now: u64) {
        let unused = until.saturating_sub(now).min(self.rate.interval());
        let less = |tat: u64| Some(tat.saturating_sub(unused));
        let _ = self.tat.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn now(&self) -> u64 {
        self.rate.ticks(self.begun.elapsed())
    }
}

/// An interval that was charged in advance, and is given back unless it is kept.
struct Permit<'l> {
    limiter: &'l RateLimiter,
    until: u64,
    is_kept: bool,
}

impl Permit<'_> {
    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.limiter.give_back(self.until, self.limiter.now());
        }
    }
}

const SETS: usize = 1 << 12;
const WAYS: usize = 8;

/// The prefix and its TAT in ticks; a TAT in the past marks a free place.
type Place = (u128, u64);

/// Limits failed authentications by address prefix: at most `SETS * WAYS` prefixes, 1 MiB.
/// Untouched pages are never committed.
pub struct FailureLimiter {
    places: Mutex<Vec<Place>>,
    hasher: RandomState,
    begun: Instant,
}

impl std::fmt::Debug for FailureLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailureLimiter").finish_non_exhaustive()
    }
}

impl Default for FailureLimiter {
    fn default() -> Self {
        Self { places: Mutex::new(vec![(0, 0); SETS * WAYS]), hasher: RandomState::new(), begun: Instant::now() }
    }
}

impl FailureLimiter {
    /// Counts a failure of `prefix`: an IPv4 address, a zero-padded IPv6 network, or None for a
    /// local socket. `rate` may have a different burst each time, but not a different interval.
    ///
    /// # Errors
    /// How long to wait if the prefix is over the limit; the failure is then not counted.
    pub fn record(&self, prefix: Option<IpAddr>, rate: Rate) -> Result<(), Duration> {
        self.record_at(prefix, rate, rate.ticks(self.begun.elapsed()))
    }

    fn record_at(&self, prefix: Option<IpAddr>, rate: Rate, now: u64) -> Result<(), Duration> {
        // No IPv6 network equals a mapped IPv4 address, and no packet comes from the all-ones
        // address. The lowest bit marks an owned place: without it the network of ::1 would be
        // zero.
        let prefix = prefix.map_or(u128::MAX, |address| match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits() | 1,
        });
        #[expect(clippy::expect_used, reason = "it is less than SETS")]
        let set = usize::try_from(self.hasher.hash_one(prefix) % SETS as u64).expect("the number of a set");
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let ways = places.iter_mut().skip(set * WAYS).take(WAYS);
        // Its own place, otherwise the one with the least debt.
        let Some(place) = ways.min_by_key(|(owner, tat)| (*owner != prefix, *tat)) else { return Ok(()) };
        if place.0 != prefix {
            *place = (prefix, 0);
        }
        // The burst may have been larger before a reload.
        place.1 = place.1.min(rate.latest(now));
        place.1 = rate.admit(place.1, now).map_err(|ticks| rate.duration(ticks))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::sync::Barrier;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns how many fit at `now`, and the wait after that.
    fn drain(limiter: &RateLimiter, elapsed: Duration) -> (u32, Duration) {
        let now = limiter.rate.ticks(elapsed);
        let mut count = 0;
        loop {
            match limiter.take(now) {
                Ok(permit) => permit.keep(),
                Err(wait) => return (count, wait),
            }
            count += 1;
        }
    }

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let limiter = RateLimiter::new(Rate::per_second(1).with_burst(3));
        assert_eq!(drain(&limiter, SECOND), (3, SECOND));
        let (count, wait) = drain(&limiter, SECOND + Duration::from_nanos(999_999_999));
        assert!(count == 0 && (1..=2).contains(&wait.as_nanos()), "{wait:?}");
        assert_eq!(drain(&limiter, 2 * SECOND), (1, SECOND));
        assert_eq!(drain(&limiter, 4 * SECOND), (2, SECOND));
        // After a rest the whole burst is available again, and no more.
        assert_eq!(drain(&limiter, 100 * SECOND), (3, SECOND));
    }

    /// Including intervals that are a fraction of a nanosecond, or not a whole number of them.
    #[test]
    fn every_rate_is_exact() {
        for rate in [1, 2, 3, 7, 500_000, 500_001, 700_000, 999_983, 1_000_000, 1_000_001, 3_000_000, u32::MAX] {
            let rate = Rate::per_second(rate);
            let ticks = |seconds| rate.ticks(seconds * SECOND);
            assert_eq!(ticks(1), u64::from(rate.count()) * rate.interval());
            assert_eq!(ticks(100 * 365 * 86_400), 100 * 365 * 86_400 * ticks(1), "a century");
            assert_eq!(rate.duration(ticks(7)), 7 * SECOND);
            assert!(rate.duration(1) > Duration::ZERO);
        }
        for rate in [3, 700_000, 1_500_000] {
            let limiter = RateLimiter::new(Rate::per_second(rate));
            assert_eq!(drain(&limiter, SECOND).0, rate);
            let a_second: u32 = (1..=7).map(|part| drain(&limiter, SECOND + part * SECOND / 7).0).sum();
            assert_eq!(a_second, rate);
        }
    }

    /// Refused attempts add no debt, however many there are.
    #[test]
    fn debt_is_no_larger_than_the_burst() {
        let (failures, rate) = (FailureLimiter::default(), Rate::per_second(1).with_burst(60));
        let now = rate.ticks(SECOND);
        let refused = (0..10_000).filter(|_| failures.record_at(None, rate, now).is_err()).count();
        assert_eq!(refused, 10_000 - 60);
        assert_eq!(failures.record_at(None, rate, now), Err(SECOND));
        assert_eq!(failures.record_at(None, rate, rate.ticks(2 * SECOND)), Ok(()));
        // A reload to a smaller burst does not leave the debt of the larger one.
        let rate = rate.with_burst(2);
        assert_eq!(failures.record_at(None, rate, rate.ticks(2 * SECOND)), Err(SECOND));
        assert_eq!(failures.record_at(None, rate, rate.ticks(3 * SECOND)), Ok(()));
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let (limiter, start) = (RateLimiter::new(Rate::per_second(500)), Barrier::new(8));
        let taken: usize = std::thread::scope(|scope| {
            let thread = || {
                start.wait();
                (0..500).filter_map(|_| limiter.take(7).ok()).map(Permit::keep).count()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 500);
    }

    #[test]
    fn what_fails_is_given_back() {
        let limiter = RateLimiter::new(Rate::per_second(2));
        let now = limiter.rate.ticks(SECOND);
        let one = limiter.take(now).unwrap();
        let two = limiter.take(now).unwrap();
        assert!(limiter.take(now).is_err(), "it counts while it runs");
        limiter.give_back(two.until, now);
        std::mem::forget(two);
        let three = limiter.take(now).unwrap();
        assert!(limiter.take(now).is_err());
        // Half of the first interval has passed and is lost; only the rest comes back.
        let later = now + limiter.rate.interval() / 2;
        limiter.give_back(one.until, later);
        limiter.give_back(one.until, later + limiter.rate.interval());
        std::mem::forget(one);
        assert_eq!(limiter.tat.load(Ordering::Relaxed), three.until - limiter.rate.interval() / 2);
        three.keep();

        let limiter = RateLimiter::new(Rate::per_second(1));
        for _ in 0..10 {
            assert_eq!(limiter.run(|_| "limited", || Err::<(), _>("failed")), Err("failed"));
        }
        assert_eq!(limiter.run(|_| "limited", || Ok(())), Ok(()));
        assert_eq!(limiter.run(|_| "limited", || Ok(())), Err("limited"));
    }

    /// Even with more prefixes than the table has places.
    #[test]
    fn no_prefix_pays_for_another() {
        let (failures, rate) = (FailureLimiter::default(), Rate::per_second(1).with_burst(1));
        let now = rate.ticks(SECOND);
        let v4 = (0..100_000_u32).map(|number| Some(Ipv4Addr::from_bits(number).into()));
        let v6 = (0..100_000_u128).map(|number| Some(Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64).into()));
        for prefix in v4.chain(v6).chain([None, Some(Ipv6Addr::UNSPECIFIED.into())]) {
            assert_eq!(failures.record_at(prefix, rate, now), Ok(()), "{prefix:?}");
            assert_eq!(failures.record_at(prefix, rate, now), Err(SECOND), "{prefix:?}");
        }
        assert_eq!(failures.places.lock().unwrap().len(), SETS * WAYS);
    }

    /// A free place is taken first, then the one with the least debt.
    #[test]
    fn the_least_debt_is_forgotten() {
        let (failures, rate) = (FailureLimiter::default(), Rate::per_second(1).with_burst(60));
        let now = rate.ticks(SECOND);
        let deep = Some(Ipv4Addr::LOCALHOST.into());
        while failures.record_at(deep, rate, now).is_ok() {}
        for number in 0..1_000_000_u128 {
            let prefix = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64).into();
            assert_eq!(failures.record_at(Some(prefix), rate, now), Ok(()));
        }
        assert!(failures.record_at(deep, rate, now).is_err());
    }
}
