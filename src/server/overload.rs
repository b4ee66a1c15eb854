//! Load shedding by queueing delay.
//!
//! All work here is short and CPU-bound, so under overload requests wait in the
//! runtime's queue. An empty task that passes through the same queue several times a
//! second measures that delay. When it has been too long for a while, a share of the
//! requests is refused: the longer the delay, the larger the share.
//!
//! All callers share that queue. So once the delay is noticeable and there is more than one caller,
//! or when many connections begin at once, requests take turns ([`Turns`]). Then the delay that
//! counts is that of the request in its own caller's line: a caller that asks for little does not
//! wait, and nothing of it is refused.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::shares::Caller;
use super::turns::{Admission, Turns};

/// Callers take turns when a task waits for this long.
const NOTICEABLE: Duration = Duration::from_micros(500);
/// Turns are no longer needed after this many looks at which none was waited for.
const QUIET_LOOKS: u32 = 40;
/// A caller counts as present for this many looks after its last request.
const PRESENT_LOOKS: u32 = 100;
/// Number of callers that are distinguished.
const CALLERS: usize = 1_024;
/// Nothing is refused while requests wait for less than this.
const LONG: Duration = Duration::from_millis(100);
/// Everything costly is refused when they wait for this much longer.
const MORE: Duration = Duration::from_millis(200);
/// An overload is over when nothing has been refused for this long.
const CALM: Duration = Duration::from_secs(5);
/// The pause between two looks at the queue.
const PAUSE: Duration = Duration::from_millis(50);
/// The shortest of this many waits counts: one hiccup is not an overload.
const WAITS: usize = 3;
/// All of the requests, as a share.
const ALL: u32 = 1 << 16;

/// The share of requests to refuse, and whether callers take turns.
#[derive(Debug)]
pub(super) struct Overload {
    /// Of [`ALL`].
    share: AtomicU32,
    /// Requests that came while there was a share.
    count: AtomicU32,
    /// Whether one of the callers with this hash has asked since the last look.
    asked: Box<[AtomicBool]>,
    turns: Arc<Turns>,
}

impl Overload {
    pub(super) fn new(turns: Arc<Turns>) -> Self {
        let asked = (0..CALLERS).map(|_| AtomicBool::new(false)).collect();
        Self { share: AtomicU32::new(0), count: AtomicU32::new(0), asked, turns }
    }

