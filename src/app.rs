//! The composition root: a [`Config`] becomes what runs. The only place that
//! knows every room.

mod reload;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::clients::{Rate, Registry};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config, ConfigError, Listen, Text};
use crate::crypto::{Digester, NoRandomness};
use crate::http::{self, Refusals, RequestIds};
use crate::keys::{Folder, Gravity, KeyError, KeyRing, Kid, Plan};
use crate::server::{self, Identity, Inherited, Listener, Tls, TlsError, TlsFiles, Transport};
use crate::service::{Snapshot, State, Warning};
use crate::token::Cache;

pub use reload::{Reloader, watch};

/// The most connections of the operator at once.
const OPS_CONNECTIONS: usize = 64;

/// Why the service does not start: one message that says what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError {
    message: String,
    /// Whether it may pass without a change of the files.
    passing: bool,
}

impl StartError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), passing: false }
    }

    fn passing(self) -> Self {
        Self { passing: true, ..self }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        Self::new(format!("the file cannot be changed: {error}"))
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<NoRandomness> for StartError {
    fn from(_: NoRandomness) -> Self {
        Self::new("the system has no randomness")
    }
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::new(error.to_string())
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
    load(config, now).map(|loaded| loaded.snapshot)
}

/// What the files say, ready to be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// What requests are decided by.
    pub snapshot: Snapshot,
    /// What TLS connections are shown, if there are any.
    pub identity: Option<Identity>,
}

/// Reads and checks everything that `config` names.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn load(config: &Config, now: Timestamp) -> Result<Loaded, StartError> {
    compile(config, &Files::read(&config.keys.path, config.tls.as_ref())?, now)
}

/// The files beside the configuration, as they were at one time.
struct Files {
    folder: Folder,
    tls: Option<TlsFiles>,
}

impl Files {
    fn read(keys: &Path, tls: Option<&config::Tls>) -> Result<Self, StartError> {
        Ok(Self { folder: Folder::read(keys)?, tls: tls.map(TlsFiles::read).transpose()? })
    }

    /// A digest of all that was read, to tell whether anything has changed.
    fn digest(&self, configuration: &str) -> [u8; 32] {
        let mut all = Digester::default();
        all.add(configuration.as_bytes());
        all.add(&self.folder.digest());
        for part in self.tls.iter().flat_map(TlsFiles::parts) {
            all.add(part);
        }
        all.finish()
    }
}

fn compile(config: &Config, files: &Files, now: Timestamp) -> Result<Loaded, StartError> {
    let identity = files.tls.as_ref().map(|tls| tls.identity(now)).transpose();
    let identity = identity.map_err(|error| StartError::from(error).passing())?;
    let folder = &files.folder;
    let registry = Registry::compile(config)?;
    let plan = plan(config, &registry)?;
    let keys = KeyRing::new(folder.keys()?, plan, &config.keys.path, now);
    let keys = keys.map_err(|error| StartError::from(error).passing())?;
    let mut warnings = warnings(config, &registry, &keys, now);
    warnings.extend(keys.doubts(now).into_iter().map(|doubt| doubt.message));
    let warnings = warnings.into_iter().map(Warning::standing).collect();
    let snapshot = Snapshot {
        issuer: config.issuer.as_str().to_owned(),
        leeway: config.token.leeway,
        jwks_max_age: config.keys.jwks_max_age,
        warnings,
        configuration_digest: digest(config, &registry),
        forwarding: config.forwarding.clone(),
        origins: config.origins.iter().map(|origin| origin.as_str().into()).collect(),
        inspected: Cache::new(config.token.cache),
        failures: (config.failures > 0).then(|| Rate::then_each_second(config.failures)),
        files: files.digest(config.source.content()),
        compiled: now,
        registry,
        keys,
    };
    Ok(Loaded { snapshot, identity })
}

