//! Reloading: what the files say now takes the place of what they said, part by
//! part, and each part whole or not at all.
//!
//! Files are compared by content, which also sees the swapped links of Kubernetes
//! and works where nobody announces a change, as on NFS. A file that may still be
//! being written waits for a second look ([`sight`](super::sight)). A change that
//! drops the revocation of a key that is still there, or every client, looks like
//! a file of which the rest is still to come, and waits for a minute. Whatever is
//! wrong with a part, what was in force stays so, and the other parts go on; the
//! log, the ops listener and the service manager say why.
//!
//! Another part is another `impl Part`, one field of [`Reloader`], one entry in
//! [`Reloader::parts`], and its name among the metrics' labels.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::Instant;

use super::error::StartError;
use super::load::{KeySets, certificates, compile, identity, settings};
use super::part::{Part, Watch, Watched};
use super::sight::{Content, Pace};
use crate::clock::Timestamp;
use crate::config::{self, Config, Overrides};
use crate::keys::{Folder, Gravity, Kid};
use crate::server::{Identity, Tls, TlsFiles, manager};
use crate::service::{Snapshot, State, Warning};

/// The longest time until a file that was not whole when somebody asked is looked at again.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Looks at the files, and loads them if they have changed.
#[derive(Debug)]
pub struct Reloader {
    state: Arc<State>,
    settings: Watched<Settings>,
    tls: Option<Watched<Pair>>,
    /// The keys that signed when somebody last looked.
    signing: Vec<String>,
}

/// The configuration and the keys: what requests are decided by.
#[derive(Debug)]
struct Settings {
    origin: Origin,
    /// What was said at the start, for what only a restart changes.
    running: Config,
    interval: Duration,
    state: Arc<State>,
}

/// The certificate and its key: what TLS connections are shown.
#[derive(Debug)]
struct Pair {
    paths: config::Tls,
    tls: Arc<Tls>,
}

/// Where the configuration is read again.
#[derive(Debug)]
enum Origin {
    File(PathBuf, Overrides),
    /// There is no file, and what was made up at the start stays.
    Development(Box<Config>),
}

impl Reloader {
    /// Keeps `state`, which began with `config`, in step with the files.
    /// `overrides` are what won over the file.
    #[must_use]
    pub fn new(config: Config, overrides: Overrides, state: Arc<State>, tls: Option<Arc<Tls>>) -> Self {
        let interval = seconds(config.reload.interval);
        let pace = pace(false, interval, state.clock());
        let pair = config.tls.clone().zip(tls).map(|(paths, tls)| Watched::new(Pair { paths, tls }, pace));
        let settings = Settings {
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
            state,
        }
    }

    /// Everything that is loaded by itself.
    fn parts(&mut self) -> impl Iterator<Item = &mut dyn Watch> {
        let tls = self.tls.as_mut().map(|part| part as &mut dyn Watch);
        [Some(&mut self.settings as &mut dyn Watch), tls].into_iter().flatten()
    }

    /// Looks at the files once. `asked` says that somebody wants it, so that even
    /// what is as before is loaded again, and a refusal is said again; otherwise it
    /// is an interval since the look before, and may confirm what was seen then.
    pub fn look(&mut self, asked: bool) {
        let (state, pace) = (Arc::clone(&self.state), pace(asked, self.settings.part.interval, self.state.clock()));
        let mut applied = false;
        for part in self.parts() {
            // A mistake of ours must not end all reloading: what is in force stays.
            match std::panic::catch_unwind(AssertUnwindSafe(|| part.look(pace, &state))) {
                Ok(put) => applied |= put,
                Err(_) => part.fail(&state),
            }
        }
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

    /// What the service manager shows of it.
    fn status(&mut self) -> String {
        let refused = self.state.refused();
        let refused = refused.map(|why| format!("reload refused, what was loaded before stays in force: {why}"));
        refused.into_iter().chain(self.parts().filter_map(|part| part.pending())).collect::<Vec<_>>().join("; ")
    }

    /// When to look again after a look at `now`, if the next one was to be at `next`. Two looks that may
    /// confirm each other are an interval apart, or 2 s if that is less and somebody asked.
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

fn pace(asked: bool, interval: Duration, now: Timestamp) -> Pace {
    let seconds = interval.min(SECOND_LOOK).as_secs().try_into().unwrap_or(i64::MAX);
    Pace { asked, seconds, now }
}

impl Part for Settings {
    type Read = (String, Folder, KeySets);
    type Ready = (Snapshot, Duration);

    const NAME: &'static str = "configuration";

    fn read(&self) -> Result<Self::Read, StartError> {
        let content = match &self.origin {
            Origin::File(path, _) => Config::content(path)?,
            Origin::Development(_) => String::new(),
        };
        let key_sets = KeySets::read(&self.state.snapshot().key_sets);
        Ok((content, Folder::read(&self.running.keys.path)?, key_sets))
    }

    fn files(&self, (content, folder, key_sets): &Self::Read) -> Vec<Content> {
        match &self.origin {
            Origin::File(path, _) => settings(Some(path), content, folder, key_sets),
            Origin::Development(_) => settings(None, content, folder, key_sets),
        }
    }

    fn in_force(&self) -> [u8; 32] {
        self.state.snapshot().files
    }

    /// Time has passed a key by; or it has run backwards, so that keys may be wanted that had been forgotten.
    fn is_due(&self, now: Timestamp) -> bool {
        let current = self.state.snapshot();
        current.keys.holds_retired(now) || now < current.compiled
    }

    fn load(&mut self, (content, folder, key_sets): Self::Read, now: Timestamp) -> Result<Self::Ready, StartError> {
        let mut config = match &self.origin {
            Origin::File(path, overrides) => Config::parse(path, content, overrides.clone())?,
            Origin::Development(config) => Config::clone(config),
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
        Ok((snapshot, seconds(config.reload.interval)))
    }

    fn doubt(&self, (snapshot, _): &Self::Ready) -> Option<String> {
        let before = self.state.snapshot();
        let unrevoked: Vec<_> = snapshot.keys.unrevoked(&before.keys).map(Kid::as_str).collect();
        let clients = (snapshot.registry.is_empty() && !before.registry.is_empty())
            .then(|| format!("it removes every client ({} of {0})", before.registry.len()));
        let revoked = (!unrevoked.is_empty())
            .then(|| format!("it takes {} out of `revoked`, and the key is still in the folder", unrevoked.join(", ")));
        let whys: Vec<_> = revoked.into_iter().chain(clients).collect();
        (!whys.is_empty()).then(|| whys.join("; "))
    }

    fn put(&mut self, (snapshot, interval): Self::Ready) {
        let before = self.state.snapshot();
        for warning in snapshot.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
            tracing::warn!(warning = warning.message, "reloading");
        }
        self.interval = interval;
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

    /// A certificate that expires while it is in force stays so, and is refused from then on, so that
    /// its operator hears of it.
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

/// Looks at the files at every interval, and at once on `hangup`, for ever. The
/// thread that waits for this is held up while files are parsed, so it must serve nobody.
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
