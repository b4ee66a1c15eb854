//! Reloading: the files' new content replaces the old, part by part, and each part
//! entirely or not at all.
//!
//! Files are compared by content, which also detects the link swaps of Kubernetes
//! and works where changes are not announced, as on NFS. A file that may still be
//! being written waits for a second look ([`sight`](super::sight)). A change that
//! drops the revocation of a key that still exists, or every client, looks like an
//! incomplete file and waits for a minute. If a part has a problem, its old state
//! stays in force and the other parts go on; the log, the ops listener and the
//! service manager say why.
//!
//! A configuration may take long to compile. The revocation list is looked at before, and at every
//! interval meanwhile ([`beside`]): what is revoked does not wait for it.
//!
//! A new part needs an `impl Part`, a field of [`Reloader`], an entry in
//! [`Reloader::parts`], and its name among the metrics' labels.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::error::StartError;
use super::load::{KeySets, certificates, compile, identity, settings};
use super::part::{Part, Watch, Watched};
use super::revocations::List;
use super::sight::{Content, Pace};
use crate::clock::Timestamp;
use crate::config::{self, Config, Overrides, Texts};
use crate::keys::{Folder, Gravity, Kid};
use crate::server::{Identity, Tls, TlsFiles, manager};
use crate::service::{Snapshot, State, Warning};

/// Maximum time until a file that was incomplete at a requested reload is looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Looks at the files, and loads them if they have changed.
#[derive(Debug)]
pub struct Reloader {
    state: Arc<State>,
    settings: Watched<Settings>,
    tls: Option<Watched<Pair>>,
    revocations: Option<List>,
    /// The keys that signed at the last look.
    signing: Vec<String>,
}

/// The configuration and the keys: what decides requests.
#[derive(Debug)]
struct Settings {
    origin: Origin,
    /// The files of the configuration that is in force.
    files: Vec<PathBuf>,
    /// The settings at the start, for those that only a restart changes.
    running: Config,
    interval: Duration,
    state: Arc<State>,
}

/// The files of [`Settings`], as they were read.
struct Seen {
    /// None without a file.
    texts: Option<Texts>,
    /// Files of the configuration in force that are there no more. Some programs remove a file to write it anew, so one
    /// look that does not find it is not enough.
    gone: Vec<PathBuf>,
    folder: Folder,
    key_sets: KeySets,
}

/// [`Settings`] ready to be put in force.
#[derive(Debug)]
struct Compiled {
    snapshot: Snapshot,
    interval: Duration,
    files: Vec<PathBuf>,
}

/// The certificate and its key, for TLS connections.
#[derive(Debug)]
struct Pair {
    paths: config::Tls,
    tls: Arc<Tls>,
}

/// Where the configuration is read from at a reload.
#[derive(Debug)]
enum Origin {
    File(PathBuf, Overrides),
    /// There is no file: the development defaults of the start stay.
    Development(Box<Config>),
}

impl Reloader {
    /// Keeps `state`, which started with `config`, in step with the files.
    /// `overrides` override the file.
    #[must_use]
    pub fn new(config: Config, overrides: Overrides, state: Arc<State>, tls: Option<Arc<Tls>>) -> Self {
        let interval = seconds(config.reload.interval);
        let pace = pace(false, interval, state.clock());
        let pair = config.tls.clone().zip(tls).map(|(paths, tls)| Watched::new(Pair { paths, tls }, pace));
        let revocations = config.revocations.as_ref().map(|list| List::new(list.path.clone()));
        let settings = Settings {
            files: config.files().map(|(path, _)| path.to_owned()).collect(),
            running: config.without_clients(),
            interval,
            origin: match config.source.path() {
                Some(path) => Origin::File(path.to_owned(), overrides),
                None => Origin::Development(Box::new(config)),
            },
            state: Arc::clone(&state),
        };
        Self {
            signing: state.snapshot().keys.signing(state.clock()),
            settings: Watched::new(settings, pace),
            tls: pair,
            revocations,
            state,
        }
    }

