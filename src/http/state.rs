//! What every request sees: one snapshot, from its start to its end.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::keys::{KeyRing, Plan};
use crate::token::Verifying;

/// All that a request is decided by. It never changes; a reload swaps it.
#[derive(Debug)]
pub struct Snapshot {
    /// `iss`.
    pub issuer: String,
    /// Seconds by which clocks may differ.
    pub leeway: i64,
    /// Seconds that verifiers may cache the JWKS.
    pub jwks_max_age: i64,
    /// Who may ask for what.
    pub registry: Registry,
    /// The keys and their schedule.
    pub keys: KeyRing,
}

impl Snapshot {
    /// What a token must agree with at `now`.
    #[must_use]
    pub fn verifying(&self, now: Timestamp) -> Verifying<'_> {
        Verifying { issuer: &self.issuer, leeway: self.leeway, now }
    }
}

/// The current snapshot, and the clock.
#[derive(Debug)]
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    clock: Clock,
}

impl State {
    /// A state that begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Snapshot, clock: Clock) -> Self {
        Self { snapshot: ArcSwap::from_pointee(snapshot), clock }
    }

    /// Replaces the snapshot for the requests to come.
    pub fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// The snapshot and the second of a request.
    pub(super) fn now(&self) -> (Guard<Arc<Snapshot>>, Timestamp) {
        (self.snapshot.load(), self.clock.now())
    }

    /// A state that serves nobody, to describe the interface with.
    pub(super) fn empty() -> Self {
        let snapshot = Snapshot {
            issuer: String::new(),
            leeway: 0,
            jwks_max_age: 0,
            registry: Registry::default(),
            keys: KeyRing::lenient(Vec::new(), Plan::default()),
        };
        Self::new(snapshot, Clock::system())
    }
}
