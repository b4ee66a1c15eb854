//! Fair queueing between callers under load.
//!
//! The runtime's queue is first come, first served: a caller with 2,000 connections has 2,000 places
//! in it, and other callers wait behind them all. So while turns are needed (`overload.rs` says when), a
//! request needs one for each run of its handler. A caller without recent requests gets one at once. The others form a ring of callers, each with its waiting requests, and each caller in
//! the ring gets one request through in rotation. Among one caller's requests, the connection with the
//! fewest requests goes first: with 100 streams it gets no more turns than with one. (This ring with a
//! pass for new flows is `fq_codel`, RFC 8290; the order within it is start-time fair queueing.)
//!
//! While turns are not needed, no lock is taken and nothing is allocated.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::shares::Caller;

/// Maximum callers in the ring. Requests of further callers are served as they come.
const MAX_CALLERS: usize = 4_096;

/// A caller with fewer waiting requests does not ask for too much.
const MANY: usize = 8;
/// How long to wait for a granted turn to end.
const LONGEST: Duration = Duration::from_millis(20);

const WAITING: u8 = 0;
const GRANTED: u8 = 1;
const GONE: u8 = 2;

/// A place in the ring.
#[derive(Debug)]
struct Ticket {
    state: AtomicU8,
    waker: AtomicWaker,
    since: Instant,
    /// Requests of its caller that were waiting when it arrived.
    ahead: usize,
    /// The round in which it was granted.
    round: AtomicU64,
}

/// A ticket, ordered by when it is its turn.
#[derive(Debug)]
struct Waiting {
    /// The number of requests that its connection has asked, counted from when it joined the others.
    tag: u64,
    /// The order of arrival, for equal tags.
    number: u64,
    ticket: Arc<Ticket>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        (self.tag, self.number) == (other.tag, other.number)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.tag, self.number).cmp(&(other.tag, other.number))
    }
}

/// One caller's waiting requests.
#[derive(Debug, Default)]
struct Line {
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// The tag of the last request that got its turn.
    now: u64,
}

impl Line {
    /// Returns the next ticket that is still wanted.
    fn next(&mut self) -> Option<Arc<Ticket>> {
        while let Some(Reverse(Waiting { tag, ticket, .. })) = self.waiting.pop() {
            self.now = tag;
            let granted = ticket.state.compare_exchange(WAITING, GRANTED, Ordering::AcqRel, Ordering::Relaxed);
            if granted.is_ok() {
                return Some(ticket);
            }
        }
        None
    }
}

#[derive(Debug, Default)]
struct Ring {
    order: VecDeque<Caller>,
    lines: HashMap<u64, Line>,
    /// Granted turns that have not ended.
    granted: usize,
    /// Turns granted in earlier rounds are no longer waited for.
    round: u64,
    number: u64,
}

/// The turns of one transport.
#[derive(Debug)]
pub(super) struct Turns {
    /// Whether a request needs one.
    needed: AtomicBool,
    ring: Mutex<Ring>,
    /// Wakes the task that grants turns.
    changed: Notify,
    /// Maximum turns at the same time.
    together: usize,
}

/// The turns that a connection has had, to order the connections of its caller.
#[derive(Debug, Default)]
pub(super) struct Lane(AtomicU64);