    /// Returns every part.
    fn parts(&mut self) -> impl Iterator<Item = &mut dyn Watch> {
        let tls = self.tls.as_mut().map(|part| part as &mut dyn Watch);
        let revocations = self.revocations.as_mut().map(|part| part as &mut dyn Watch);
        [Some(&mut self.settings as &mut dyn Watch), tls, revocations].into_iter().flatten()
    }

    /// Looks at the files once. With `asked`, on request, unchanged files are loaded
    /// again too, and a refusal is logged again. Without it, an interval has passed
    /// since the last look, so this one may confirm what that one saw.
    pub fn look(&mut self, asked: bool) {
        let (state, interval) = (Arc::clone(&self.state), self.settings.part.interval);
        let Self { settings, tls, revocations, .. } = self;
        let look = |part: &mut dyn Watch, asked| looked(part, pace(asked, interval, state.clock()), &state);
        let mut first = asked;
        let mut slow = || look(settings, asked) | tls.as_mut().is_some_and(|pair| look(pair, asked));
        let applied = match revocations {
            Some(list) => beside(interval, || look(list, std::mem::take(&mut first)), slow),
            None => slow(),
        };
        let refused: Vec<_> = self.parts().filter_map(|part| part.refused()).collect();
        let refused = (!refused.is_empty()).then(|| refused.join("; "));
        let pending = self.parts().filter_map(|part| part.pending()).collect();
        state.looked(applied, refused, pending);
        self.tell_who_signs();
    }

    fn tell_who_signs(&mut self) {
        let signing = self.state.snapshot().keys.signing(self.state.clock());
        for key in signing.iter().filter(|key| !self.signing.contains(key)) {
            tracing::info!(key, "signs from now on");
        }
        self.signing = signing;
    }

    /// Returns the status for the service manager.
    fn status(&mut self) -> String {
        let refused = self.state.refused();
        let refused = refused.map(|why| format!("reload refused, the previous state stays in force: {why}"));
        refused.into_iter().chain(self.parts().filter_map(|part| part.pending())).collect::<Vec<_>>().join("; ")
    }

    /// Returns when to look again after a look at `now`, if the next one was due at `next`. Two looks that may
    /// confirm each other are an interval apart, or 2 s after a request if that is less.
    fn next(&mut self, asked: bool, now: Instant, next: Instant) -> Instant {
        let (interval, clock) = (self.settings.part.interval, self.state.clock());
        let regular = if asked { next.min(now + interval) } else { now + interval };
        if self.parts().any(|part| part.is_unfinished()) {
            return if asked { now + interval.min(SECOND_LOOK) } else { regular };
        }
        let held = self.parts().filter_map(|part| part.held_until()).min();
        held.map_or(regular, |until| regular.min(now + seconds(until.since(clock).max(1))))
    }
}

/// Looks at a part's files. Returns whether they were applied. A bug must not end all reloading: the old state stays in
/// force.
fn looked(part: &mut dyn Watch, pace: Pace, state: &State) -> bool {
    std::panic::catch_unwind(AssertUnwindSafe(|| part.look(pace, state))).unwrap_or_else(|_| {
        part.fail(state);
        false
    })
}

/// Runs `slow` between two runs of `quick`, and `quick` at every `interval` meanwhile. The second run is left out if
/// `slow` took less than a tenth of an interval. Returns whether any of them did anything.
///
/// `slow` stays on this thread, so that what it frees fragments one heap and not several.
fn beside(interval: Duration, mut quick: impl FnMut() -> bool + Send, slow: impl FnOnce() -> bool) -> bool {
    let before = quick();
    let (running, done) = mpsc::channel::<()>();
    let meanwhile = move || {
        let (began, mut did) = (Instant::now(), false);
        while done.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            did |= quick();
        }
        did | (began.elapsed() > interval / 10 && quick())
    };
    std::thread::scope(|scope| {
        // Without another thread the list waits, as it would for a slow disk.
        let meanwhile = std::thread::Builder::new().spawn_scoped(scope, meanwhile);
        let did = slow();
        drop(running);
        before | did | meanwhile.is_ok_and(|thread| thread.join().unwrap_or_default())
    })
}