    /// Records a request of `caller`.
    #[expect(clippy::cast_possible_truncation, reason = "a part of a hash")]
    pub(super) fn note(&self, caller: Caller) {
        if let Some(asked) = self.asked.get(caller.0 as usize % CALLERS)
            // Usually it is already recorded, and the cache line stays shared.
            && !asked.load(Ordering::Relaxed)
        {
            asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether to refuse the next request, which was admitted in this way.
    pub(super) fn refuses(&self, admission: Admission) -> bool {
        let share = match admission {
            Admission::Waited(waited) => share(waited),
            Admission::Passed => 0,
            // It waits in the runtime's queue like every other.
            Admission::Direct => self.share.load(Ordering::Relaxed),
        };
        share > 0 && {
            // The golden ratio's multiples are spread evenly, whatever the share is.
            let spread = self.count.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9) >> 16;
            spread < share
        }
    }

    /// One in which everything is refused.
    #[cfg(test)]
    pub(super) fn total() -> Self {
        Self { share: ALL.into(), ..Self::new(Turns::new(1)) }
    }

    /// Watches the queue of this runtime until `self` is dropped.
    ///
    /// This needs a thread outside the runtime: its tasks join the queue that all
    /// workers share, where tasks wait under load. A worker's own queue, of up to 256,
    /// is not seen, and runs its newest task first.
    ///
    /// # Errors
    /// There may be no more threads.
    pub(super) fn watch(self: &Arc<Self>) -> std::io::Result<()> {
        let (overload, runtime) = (Arc::downgrade(self), Handle::current());
        thread::Builder::new().name("overload".to_owned()).spawn(move || watch(&overload, &runtime)).map(drop)
    }
}

fn watch(overload: &Weak<Overload>, runtime: &Handle) {
    let mut waits = [Duration::ZERO; WAITS];
    let mut refused = None;
    // Looks since the last request of each caller, and since any request waited.
    let (mut absent, mut quiet) = ([PRESENT_LOOKS; CALLERS], QUIET_LOOKS);
    while let Some(wait) = wait(runtime)
        && let Some(overload) = overload.upgrade()
    {
        waits.rotate_left(1);
        let [.., newest] = &mut waits;
        *newest = wait;
        let least = waits.iter().copied().fold(Duration::MAX, Duration::min);
        for (asked, absent) in overload.asked.iter().zip(&mut absent) {
            *absent = if asked.load(Ordering::Relaxed) { 0 } else { absent.saturating_add(1) };
            asked.store(false, Ordering::Relaxed);
        }
        let several = absent.iter().filter(|looks| **looks < PRESENT_LOOKS).count() > 1;
        let is_noticed = least >= NOTICEABLE || overload.turns.any_wait();
        quiet = if several && is_noticed { 0 } else { quiet.saturating_add(1) };
        overload.turns.need(quiet < QUIET_LOOKS);
        let share = share(least);
        overload.share.store(share, Ordering::Relaxed);
        if share > 0 {
            if refused.is_none() {
                tracing::warn!("overload: some requests are refused with 503");
            }
            refused = Some(Instant::now());
        } else if refused.is_some_and(|last| last.elapsed() >= CALM) {
            tracing::info!("the overload is over");
            refused = None;
        }
        drop(overload);
        thread::park_timeout(PAUSE);
    }
}

/// Returns how long a task waits in the queue now; None if the runtime has stopped.
fn wait(runtime: &Handle) -> Option<Duration> {
    let (done, turn) = mpsc::sync_channel(1);
    let begun = Instant::now();
    runtime.spawn(async move { done.send(begun.elapsed()) });
    turn.recv().ok()
}

fn share(wait: Duration) -> u32 {
    let over = wait.saturating_sub(LONG).min(MORE).as_micros();
    u32::try_from(over * u128::from(ALL) / MORE.as_micros()).unwrap_or(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_the_wait_the_more_is_refused() {
        assert_eq!(
            [0, 100, 150, 200, 300, 5_000].map(|wait| share(Duration::from_millis(wait))),
            [0, 0, ALL / 4, ALL / 2, ALL, ALL]
        );
        for share in [0, ALL / 4, ALL / 2, ALL] {
            let overload = Overload { share: share.into(), ..Overload::new(Turns::new(1)) };
            let refused = (0..10_000).filter(|_| overload.refuses(Admission::Direct)).count();
            let expected = usize::try_from(share * 10_000 / ALL).unwrap();
            assert!(refused.abs_diff(expected) < 10, "{refused} of 10,000, not {expected}");
        }
    }

    /// What is not in the ring is refused by the share of all, also while turns are needed: where the ring is full,
    /// nothing else holds it back.
    #[test]
    fn turns_do_not_spare_those_that_have_none() {
        let overload = Overload::total();
        overload.turns.need(true);
        assert!(overload.refuses(Admission::Direct));
        assert!(!overload.refuses(Admission::Passed));
        assert!(!overload.refuses(Admission::Waited(LONG)));
        assert!(overload.refuses(Admission::Waited(LONG + MORE)));
    }

    /// 400 tasks that take 1 ms each time: a turn comes after 0.4 s.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_queue_is_noticed_and_its_end_too() {
        let overload = Arc::new(Overload::new(Turns::new(1)));
        overload.watch().unwrap();
        let busy: Vec<_> = (0..400)
            .map(|_| {
                tokio::spawn(async {
                    loop {
                        let begun = Instant::now();
                        while begun.elapsed() < Duration::from_millis(1) {}
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let share_is = async |wanted: fn(u32) -> bool| {
            while !wanted(overload.share.load(Ordering::Relaxed)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // Three turns, on a machine that may have other work.
        let patience = Duration::from_mins(2);
        assert!(tokio::time::timeout(patience, share_is(|share| share == ALL)).await.is_ok());
        for task in busy {
            task.abort();
        }
        assert!(tokio::time::timeout(patience, share_is(|share| share == 0)).await.is_ok());
    }
}
