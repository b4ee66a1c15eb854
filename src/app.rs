//! The composition root: a [`Config`] becomes what runs. The only place that
//! knows every room.

mod reload;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::TcpListener;

use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, Listen, Text};
use crate::http::{self, Snapshot, State};
use crate::keys::{Digester, Folder, KeyError, KeyRing, Kid, Plan};
use crate::server;

pub use reload::{Reloader, watch};

/// How long requests in flight may take to finish once the process is to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the service does not start: one message that says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(String);

impl StartError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self(format!("the file cannot be changed: {error}"))
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self(error.to_string())
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self(error.to_string())
    }
}

/// What the configuration says about keys.
///
/// # Errors
/// A thumbprint that is none.
pub fn plan(config: &Config, registry: &Registry) -> Result<Plan, ConfigError> {
    let kid = |text: &Text| {
        let expected = "expected a key's id: 43 characters, as `lingpai keys list` shows it";
        Kid::parse(text.get_ref()).ok_or_else(|| config.source.error(text, expected))
    };
    let longest = registry.longest();
    Ok(Plan {
        algorithms: registry.algorithms(),
        revoked: config.keys.revoked.iter().map(kid).collect::<Result<_, _>>()?,
        access_window: longest.access + config.token.leeway,
        refresh_window: longest.refresh + config.token.leeway,
    })
}

/// Reads the keys and compiles everything that a request is decided by.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn snapshot(config: &Config, now: Timestamp) -> Result<Snapshot, StartError> {
    compile(config, &Folder::read(&config.keys.path)?, now)
}

fn compile(config: &Config, folder: &Folder, now: Timestamp) -> Result<Snapshot, StartError> {
    let registry = Registry::compile(config)?;
    let plan = plan(config, &registry)?;
    let keys = KeyRing::new(folder.keys()?, plan, &config.keys.path, now)?;
    let mut warnings = warnings(config, &registry, &keys, now);
    warnings.extend(keys.doubts(now).into_iter().map(|doubt| doubt.message));
    Ok(Snapshot {
        issuer: config.issuer.as_str().to_owned(),
        leeway: config.token.leeway,
        jwks_max_age: config.keys.jwks_max_age,
        warnings,
        configuration_digest: digest(config, &registry),
        files: files(config.source.content(), folder),
        compiled: now,
        registry,
        keys,
    })
}

/// A digest of all that was read, to tell whether anything has changed.
fn files(configuration: &str, folder: &Folder) -> [u8; 32] {
    let mut all = Digester::default();
    all.add(configuration.as_bytes());
    all.add(&folder.digest());
    all.finish()
}

/// A digest of what the configuration means to tokens: where a replica listens
/// and keeps its files is its own affair, and secrets are nobody's.
fn digest(config: &Config, registry: &Registry) -> [u8; 32] {
    let mut all = Digester::default();
    all.add(config.issuer.as_str().as_bytes());
    all.add(&config.token.leeway.to_be_bytes());
    all.add(&config.keys.jwks_max_age.to_be_bytes());
    for kid in config.keys.revoked.iter().map(Text::get_ref).collect::<BTreeSet<_>>() {
        all.add(kid.as_bytes());
    }
    registry.digest(&mut all);
    all.finish()
}

/// What is allowed, but probably not meant.
fn warnings(config: &Config, registry: &Registry, keys: &KeyRing, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    if registry.is_empty() && registry.anonymous().is_none() {
        all.push(
            "nobody can get a token: there is no client and no [anonymous]; `lingpai client add` adds a client"
                .to_owned(),
        );
    }
    if config.token.refresh_lifetime > config.token.session_lifetime {
        all.push(
            "refresh_lifetime is longer than session_lifetime, so sessions end before refresh tokens do".to_owned(),
        );
    }
    let schedule = keys.schedule(now);
    for kid in &config.keys.revoked {
        if !schedule.iter().any(|one| one.key.kid().as_str() == kid.get_ref()) {
            all.push(format!(
                "the revoked key {} is not in the folder; the line may go once its tokens have ended",
                kid.get_ref()
            ));
        }
    }
    all
}

/// What serving `config` would break, beside what keeps it from starting; `running`
/// is the configuration that it would take the place of, if that is known.
///
/// # Errors
/// What keeps either from starting.
pub fn check(config: &Config, running: Option<&Config>, now: Timestamp) -> Result<(Snapshot, Vec<String>), StartError> {
    let folder = Folder::read(&config.keys.path)?;
    let mut new = compile(config, &folder, now)?;
    let mut findings = new.keys.doubts(now);
    match running {
        // Without it, when the files were written is all that tells what verifiers have heard of.
        None => findings.extend(new.keys.published_late(folder.written(), new.jwks_max_age, now)),
        Some(running) => {
            let old = snapshot(running, now)?;
            findings.extend(new.keys.replacing(&old.keys, old.jwks_max_age, now));
        }
    }
    let mut breaks: Vec<_> = findings.into_iter().map(|finding| finding.message).collect();
    if let Some(old) = running.map(|running| running.issuer.as_str()).filter(|old| *old != new.issuer) {
        breaks.push(format!("the issuer changes from {old}: every token that has been issued is refused at once"));
    }
    new.warnings.retain(|warning| !breaks.contains(warning));
    Ok((new, breaks))
}

/// The addresses that this version can listen on.
///
/// # Errors
/// The first address that it cannot.
pub fn sockets(listen: &[Listen]) -> Result<Vec<SocketAddr>, StartError> {
    let socket = |address: &Listen| match address {
        Listen::Tcp(socket) => Ok(*socket),
        _ => Err(StartError(format!("cannot listen on {address}: this version listens on IP addresses only"))),
    };
    listen.iter().map(socket).collect()
}

/// Opens every address in `listen`.
///
/// # Errors
/// The first address that cannot be opened.
pub async fn bind(listen: &[Listen]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::with_capacity(listen.len());
    for address in sockets(listen)? {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|error| StartError::new(format!("cannot listen on {address}: {error}")))?);
    }
    Ok(listeners)
}

/// What the service accepts connections on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Everybody's.
    pub public: Vec<TcpListener>,
    /// The operator's.
    pub ops: Vec<TcpListener>,
}

/// Serves `state` on `listeners` until `stop` is done.
pub async fn serve(state: Arc<State>, listeners: Listeners, stop: impl Future<Output = ()>) {
    let stop = stop.shared();
    tokio::join!(
        server::serve(listeners.public, http::routes(&state), stop.clone(), DRAIN),
        server::serve(listeners.ops, http::ops_routes(&state), stop, DRAIN),
    );
}

/// The state of a service that begins with `snapshot`.
#[must_use]
pub fn state(snapshot: Snapshot, clock: Clock) -> Arc<State> {
    Arc::new(State::new(snapshot, clock))
}