fn parsed(texts: Texts, overrides: &Overrides) -> Result<Config, StartError> {
    let is_whole = texts.is_whole();
    let config = Config::of(texts, overrides.clone()).map_err(StartError::from);
    // What keeps an included file from being read may pass without a change of those that can be.
    config.map_err(|error| if is_whole { error } else { error.passing() })
}

fn is_gone(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn pace(asked: bool, interval: Duration, now: Timestamp) -> Pace {
    let seconds = interval.min(SECOND_LOOK).as_secs().try_into().unwrap_or(i64::MAX);
    Pace { asked, seconds, now }
}

impl Part for Settings {
    type Read = Seen;
    type Ready = Compiled;

    const NAME: &'static str = "configuration";

    fn read(&self) -> Result<Self::Read, StartError> {
        let texts = match &self.origin {
            Origin::File(path, _) => Some(Texts::read(path)?),
            Origin::Development(_) => None,
        };
        let missing = texts.as_ref().map_or_else(HashSet::new, |texts| texts.missing(&self.files));
        let gone = self.files.iter().filter(|path| missing.contains(path) || is_gone(path)).cloned().collect();
        let key_sets = KeySets::read(&self.state.snapshot().key_sets);
        Ok(Seen { texts, gone, folder: Folder::read(&self.running.keys.path)?, key_sets })
    }

    fn files(&self, read: &Self::Read) -> Vec<Content> {
        let mut all = settings(read.texts.iter().flat_map(Texts::iter), &read.folder, &read.key_sets);
        all.extend(read.gone.iter().map(|path| Content::gone(path)));
        all
    }

    fn in_force(&self) -> [u8; 32] {
        self.state.snapshot().files
    }

    /// A key has retired, or the clock was set back, so that keys may be needed that had been dropped.
    fn is_due(&self, now: Timestamp) -> bool {
        let current = self.state.snapshot();
        current.keys.holds_retired(now) || now < current.compiled
    }

    fn load(&mut self, read: Self::Read, now: Timestamp) -> Result<Self::Ready, StartError> {
        let Seen { texts, folder, key_sets, .. } = read;
        let mut config = match (&self.origin, texts) {
            (Origin::File(_, overrides), Some(texts)) => parsed(texts, overrides)?,
            (Origin::File(path, overrides), None) => Config::load(Some(path), overrides.clone())?,
            (Origin::Development(config), _) => Config::clone(config),
        };
        let restart = |what| format!("restart needed: `{what}` has changed, and the old value is in force");
        let changed = config.hold_back(&self.running).into_iter();
        let mut warnings: Vec<_> = changed.map(|what| Warning::standing(restart(what))).collect();
        let mut snapshot = compile(&config, &folder, key_sets, now)?;
        let before = self.state.snapshot();
        for finding in snapshot.keys.replacing(&before.keys, before.jwks_max_age, now) {
            if finding.gravity == Gravity::Refused {
                return Err(StartError::new(format!("{}: {finding}", self.running.keys.path.display())).passing());
            }
            warnings.push(Warning { message: finding.message, until: finding.until });
        }
        snapshot.keys.remember(&before.keys);
        snapshot.registry.keep_limiters(&before.registry);
        snapshot.issuers.keep_keys(&before.issuers);
        warnings.append(&mut snapshot.warnings);
        snapshot.warnings = warnings;
        let files = config.files().map(|(path, _)| path.to_owned()).collect();
        Ok(Compiled { snapshot, interval: seconds(config.reload.interval), files })
    }

    fn doubt(&self, Compiled { snapshot, .. }: &Self::Ready) -> Option<String> {
        let before = self.state.snapshot();
        let unrevoked: Vec<_> = snapshot.keys.unrevoked(&before.keys).map(Kid::as_str).collect();
        let clients = (snapshot.registry.is_empty() && !before.registry.is_empty())
            .then(|| format!("it removes every client ({} of {0})", before.registry.len()));
        let revoked = (!unrevoked.is_empty())
            .then(|| format!("it takes {} out of `revoked`, and the key is still in the folder", unrevoked.join(", ")));
        let whys: Vec<_> = revoked.into_iter().chain(clients).collect();
        (!whys.is_empty()).then(|| whys.join("; "))
    }

    fn put(&mut self, Compiled { snapshot, interval, files }: Self::Ready) {
        let before = self.state.snapshot();
        for warning in snapshot.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
            tracing::warn!(warning = warning.message, "reloading");
        }
        (self.interval, self.files) = (interval, files);
        let now = self.state.clock();
        let signing = snapshot.keys.signer(snapshot.registry.algorithm(), now).map(|key| key.kid().to_string());
        tracing::info!(clients = snapshot.registry.len(), signing, "reloaded");
        self.state.swap(snapshot);
    }
}