impl Turns {
    /// Returns the turns for this many `workers`.
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self {
            needed: AtomicBool::new(false),
            ring: Mutex::default(),
            changed: Notify::new(),
            together: 2 * workers.max(1),
        })
    }

    pub(super) fn are_needed(&self) -> bool {
        self.needed.load(Ordering::Relaxed)
    }

    /// Sets whether requests need a turn from now on.
    pub(super) fn need(&self, needed: bool) {
        self.needed.store(needed, Ordering::Relaxed);
    }

    /// Whether any request waits for its turn.
    pub(super) fn any_wait(&self) -> bool {
        !self.ring().order.is_empty()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here panics halfway.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a ticket for the ring, or how `caller` is admitted without one.
    fn join(&self, caller: Caller, lane: &Lane, may_pass: bool) -> Result<Arc<Ticket>, Admission> {
        let ring = &mut *self.ring();
        let is_new = !ring.lines.contains_key(&caller.0);
        if is_new {
            if ring.lines.len() >= MAX_CALLERS {
                return Err(Admission::Direct);
            }
            ring.order.push_back(caller);
        }
        let queue = ring.lines.entry(caller.0).or_default();
        if is_new && may_pass {
            // Its line is empty and is removed when the ring reaches it.
            self.changed.notify_one();
            return Err(Admission::Passed);
        }
        let tag = lane.0.load(Ordering::Relaxed).max(queue.now) + 1;
        lane.0.store(tag, Ordering::Relaxed);
        ring.number += 1;
        let ticket = Arc::new(Ticket {
            state: AtomicU8::new(WAITING),
            waker: AtomicWaker::new(),
            since: Instant::now(),
            ahead: queue.waiting.len(),
            round: AtomicU64::new(0),
        });
        queue.waiting.push(Reverse(Waiting { tag, number: ring.number, ticket: Arc::clone(&ticket) }));
        self.changed.notify_one();
        Ok(ticket)
    }

    /// Grants as many turns as possible. Returns whether it granted any.
    fn grant(&self) -> bool {
        let ring = &mut *self.ring();
        let before = ring.granted;
        while ring.granted < self.together
            && let Some(caller) = ring.order.pop_front()
        {
            match ring.lines.get_mut(&caller.0).and_then(Line::next) {
                Some(ticket) => {
                    ring.granted += 1;
                    ticket.round.store(ring.round, Ordering::Relaxed);
                    ring.order.push_back(caller);
                    ticket.waker.wake();
                }
                None => _ = ring.lines.remove(&caller.0),
            }
        }
        ring.granted > before
    }

    /// Stops waiting for granted turns.
    fn forget_granted(&self) {
        let ring = &mut *self.ring();
        ring.round += 1;
        ring.granted = 0;
    }

    /// Grants turns, forever. Between two grants, the runtime polls for I/O.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            if !self.any_wait() {
                changed.await;
            } else if tokio::time::timeout(LONGEST, changed).await.is_err() {
                // A connection whose client does not read never ends its turn.
                self.forget_granted();
            }
            while self.grant() {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// How a request was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Without one: turns are not needed, or the ring is full, and requests are served as they come.
    Direct,
    /// It passed the waiting ones, because its caller had no recent requests.
    Passed,
    /// It waited for this long in the ring, behind others of its caller.
    Waited(Duration),
}

/// The turn of one request.
#[derive(Debug, Default)]
pub(super) struct Turn(Option<Arc<Ticket>>);

