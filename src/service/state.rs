//! What outlives a snapshot: the clock, limits, metrics, what became of the last reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::Snapshot;
use crate::clients::FailureLimiter;
use crate::clock::{Clock, Timestamp};
use crate::telemetry::Metrics;

/// The current snapshot, the clock, and what became of the last reload.
#[derive(Debug)]
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    clock: Clock,
    refused: ArcSwapOption<String>,
    pending: ArcSwap<Vec<String>>,
    draining: AtomicBool,
    /// Failed client authentications, by address prefix.
    pub(super) failures: FailureLimiter,
    /// Counters of everything, for the ops listener.
    pub metrics: Metrics,
}

impl State {
    /// A state that begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot, clock: Clock) -> Self {
        let metrics = Metrics::default();
        metrics.loaded(&snapshot.keys.digest(), &snapshot.configuration_digest);
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            clock,
            refused: ArcSwapOption::empty(),
            pending: ArcSwap::default(),
            draining: AtomicBool::new(false),
            failures: FailureLimiter::default(),
            metrics,
        }
    }

    /// Replaces the snapshot for the requests to come.
    pub fn swap(&self, snapshot: Snapshot) {
        self.metrics.loaded(&snapshot.keys.digest(), &snapshot.configuration_digest);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Counts a reload of this part that was refused.
    pub fn count_refused_reload(&self, part: &'static str) {
        self.metrics.reload_refused(part);
    }

    /// Says to the operator what became of the last look at the files: whether anything was
    /// put in force; what is refused, and why; what is not applied yet, and why.
    pub fn looked(&self, applied: bool, refused: Option<String>, pending: Vec<String>) {
        if applied {
            self.metrics.reloaded();
        }
        self.metrics.in_force(refused.is_none());
        self.refused.store(refused.map(Arc::new));
        self.pending.store(Arc::new(pending));
    }

    /// Why the files are not what is in force, if they are not.
    #[must_use]
    pub fn refused(&self) -> Option<Arc<String>> {
        self.refused.load_full()
    }

    /// What is to be warned of now: of what is in force, and of what is not applied yet.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let (snapshot, now) = (self.snapshot.load(), self.clock.now());
        snapshot
            .warnings(now)
            .map(str::to_owned)
            .chain(snapshot.issuers.stale(now))
            .chain(self.pending.load().iter().cloned())
            .collect()
    }

    /// From now on it says that it is not ready, because it will end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What keeps it from being ready, in a word.
    #[must_use]
    pub fn unready(&self) -> Option<&'static str> {
        let (snapshot, now) = (self.snapshot.load(), self.clock.now());
        if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if snapshot.keys.signs(now) {
            None
        } else {
            Some("no_key_signs")
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The current second.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.clock.now()
    }

    /// A state that serves nobody, to describe the interface with.
    pub(crate) fn empty() -> Self {
        Self::new(Snapshot::empty(), Clock::system())
    }
}