impl Part for Pair {
    type Read = TlsFiles;
    type Ready = Identity;

    const NAME: &'static str = "tls";

    fn read(&self) -> Result<Self::Read, StartError> {
        Ok(TlsFiles::read(&self.paths)?)
    }

    fn files(&self, read: &Self::Read) -> Vec<Content> {
        certificates(read)
    }

    fn in_force(&self) -> [u8; 32] {
        self.tls.files()
    }

    /// A certificate that expires while in force stays in force, but counts as refused from then on, so that
    /// the operator learns of it.
    fn is_due(&self, now: Timestamp) -> bool {
        self.tls.has_expired(now)
    }

    fn load(&mut self, read: Self::Read, now: Timestamp) -> Result<Self::Ready, StartError> {
        identity(&read, now)
    }

    fn put(&mut self, identity: Self::Ready) {
        self.tls.swap(identity);
        tracing::info!(part = Self::NAME, "reloaded");
    }
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.try_into().unwrap_or(1))
}

/// Looks at the files at every interval, and at once on `hangup`, forever. Parsing
/// blocks the thread that awaits this, so it must not serve requests.
pub async fn watch(mut reloader: Reloader, mut hangup: Signal) -> ! {
    let mut next = Instant::now() + reloader.settings.part.interval;
    let mut told = String::new();
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep_until(next) => false,
            _ = hangup.recv() => true,
        };
        if asked {
            manager::reloading();
        }
        reloader.look(asked);
        next = reloader.next(asked, Instant::now(), next);
        let status = reloader.status();
        match (asked, status != told) {
            (true, false) if status.is_empty() => manager::ready(),
            (true, _) => manager::reloaded(&status),
            (false, true) => manager::status(&status),
            (false, false) => {}
        }
        told = status;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs what is slow until `quick` has run `times` times beside it. Returns how often it ran in all.
    fn runs(interval: Duration, times: usize) -> usize {
        let (mut count, (ran, seen)) = (0, mpsc::channel());
        let quick = || {
            count += 1;
            ran.send(()).is_ok()
        };
        // Longer than any interval here: if nothing runs meanwhile, this fails and does not wait forever.
        let slow = || (0..times).all(|_| seen.recv_timeout(Duration::from_secs(10)).is_ok());
        assert!(beside(interval, quick, slow));
        count
    }

    #[test]
    fn what_is_quick_does_not_wait_for_what_is_slow() {
        // Once before, three times meanwhile, and once after.
        assert!(runs(Duration::from_millis(10), 4) >= 4);
        // Nothing is slow.
        assert_eq!(runs(Duration::from_mins(10), 1), 1);
        assert!(!beside(Duration::from_mins(10), || false, || false));
        assert!(beside(Duration::from_mins(10), || false, || true));
    }
}