impl Turn {
    /// Ready when the request may run. With `may_pass` it does not wait if its caller had no recent requests.
    pub(super) fn poll(
        &mut self,
        turns: &Turns,
        (caller, lane): (Caller, &Lane),
        may_pass: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Admission> {
        if self.0.is_none() && turns.are_needed() {
            match turns.join(caller, lane, may_pass) {
                Ok(ticket) => self.0 = Some(ticket),
                Err(admission) => return Poll::Ready(admission),
            }
        }
        let Some(ticket) = &self.0 else { return Poll::Ready(Admission::Direct) };
        ticket.waker.register(cx.waker());
        if ticket.state.load(Ordering::Acquire) == GRANTED {
            // With few of its own caller's requests before it, it waits for the processor, not for its caller.
            let waited = if ticket.ahead < MANY { Duration::ZERO } else { ticket.since.elapsed() };
            return Poll::Ready(Admission::Waited(waited));
        }
        Poll::Pending
    }

    /// Ends the turn, or gives up waiting for it.
    pub(super) fn end(&mut self, turns: &Turns) {
        if let Some(ticket) = self.0.take()
            && ticket.state.swap(GONE, Ordering::AcqRel) == GRANTED
        {
            let ring = &mut *turns.ring();
            if ticket.round.load(Ordering::Relaxed) == ring.round {
                ring.granted = ring.granted.saturating_sub(1);
            }
            turns.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::task::Waker;

    use super::*;

    fn caller(number: u8) -> Caller {
        Caller::at(Some(IpAddr::from([10, 0, 0, number])))
    }

    /// The order in which `asked` (a caller and a connection) get their turn, one at a time.
    fn order(asked: &[(u8, usize)]) -> Vec<(u8, usize)> {
        let turns = Turns { together: 1, ..Arc::into_inner(Turns::new(1)).unwrap() };
        turns.need(true);
        let lanes: Vec<_> = (0..10).map(|_| Lane::default()).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> = asked
            .iter()
            .map(|&(number, lane)| {
                let mut turn = Turn::default();
                assert!(turn.poll(&turns, (caller(number), &lanes[lane]), false, cx).is_pending());
                (turn, (number, lane))
            })
            .collect();
        let mut order = Vec::new();
        while turns.grant() {
            for (turn, (number, lane)) in &mut waiting {
                let polled =
                    turn.0.is_some() && turn.poll(&turns, (caller(*number), &lanes[*lane]), false, cx).is_ready();
                if polled {
                    turn.end(&turns);
                    order.push((*number, *lane));
                }
            }
        }
        assert!(!turns.any_wait() && turns.ring().lines.is_empty());
        order
    }

    #[test]
    fn callers_take_turns_and_so_do_connections() {
        let asked = [(1, 0), (1, 0), (1, 0), (1, 1), (2, 2), (2, 2), (3, 3)];
        let expected = [(1, 0), (2, 2), (3, 3), (1, 1), (2, 2), (1, 0), (1, 0)];
        assert_eq!(order(&asked), expected);
    }

    #[test]
    fn a_caller_that_comes_anew_passes_once() {
        let turns = Turns::new(1);
        let (lane, cx) = (Lane::default(), &mut Context::from_waker(Waker::noop()));
        let ask = |cx: &mut Context<'_>| {
            let mut turn = Turn::default();
            let polled = turn.poll(&turns, (caller(1), &lane), true, cx);
            (turn, polled.is_ready())
        };
        assert!(ask(cx).1 && !turns.any_wait());
        turns.need(true);
        assert!(ask(cx).1);
        let (mut second, ready) = ask(cx);
        assert!(!ready);
        // One that is gone holds nobody up.
        let (mut third, _) = ask(cx);
        second.end(&turns);
        assert!(turns.grant());
        assert!(third.poll(&turns, (caller(1), &lane), true, cx).is_ready());
        third.end(&turns);
        assert!(!turns.grant());
        assert!(ask(cx).1);
    }

    /// So many callers that the ring has no room: a further one is served as it comes, and is not taken for one that
    /// passed.
    #[test]
    fn a_full_ring_takes_nobody() {
        let turns = Turns::new(1);
        turns.need(true);
        let (lane, cx) = (Lane::default(), &mut Context::from_waker(Waker::noop()));
        let ask = |number: usize, cx: &mut Context<'_>| {
            let [.., high, low] = number.to_be_bytes();
            let caller = Caller::at(Some(IpAddr::from([10, 0, high, low])));
            Turn::default().poll(&turns, (caller, &lane), true, cx)
        };
        for number in 0..MAX_CALLERS {
            assert_eq!(ask(number, cx), Poll::Ready(Admission::Passed), "{number}");
        }
        for number in MAX_CALLERS..MAX_CALLERS + 10 {
            assert_eq!(ask(number, cx), Poll::Ready(Admission::Direct), "{number}");
        }
        // Those that are in it stay in it.
        assert_eq!(ask(0, cx), Poll::Pending);
        turns.grant();
        assert_eq!(ask(MAX_CALLERS, cx), Poll::Ready(Admission::Passed), "room again");
    }

    #[tokio::test]
    async fn they_are_granted_without_end() {
        let turns = Turns::new(1);
        turns.need(true);
        tokio::spawn(Arc::clone(&turns).run());
        let all = (0..1_000_usize).map(|number| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let (lane, mut turn) = (Lane::default(), Turn::default());
                let caller = caller(u8::try_from(number % 7).unwrap());
                std::future::poll_fn(|cx| turn.poll(&turns, (caller, &lane), true, cx)).await;
                turn.end(&turns);
            })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        assert_eq!(turns.ring().granted, 0);
    }
}
