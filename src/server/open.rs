//! The state of an open connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::shares::Caller;

/// There has been no request yet.
const SILENT: u64 = 0;
/// A request is being read or answered.
const BUSY: u64 = 1;
/// The smallest value that means milliseconds.
const FIRST: u64 = 2;

/// The state of a connection that other code may read and change.
#[derive(Debug)]
pub(super) struct Open {
    /// The origin of idle times.
    begun: Instant,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// Requests so far.
    asked: AtomicU32,
    /// A request has arrived since the socket was last read empty.
    took_turn: AtomicBool,
    /// [`SILENT`], [`BUSY`], or since when it has been idle.
    idle: AtomicU64,
    /// It is to close: at once if nothing is being answered.
    unwanted: AtomicBool,
    reader: AtomicWaker,
    /// The caller; None for a proxy and for a Unix socket.
    pub(super) caller: Option<Caller>,
}

impl Default for Open {
    fn default() -> Self {
        Self::new(Instant::now(), None)
    }
}

impl Open {
    pub(super) fn new(begun: Instant, caller: Option<Caller>) -> Self {
        Self {
            begun,
            answering: AtomicUsize::new(0),
            asked: AtomicU32::new(0),
            took_turn: AtomicBool::new(false),
            idle: AtomicU64::new(SILENT),
            unwanted: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            caller,
        }
    }

    /// Counts one more request, until the result is dropped.
    pub(super) fn one(self: &Arc<Self>) -> One {
        self.answering.fetch_add(1, Ordering::Relaxed);
        self.was_asked();
        self.mark_busy();
        One(Arc::clone(self))
    }

    /// Counts a request.
    pub(super) fn was_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests so far.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Records a request. Returns whether it is pipelined: whether there was another since the socket was last read
    /// empty.
    pub(super) fn take_turn(&self) -> bool {
        let before = self.took_turn.load(Ordering::Relaxed);
        self.took_turn.store(true, Ordering::Relaxed);
        before
    }

    /// Records that the socket was read empty.
    pub(super) fn mark_read(&self) {
        self.took_turn.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_answering(&self) -> bool {
        self.answering.load(Ordering::Relaxed) > 0
    }

    /// Records that it is idle from now on.
    fn mark_idle(&self) {
        let millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.idle.store(millis.saturating_add(FIRST), Ordering::Relaxed);
    }

    /// Records that a request is being read or answered.
    pub(super) fn mark_busy(&self) {
        if self.idle.load(Ordering::Relaxed) != BUSY {
            self.idle.store(BUSY, Ordering::Relaxed);
        }
    }

    /// Returns since when it has been idle, in milliseconds of an origin that all share; None if it is not.
    pub(super) fn idle_since(&self) -> Option<u64> {
        self.idle.load(Ordering::Relaxed).checked_sub(FIRST)
    }

    pub(super) fn is_silent(&self) -> bool {
        self.idle.load(Ordering::Relaxed) == SILENT
    }

    pub(super) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    /// Registers the task to wake when it becomes unwanted.
    pub(super) fn wake_when_unwanted(&self, waker: &std::task::Waker) {
        self.reader.register(waker);
    }

    /// Completes when it becomes unwanted. Nothing else may read meanwhile.
    pub(super) fn unwanted(&self) -> impl Future<Output = ()> {
        poll_fn(|cx| {
            self.wake_when_unwanted(cx.waker());
            if self.is_unwanted() { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Closes it: at once if nothing is being answered.
    pub(super) fn end(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
        self.reader.wake();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct One(Arc<Open>);

impl Drop for One {
    fn drop(&mut self) {
        if self.0.answering.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.mark_idle();
        }
    }
}
