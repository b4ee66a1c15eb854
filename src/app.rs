//! The composition root: a [`Config`] becomes what runs. The only place that
//! knows every room.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::clients::Registry;
use crate::clock::{Clock, Timestamp};
use crate::config::{Config, ConfigError, Listen, Text};
use crate::http::{self, Snapshot, State};
use crate::keys::{self, KeyError, KeyRing, Kid, Plan};
use crate::server;

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
    let registry = Registry::compile(config)?;
    let plan = plan(config, &registry)?;
    let keys = KeyRing::new(keys::load(&config.keys.path)?, plan, &config.keys.path, now)?;
    Ok(Snapshot {
        issuer: config.issuer.as_str().to_owned(),
        leeway: config.token.leeway,
        jwks_max_age: config.keys.jwks_max_age,
        registry,
        keys,
    })
}

/// What is allowed, but probably not meant.
#[must_use]
pub fn warnings(config: &Config, snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut all = Vec::new();
    if snapshot.registry.is_empty() && snapshot.registry.anonymous().is_none() {
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
    let known: Vec<_> = snapshot.keys.states(now).into_iter().map(|(key, _)| key.kid().as_str()).collect();
    for kid in config.keys.revoked.iter().filter(|kid| !known.contains(&kid.get_ref().as_str())) {
        all.push(format!(
            "the revoked key {} is not in the folder; the line may go once its tokens have ended",
            kid.get_ref()
        ));
    }
    if config.ops.is_some() {
        all.push("[ops] is read, but this version has no ops listener".to_owned());
    }
    all
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

/// Serves `state` on `listeners` until `stop` is done.
pub async fn serve(state: Arc<State>, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) {
    server::serve(listeners, http::routes(&state), stop, DRAIN).await;
}

/// The state of a service that begins with `snapshot`.
#[must_use]
pub fn state(snapshot: Snapshot, clock: Clock) -> Arc<State> {
    Arc::new(State::new(snapshot, clock))
}
