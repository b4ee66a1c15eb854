//! Reloading: what the files say now takes the place of what they said, whole or
//! not at all.
//!
//! Files are compared by content, which also sees the swapped links of Kubernetes
//! and works where nobody announces a change, as on NFS. Whatever is wrong with
//! them, the snapshot in force stays, the log says why, and the ops listener too.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::{Files, Loaded, StartError, compile};
use crate::config::{self, Config, Drain, Issuer, Listen, Overrides};
use crate::keys::Gravity;
use crate::server::{Tls, manager};
use crate::service::{State, Warning};

/// Looks at the files, and loads them if they have changed.
#[derive(Debug)]
pub struct Reloader {
    origin: Origin,
    fixed: Fixed,
    interval: Duration,
    state: Arc<State>,
    tls: Option<Arc<Tls>>,
    /// What was refused last: it is said once.
    refused: Option<Refused>,
    /// Whether that may become good as time goes by.
    passing: bool,
    /// The keys that signed when somebody last looked.
    signing: Vec<String>,
}

/// What was refused.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// These files, whatever the reason says of the time.
    Files([u8; 32]),
    /// Files that could not be read, for this reason.
    Unread(String),
}

/// Where the configuration is read again.
#[derive(Debug)]
enum Origin {
    File(PathBuf, Overrides),
    /// There is no file, and what was made up at the start stays.
    Development(Box<Config>),
}

/// What only a restart changes.
#[derive(Debug)]
struct Fixed {
    issuer: Issuer,
    listen: Vec<Listen>,
    ops: Option<Vec<Listen>>,
    drain: Drain,
    connections: Option<u32>,
    proxy_protocol: bool,
    tls: Option<config::Tls>,
    keys: PathBuf,
}

impl Reloader {
    /// Keeps `state`, which began with `config`, in step with the files.
    /// `overrides` are what won over the file.
    #[must_use]
    pub fn new(config: Config, overrides: Overrides, state: Arc<State>, tls: Option<Arc<Tls>>) -> Self {
        Self {
            fixed: Fixed {
                issuer: config.issuer.clone(),
                listen: config.listen.clone(),
                ops: config.ops.clone(),
                drain: config.drain,
                connections: config.connections,
                proxy_protocol: config.proxy_protocol,
                tls: config.tls.clone(),
                keys: config.keys.path.clone(),
            },
            interval: seconds(config.reload_interval),
            origin: match config.source.path() {
                Some(path) => Origin::File(path.to_owned(), overrides),
                None => Origin::Development(Box::new(config)),
            },
            tls,
            signing: state.snapshot().keys.signing(state.clock()),
            state,
            refused: None,
            passing: false,
        }
    }

    /// Looks at the files once. `asked` says that somebody wants it, so that even
    /// what is as before is loaded again, and a refusal is said again.
    pub fn look(&mut self, asked: bool) {
        self.reload(asked);
        self.tell_who_signs();
    }

    fn tell_who_signs(&mut self) {
        let signing = self.state.snapshot().keys.signing(self.state.clock());
        for key in signing.iter().filter(|key| !self.signing.contains(key)) {
            tracing::info!(key, "signs from now on");
        }
        self.signing = signing;
    }

    fn reload(&mut self, asked: bool) {
        let (seen, outcome) = match self.read() {
            Err(error) => (None, Err(error)),
            Ok((content, files)) => {
                let seen = files.digest(&content);
                if !asked && !self.is_due(seen) {
                    return self.accept("the files are again what is in force");
                }
                if !asked && !self.passing && self.refused == Some(Refused::Files(seen)) {
                    return;
                }
                (Some(seen), self.load(content, &files))
            }
        };
        match outcome {
            Ok(()) => self.accept("what was wrong with the files is mended"),
            Err(error) => {
                self.passing = error.passing;
                self.refuse(asked, seen, error.to_string());
            }
        }
    }

    fn read(&self) -> Result<(String, Files), StartError> {
        let content = match &self.origin {
            Origin::File(path, _) => Config::content(path)?,
            Origin::Development(_) => String::new(),
        };
        Ok((content, Files::read(&self.fixed.keys, self.fixed.tls.as_ref())?))
    }

