//! What outlives a snapshot: the clock, limits, metrics, what became of the last reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::Snapshot;
use crate::clients::{FailureLimiter, ReplayTable};
use crate::clock::{Clock, Timestamp};
use crate::revocation::{Kind, MAX_SIGNED, Marks, Revocations};
use crate::telemetry::Metrics;

/// The list of revocations in force, and what it was read from. It is no part of a [`Snapshot`]: a new list drops no
/// verified token and reads no key again.
#[derive(Debug, Default)]
pub struct RevocationList {
    /// What has ended.
    pub entries: Revocations,
    /// A digest of the files' contents, the same on replicas that agree.
    pub digest: [u8; 32],
    /// When the newest of the files was written; None if there is no file.
    pub newest: Option<Timestamp>,
    /// A digest of what the system said of the files when they were read.
    pub status: [u8; 32],
    /// Which last line does not count because it has no newline, if there is one.
    pub waiting: Option<String>,
}

/// The list of revocations as everybody may read it, signed.
#[derive(Debug)]
pub struct SignedList {
    /// The JWT.
    pub jwt: String,
    /// A weak entity tag (RFC 9110 §8.8.3): replicas say the same in other bytes, because signatures are random.
    pub etag: String,
    /// What it was made of.
    pub(super) key: [u8; 32],
}

/// The current snapshot, the clock, and what became of the last reload.
#[derive(Debug)]
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    revocations: ArcSwap<RevocationList>,
    /// Its signed form, once somebody has asked for it.
    pub(super) signed: ArcSwapOption<SignedList>,
    clock: Clock,
    refused: ArcSwapOption<String>,
    pending: ArcSwap<Vec<String>>,
    draining: AtomicBool,
    /// Failed client authentications, by address prefix.
    pub(super) failures: FailureLimiter,
    /// Proofs that were seen.
    pub proofs: ReplayTable,
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
            revocations: ArcSwap::default(),
            signed: ArcSwapOption::empty(),
            clock,
            refused: ArcSwapOption::empty(),
            pending: ArcSwap::default(),
            draining: AtomicBool::new(false),
            failures: FailureLimiter::default(),
            proofs: ReplayTable::default(),
            metrics,
        }
    }

    /// Replaces the snapshot for the requests to come.
    pub fn swap(&self, snapshot: Snapshot) {
        self.metrics.loaded(&snapshot.keys.digest(), &snapshot.configuration_digest);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Replaces the list of revocations, for tokens that are known too.
    pub fn revoke(&self, list: RevocationList) {
        let counts = list.entries.counts().map(|(kind, count)| (kind.word(), count));
        self.metrics.revocations(counts, list.newest, &list.digest);
        self.revocations.store(Arc::new(list));
    }

    /// The list of revocations in force.
    #[must_use]
    pub fn revocations(&self) -> Arc<RevocationList> {
        self.revocations.load_full()
    }

    /// By an entry of which kind the list ends a token with these `marks` that began at `began`, if one does.
    pub(super) fn revoked(&self, marks: &Marks, began: Timestamp) -> Option<Kind> {
        self.revocations.load().entries.end(marks, began)
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

    /// What is to be warned of at `now`: of `snapshot`, which is in force, and of what is not applied yet.
    #[must_use]
    pub fn warnings(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
        let (pending, list) = (self.pending.load(), self.revocations.load());
        let is_long = snapshot.publishes_revocations && !list.entries.can_be_signed();
        let unpublished = is_long.then(|| {
            format!(
                "the list of revocations is not published, and verifiers that fetch it obey none: more than {MAX_SIGNED} \
                 entries still matter; revoke a client or a subject instead of each token, or drop old ones with \
                 `lingpai revoke --prune`"
            )
        });
        let own = snapshot.warnings(now).map(str::to_owned).chain(snapshot.issuers.stale(now));
        own.chain(pending.iter().cloned()).chain(list.waiting.clone()).chain(unpublished).collect()
    }

    /// From now on it says that it is not ready, because it will end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What keeps it from being ready at `now` with `snapshot`, in a word.
    #[must_use]
    pub fn unready(&self, snapshot: &Snapshot, now: Timestamp) -> Option<&'static str> {
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
