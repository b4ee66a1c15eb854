//! What every request sees: one snapshot, from its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::native::Inspected;
use crate::clients::{Meter, Rate, Registry};
use crate::clock::{Clock, Timestamp};
use crate::config::Forwarding;
use crate::keys::{KeyRing, Plan};
use crate::telemetry::Metrics;
use crate::token::{AccessClaims, Cache, Verifying};

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
    /// Access tokens that were found good.
    pub inspected: Cache<AccessClaims, Inspected>,
    /// How many client authentications of one address may fail, if that is limited.
    pub failures: Option<Rate>,
    /// Whose pages may read answers.
    pub origins: Vec<Box<str>>,
    /// Whom to believe about whom they speak for.
    pub forwarding: Forwarding,
    /// A digest of all that the configuration says about tokens and clients, but
    /// no secret, the same on replicas that agree.
    pub configuration_digest: [u8; 32],
    /// What is allowed, but probably not meant.
    pub warnings: Vec<Warning>,
    /// A digest of the files that all this was read from.
    pub files: [u8; 32],
    /// When that was.
    pub compiled: Timestamp,
}

/// What is allowed, but probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is, what would happen, and what to do.
    pub message: String,
    /// When the harm is over; None if it stays until somebody acts.
    pub until: Option<Timestamp>,
}

impl Warning {
    /// One that stays.
    #[must_use]
    pub fn standing(message: String) -> Self {
        Self { message, until: None }
    }
}

impl Snapshot {
    /// What is to be warned of at `now`.
    pub fn warnings(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let current = self.warnings.iter().filter(move |warning| warning.until.is_none_or(|until| now < until));
        current.map(|warning| warning.message.as_str())
    }

    /// What a token must agree with at `now`.
    #[must_use]
    pub fn verifying(&self, now: Timestamp) -> Verifying<'_> {
        Verifying { issuer: &self.issuer, leeway: self.leeway, now }
    }
}

/// The current snapshot, the clock, and what became of the last reload.
#[derive(Debug)]
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    clock: Clock,
    refused: ArcSwapOption<String>,
    pending: ArcSwap<Vec<String>>,
    draining: AtomicBool,
    /// Failed client authentications, by address, and by address and client.
    pub(super) failures: Meter,
    /// Pairs of tokens, by client.
    pub(super) issued: Meter,
    pub(super) metrics: Metrics,
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
            failures: Meter::default(),
            issued: Meter::default(),
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
        let (snapshot, now) = self.now();
        snapshot.warnings(now).map(str::to_owned).chain(self.pending.load().iter().cloned()).collect()
    }

    /// From now on it says that it is not ready, because it will end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What keeps it from being ready, in a word.
    pub(super) fn unready(&self) -> Option<&'static str> {
        let (snapshot, now) = self.now();
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

    /// The snapshot and the second of a request.
    pub(super) fn now(&self) -> (Guard<Arc<Snapshot>>, Timestamp) {
        (self.snapshot.load(), self.clock.now())
    }

    /// A state that serves nobody, to describe the interface with.
    pub(crate) fn empty() -> Self {
        let snapshot = Snapshot {
            issuer: String::new(),
            leeway: 0,
            jwks_max_age: 0,
            registry: Registry::default(),
            keys: KeyRing::lenient(Vec::new(), Plan::default()),
            inspected: Cache::new(0),
            failures: None,
            origins: Vec::new(),
            forwarding: Forwarding::default(),
            configuration_digest: [0; 32],
            warnings: Vec::new(),
            files: [0; 32],
            compiled: Timestamp::default(),
        };
        Self::new(snapshot, Clock::system())
    }
}