    /// Whether the files are not what is in force; or time has passed a key by; or
    /// it has run backwards, so that keys may be wanted that had been forgotten.
    fn is_due(&self, seen: [u8; 32]) -> bool {
        let (current, now) = (self.state.snapshot(), self.state.clock());
        seen != current.files || current.keys.holds_retired(now) || now < current.compiled
    }

    fn load(&mut self, content: String, files: &Files) -> Result<(), StartError> {
        let now = self.state.clock();
        let mut config = match &self.origin {
            Origin::File(path, overrides) => Config::parse(path, content, overrides.clone())?,
            Origin::Development(config) => Config::clone(config),
        };
        let mut warnings = self.fixed.hold(&mut config);
        let Loaded { mut snapshot, identity } = compile(&config, files, now)?;
        let before = self.state.snapshot();
        for finding in snapshot.keys.replacing(&before.keys, before.jwks_max_age, now) {
            if finding.gravity == Gravity::Refused {
                return Err(StartError::new(format!("{}: {finding}", self.fixed.keys.display())).passing());
            }
            warnings.push(Warning { message: finding.message, until: finding.until });
        }
        snapshot.keys.remember(&before.keys);
        snapshot.registry.keep_limiters(&before.registry);
        warnings.append(&mut snapshot.warnings);
        for warning in warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
            tracing::warn!(warning = warning.message, "reloading");
        }
        snapshot.warnings = warnings;
        self.interval = seconds(config.reload_interval);
        let signing = snapshot.keys.signer(snapshot.registry.algorithm(), now).map(|key| key.kid().to_string());
        tracing::info!(clients = snapshot.registry.len(), signing, "reloaded");
        self.state.swap(snapshot);
        if let (Some(tls), Some(identity)) = (&self.tls, identity) {
            tls.swap(identity);
        }
        Ok(())
    }

    fn accept(&mut self, mended: &str) {
        if self.refused.take().is_some() {
            tracing::info!("{mended}");
            self.state.confirm();
        }
    }

    /// The same refusal of the same files is said once.
    fn refuse(&mut self, asked: bool, seen: Option<[u8; 32]>, why: String) {
        let refused = Some(seen.map_or_else(|| Refused::Unread(why.clone()), Refused::Files));
        let new = asked || self.refused != refused;
        if new {
            tracing::error!(error = why, "reload refused: what was loaded before stays in force");
        }
        self.state.refuse(why, new);
        self.refused = refused;
    }
}

impl Fixed {
    /// Keeps what only a restart changes, and says so.
    fn hold(&self, config: &mut Config) -> Vec<Warning> {
        let changed = [
            ("issuer", config.issuer != self.issuer),
            ("listen", config.listen != self.listen),
            ("ops.listen", config.ops != self.ops),
            ("drain", config.drain != self.drain),
            ("limits.connections", config.connections != self.connections),
            ("proxy_protocol", config.proxy_protocol != self.proxy_protocol),
            ("tls", config.tls != self.tls),
            ("keys.path", config.keys.path != self.keys),
        ];
        // The rest of it is not looked at again.
        config.issuer = self.issuer.clone();
        config.keys.path.clone_from(&self.keys);
        let restart = |what| format!("restart needed: `{what}` has changed, and the old value is in force");
        changed.into_iter().filter(|(_, changed)| *changed).map(|(what, _)| Warning::standing(restart(what))).collect()
    }
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.try_into().unwrap_or(1))
}

/// Looks at the files at every interval, and at once on `hangup`, for ever. The
/// thread that waits for this is held up while files are parsed, so it must serve nobody.
pub async fn watch(mut reloader: Reloader, mut hangup: Signal) -> ! {
    loop {
        let asked = tokio::select! {
            () = tokio::time::sleep(reloader.interval) => false,
            _ = hangup.recv() => true,
        };
        if asked {
            manager::reloading();
        }
        // A mistake of ours must not end all reloading: what is in force stays.
        if std::panic::catch_unwind(AssertUnwindSafe(|| reloader.look(asked))).is_err() {
            reloader.refuse(true, None, "an internal error; the log says where".to_owned());
        }
        if asked {
            manager::ready();
        }
    }
}