/// A digest of what the configuration means to those who ask: where a replica
/// listens and keeps its files is its own affair, and secrets are nobody's.
fn digest(config: &Config, registry: &Registry) -> [u8; 32] {
    let mut all = Digester::default();
    all.add(config.issuer.as_str().as_bytes());
    all.add(&config.token.leeway.to_be_bytes());
    all.add(&config.keys.jwks_max_age.to_be_bytes());
    for kid in config.keys.revoked.iter().map(Text::get_ref).collect::<BTreeSet<_>>() {
        all.add(kid.as_bytes());
    }
    // How long keys verify depends on these, though no client may have them.
    let longest = registry.longest();
    all.add(&longest.access.to_be_bytes());
    all.add(&longest.refresh.to_be_bytes());
    registry.digest(&mut all);
    all.add(format!("{:?}", config.forwarding).as_bytes());
    for origin in &config.origins {
        all.add(origin.as_str().as_bytes());
    }
    all.add(&config.failures.to_be_bytes());
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
                "the revoked key {} is not in the folder: is its id mistyped? If not, the line may go once its tokens have \
                 ended",
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
    distinct(config)?;
    let files = Files::read(&config.keys.path, config.tls.as_ref())?;
    let mut new = compile(config, &files, now)?.snapshot;
    let mut findings = new.keys.doubts(now);
    match running {
        // Without it, when the files were written is all that tells what verifiers have heard of.
        None => findings.extend(new.keys.published_late(files.folder.written(), new.jwks_max_age, now)),
        Some(running) => {
            let old = snapshot(running, now)?;
            findings.extend(new.keys.replacing(&old.keys, old.jwks_max_age, now));
        }
    }
    let (odd, breaks): (Vec<_>, Vec<_>) = findings.into_iter().partition(|finding| finding.gravity == Gravity::Odd);
    new.warnings.extend(odd.into_iter().map(|finding| Warning::standing(finding.message)));
    let mut breaks: Vec<_> = breaks.into_iter().map(|finding| finding.message).collect();
    if let Some(old) = running.map(|running| running.issuer.as_str()).filter(|old| *old != new.issuer) {
        breaks.push(format!("the issuer changes from {old}: every token that has been issued is refused at once"));
    }
    new.warnings.retain(|warning| !breaks.contains(&warning.message));
    Ok((new, breaks))
}

/// Refuses an address that is to be opened twice.
fn distinct(config: &Config) -> Result<(), StartError> {
    let mut seen = Vec::new();
    for address in config.listen.iter().chain(config.ops.iter().flatten()) {
        let any_port = matches!(address, Listen::Tcp(socket) if socket.port() == 0);
        if !any_port && seen.contains(&address) {
            return Err(StartError::new(format!("{address} stands twice in `listen` and `ops.listen`")));
        }
        seen.push(address);
    }
    Ok(())
}

/// What the service accepts connections on.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Everybody's.
    pub public: Vec<Listener>,
    /// The operator's.
    pub ops: Vec<Listener>,
}

impl Listeners {
    /// Opens every address of `config`, within a runtime.
    ///
    /// # Errors
    /// The first address that cannot be opened.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        distinct(config)?;
        let mut inherited = Inherited::from_environment();
        let mut listeners = Self::default();
        for address in config.ops.iter().flatten() {
            listeners.ops.push(open(address, &mut inherited)?);
        }
        for address in &config.listen {
            listeners.public.push(open(address, &mut inherited)?);
        }
        Ok(listeners)
    }
}

fn open(address: &Listen, inherited: &mut Inherited) -> Result<Listener, StartError> {
    let listener = Listener::open(address, inherited);
    listener.map_err(|error| StartError::new(format!("cannot listen on {address}: {error}")))
}

/// What `config` says about connections.
#[must_use]
pub fn transport(config: &Config) -> Transport {
    let seconds = |number: i64| Duration::from_secs(number.try_into().unwrap_or_default());
    let configured = config.connections.and_then(|number| number.try_into().ok());
    Transport {
        connections: configured.unwrap_or_else(server::default_connections),
        lame_duck: seconds(config.drain.lame_duck),
        drain: seconds(config.drain.limit),
        proxy_protocol: config.proxy_protocol,
    }
}

/// Serves `state` on `listeners` until `stop` is done, and then until nothing is
/// left to finish; meanwhile it says that it is not ready any more. Requests without
/// an id get one of `ids`.
pub async fn serve(
    state: Arc<State>,
    ids: RequestIds,
    listeners: Listeners,
    transport: Transport,
    tls: Option<Arc<Tls>>,
    stop: impl Future<Output = ()>,
) {
    let draining = Arc::clone(&state);
    let stop = stop.map(move |()| draining.drain()).shared();
    // The operator gets in when everybody else's connections are taken.
    let for_ops = Transport { connections: OPS_CONNECTIONS, proxy_protocol: false, ..transport };
    let refusals = Refusals::new(&state, ids.clone());
    let (public, ops) = (http::routes(&state, ids.clone()), http::ops_routes(&state, ids));
    tokio::join!(
        server::serve(listeners.public, public, Some(refusals), transport, tls, stop.clone()),
        server::serve(listeners.ops, ops, None, for_ops, None, stop),
    );
}

/// The state of a service that begins with `snapshot`.
#[must_use]
pub fn state(snapshot: Snapshot, clock: Clock) -> Arc<State> {
    Arc::new(State::new(snapshot, clock))
}
