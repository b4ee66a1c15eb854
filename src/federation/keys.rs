//! An issuer's keys: read from a file, or fetched on demand and cached.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::source::{Resolve, Source, System};
use crate::clock::Timestamp;
use crate::foreign::KeySet;

/// Seconds for which the last good set is accepted.
const LAST_GOOD: i64 = 86_400;
/// Minimum seconds between fetches for an issuer with keys, whether for an unknown `kid` or in the
/// background.
const PAUSE: i64 = 30;
/// Minimum seconds between fetches for an issuer without keys.
const RETRY: i64 = 5;
/// Maximum requests that wait for one issuer's keys.
const MAX_WAITING: usize = 64;

/// Where an issuer's keys come from.
#[derive(Debug)]
pub(super) enum Keys {
    /// In a file, read with the configuration.
    File(Arc<KeySet>),
    /// Fetched from the issuer.
    Fetched(Arc<Kept>),
}

/// An issuer's fetched keys.
#[derive(Debug)]
pub(super) struct Kept {
    issuer: Box<str>,
    pub(super) source: Source,
    resolver: Arc<dyn Resolve>,
    last_good: ArcSwapOption<Good>,
    attempts: Mutex<Attempts>,
    turn: Arc<Turn<()>>,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Good {
    keys: Arc<KeySet>,
    fetched: Timestamp,
    max_age: i64,
}

/// The outcome of past fetches.
#[derive(Debug, Default)]
struct Attempts {
    count: u64,
    last: Option<Timestamp>,
    /// Why the last one failed, if it did.
    failure: Option<String>,
}

/// What a token needs of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Newer keys, in the background.
    Beside,
    /// Keys, without which the token cannot be accepted.
    Wait,
}

impl Kept {
    pub(super) fn new(issuer: &str, source: Source) -> Self {
        Self::resolved_by(Arc::new(System), issuer, source)
    }

    fn resolved_by(resolver: Arc<dyn Resolve>, issuer: &str, source: Source) -> Self {
        Self {
            issuer: issuer.into(),
            source,
            resolver,
            last_good: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            turn: Arc::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Returns the keys, if they were fetched within a day before `now`.
    pub(super) fn current(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let good = self.last_good.load();
        good.as_ref().filter(|good| now.since(good.fetched) < LAST_GOOD).map(|good| Arc::clone(&good.keys))
    }

    /// Returns the seconds since the keys were fetched, if ever.
    pub(super) fn age(&self, now: Timestamp) -> Option<i64> {
        self.last_good.load().as_ref().map(|good| now.since(good.fetched))
    }

    /// Returns why the last fetch failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.attempts().failure.clone()
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what a token that names `kid` needs, and after how many fetches that was so.
    fn need(&self, kid: Option<&str>, now: Timestamp) -> (Need, u64) {
        let (last, count) = {
            let attempts = self.attempts();
            (attempts.last, attempts.count)
        };
        let since = last.map_or(i64::MAX, |last| now.since(last).saturating_abs());
        let need = match &*self.last_good.load() {
            Some(good) if now.since(good.fetched) < LAST_GOOD => {
                let is_unknown = kid.is_some_and(|kid| !good.keys.has_kid(kid));
                match (since >= PAUSE, is_unknown, now.since(good.fetched).saturating_abs() >= good.max_age) {
                    (true, true, _) => Need::Wait,
                    (true, false, true) => Need::Beside,
                    _ => Need::Nothing,
                }
            }
            _ if since >= RETRY => Need::Wait,
            _ => Need::Nothing,
        };
        (need, count)
    }

    /// Makes sure that there are keys for a token that names `kid`: fetches them, or waits for a
    /// fetch in progress.
    pub(super) async fn prepare(self: &Arc<Self>, kid: Option<&str>, now: Timestamp) {
        match self.need(kid, now) {
            (Need::Nothing, _) => {}
            (Need::Beside, _) => {
                if let Ok(turn) = Arc::clone(&self.turn).try_lock_owned() {
                    tokio::spawn(Arc::clone(self).fetch(turn, now));
                }
            }
            (Need::Wait, seen) => self.wait(seen, now).await,
        }
    }

    /// Waits for the fetch after those that were `seen`: begins it, unless another request has.
    async fn wait(self: &Arc<Self>, seen: u64, now: Timestamp) {
        let Some(_place) = Place::take(&self.waiting) else { return };
        let turn = Arc::clone(&self.turn).lock_owned().await;
        if self.attempts().count == seen {
            // A separate task goes on when the request that started it is dropped.
            let _ = tokio::spawn(Arc::clone(self).fetch(turn, now)).await;
        }
    }

    async fn fetch(self: Arc<Self>, _turn: OwnedMutexGuard<()>, now: Timestamp) {
        let fetched = self.source.fetch(&*self.resolver).await;
        let failure = match fetched {
            Ok(fetched) => {
                tracing::info!(issuer = &*self.issuer, keys = fetched.keys.len(), "fetched an issuer's keys");
                let good = Good { keys: Arc::new(fetched.keys), fetched: now, max_age: fetched.max_age };
                self.last_good.store(Some(Arc::new(good)));
                None
            }
            Err(why) => {
                let why = why.in_a_line();
                tracing::warn!(issuer = &*self.issuer, why, "an issuer's keys cannot be fetched");
                Some(why)
            }
        };
        let mut attempts = self.attempts();
        *attempts = Attempts { count: attempts.count.wrapping_add(1), last: Some(now), failure };
    }
}

/// A slot for a waiting request.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let free = |count: usize| (count < MAX_WAITING).then_some(count + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
