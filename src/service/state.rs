//! What outlives a snapshot: the clock, the limits, the metrics, the outcome of the last reload.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;

use super::Snapshot;
use crate::clients::{FailureLimiter, ReplayTable};
use crate::clock::{Clock, Timestamp};
use crate::revocation::{Kind, MAX_SIGNED, Marks, Revocations};
use crate::telemetry::{DRAINING, Metrics};

/// The revocation list in force, and where it came from. It is not part of a [`Snapshot`]: a new
/// list drops no verified token and reloads no key.
#[derive(Debug, Default)]
pub struct RevocationList {
    /// The entries.
    pub entries: Revocations,
    /// A digest of the files' contents, the same on replicas that agree.
    pub digest: [u8; 32],
    /// The modification time of the newest file; None if there is no file.
    pub newest: Option<Timestamp>,
    /// A digest of the files' metadata when they were read.
    pub status: [u8; 32],
    /// A last line that is ignored because it lacks its newline, if any.
    pub waiting: Option<String>,
}

/// The revocation list, signed, for anyone to read.
#[derive(Debug)]
pub struct SignedList {
    /// The JWT. Answers share it.
    pub jwt: Bytes,
    /// A weak entity tag (RFC 9110 §8.8.3): replicas' bytes differ, because signatures are random.
    pub etag: String,
    /// A digest of what was signed.
    pub(super) key: [u8; 32],
}

/// The current snapshot, the clock, and the outcome of the last reload.
#[derive(Debug)]
pub struct State {
    snapshot: ArcSwap<Snapshot>,
    revocations: ArcSwap<RevocationList>,
    /// The list's signed form, once requested.
    pub(super) signed: ArcSwapOption<SignedList>,
    clock: Clock,
    refused: ArcSwapOption<String>,
    pending: ArcSwap<Vec<String>>,
    draining: AtomicBool,
    /// Failed client authentications, by address prefix.
    pub(super) failures: FailureLimiter,
    /// Proofs that were already used.
    pub(super) proofs: ReplayTable,
    /// Counters, for the operator's listener.
    pub metrics: Metrics,
}

impl State {
    /// Creates a state with `snapshot` in force.
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

    /// Replaces the snapshot for all further requests.
    pub fn swap(&self, snapshot: Snapshot) {
        self.metrics.loaded(&snapshot.keys.digest(), &snapshot.configuration_digest);
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Replaces the revocation list; cached tokens obey it too.
    pub fn revoke(&self, list: RevocationList) {
        let counts = list.entries.counts().map(|(kind, count)| (kind.word(), count));
        self.metrics.revocations(counts, list.newest, &list.digest);
        self.revocations.store(Arc::new(list));
    }

    /// Returns the revocation list in force.
    #[must_use]
    pub fn revocations(&self) -> Arc<RevocationList> {
        self.revocations.load_full()
    }

    /// Returns the kind of entry that ends a token with these `marks` whose session began at
    /// `began`, if any.
    pub(super) fn revoked(&self, marks: &Marks, began: Timestamp) -> Option<Kind> {
        self.revocations.load().entries.end(marks, began)
    }

    /// Counts a refused reload of this part.
    pub fn count_refused_reload(&self, part: &'static str) {
        self.metrics.reload_refused(part);
    }

    /// Records the outcome of the last look at the files: whether anything was applied, what is
    /// refused and why, and what is not applied yet and why.
    pub fn looked(&self, applied: bool, refused: Option<String>, pending: Vec<String>) {
        if applied {
            self.metrics.reloaded();
        }
        self.metrics.in_force(refused.is_none());
        self.refused.store(refused.map(Arc::new));
        self.pending.store(Arc::new(pending));
    }

    /// Returns why the files are not in force, if they are not.
    #[must_use]
    pub fn refused(&self) -> Option<Arc<String>> {
        self.refused.load_full()
    }

    /// Returns the warnings at `now`: those of `snapshot`, and those about changes that are not
    /// applied yet.
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

    /// Reports not ready from now on, because the process is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns why the service is not ready at `now` with `snapshot`, in one word.
    #[must_use]
    pub fn unready(&self, snapshot: &Snapshot, now: Timestamp) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some(DRAINING)
        } else if snapshot.keys.signs(now) {
            None
        } else {
            Some("no_key_signs")
        }
    }

    /// Returns the snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Returns the current second.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.clock.now()
    }

    /// A state without clients or keys, for describing the API.
    pub(crate) fn empty() -> Self {
        Self::new(Snapshot::empty(), Clock::system())
    }
}
