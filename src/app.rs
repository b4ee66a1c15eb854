//! The composition root: a [`Config`] becomes what runs. The only place that
//! knows every room.

mod part;
mod reload;
mod revocations;
mod revoke;
mod sight;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::clients::{Rate, Registry};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config, ConfigError, Listen, Text};
use crate::crypto::{Digester, NoRandomness};
use crate::files::{self, ReadError};
use crate::foreign::MAX_KEY_SET;
use crate::http::{self, Refusals, RequestIds};
use crate::keys::{Folder, Gravity, KeyError, KeyRing, Kid, Modes, Plan};
use crate::server::{self, Identity, Inherited, Listener, Tls, TlsError, TlsFiles, Transport};
use crate::service::{RevocationList, Snapshot, State, Warning};
use crate::token::Cache;

use sight::Content;

pub use reload::{Reloader, watch};
pub use revoke::{Pruned, RevocationFile};

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
    compile(config, &Folder::read(&config.keys.path)?, KeySets::default(), now)
}

/// What the files say, ready to be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// What requests are decided by.
    pub snapshot: Snapshot,
    /// What TLS connections are shown, if there are any.
    pub identity: Option<Identity>,
    /// What has ended, if there is a list of it.
    pub revocations: Option<RevocationList>,
}

/// Reads and checks everything that `config` names. A start is strict: whatever is
/// wrong with one part keeps it from starting. A reload loads each part by itself.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn load(config: &Config, now: Timestamp) -> Result<Loaded, StartError> {
    load_with(config, &Folder::read(&config.keys.path)?, now)
}

fn load_with(config: &Config, folder: &Folder, now: Timestamp) -> Result<Loaded, StartError> {
    let identity = config.tls.as_ref().map(|tls| identity(&TlsFiles::read(tls)?, now)).transpose()?;
    let snapshot = compile(config, folder, KeySets::default(), now)?;
    let longest = snapshot.longest_session();
    let read = |list: &config::Revocations| revocations::load(&list.path, now, longest);
    let revocations = config.revocations.as_ref().map(read).transpose()?;
    Ok(Loaded { snapshot, identity, revocations })
}

fn identity(files: &TlsFiles, now: Timestamp) -> Result<Identity, StartError> {
    let digest = sight::digest(&certificates(files));
    files.identity(digest, now).map_err(|error| StartError::from(error).passing())
}

/// Each file of `[tls]`.
fn certificates(files: &TlsFiles) -> Vec<Content> {
    files.parts().map(|(path, bytes, exposed)| Content::new(path, bytes, exposed)).collect()
}

/// The clients' JWKS files, each as it was read first.
#[derive(Default)]
struct KeySets(BTreeMap<PathBuf, Vec<u8>>);

impl KeySets {
    /// Reads those of `paths` that are there.
    fn read(paths: &[PathBuf]) -> Self {
        Self(paths.iter().filter_map(|path| Some((path.clone(), Self::bytes(path).ok()?))).collect())
    }

    fn get(&mut self, path: &Path) -> Result<Vec<u8>, ReadError> {
        if let Some(bytes) = self.0.get(path) {
            return Ok(bytes.clone());
        }
        let bytes = Self::bytes(path)?;
        self.0.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }

    fn bytes(path: &Path) -> Result<Vec<u8>, ReadError> {
        Ok(files::read(path, MAX_KEY_SET as u64)?.bytes.to_vec())
    }
}

/// The configuration, if it is a file, each file in the folder of keys, and clients' key sets.
fn settings(path: Option<&Path>, content: &str, folder: &Folder, key_sets: &KeySets) -> Vec<Content> {
    let configuration = path.map(|path| Content::new(path, content.as_bytes(), false));
    configuration
        .into_iter()
        .chain(folder.files().map(|(path, bytes, exposed)| Content::new(path, bytes, exposed)))
        .chain(key_sets.0.iter().map(|(path, bytes)| Content::new(path, bytes, false)))
        .collect()
}

fn compile(config: &Config, folder: &Folder, mut key_sets: KeySets, now: Timestamp) -> Result<Snapshot, StartError> {
    let mut used = BTreeMap::new();
    let registry = Registry::compile_with(config, |path| {
        let bytes = key_sets.get(path)?;
        used.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    });
    // A file that is named for the first time is not among those that are compared, so it is read again each time.
    let registry = registry.map_err(|error| StartError::from(error).passing())?;
    let key_sets = KeySets(used);
    let plan = plan(config, &registry)?;
    let keys = KeyRing::new(folder.keys(Modes::from(&config.keys))?, plan, &config.keys.path, now);
    let keys = keys.map_err(|error| StartError::from(error).passing())?;
    let mut warnings = warnings(config, &registry, &keys, now);
    warnings.extend(config.tls.as_ref().and_then(|tls| TlsFiles::read(tls).ok()?.warning()));
    warnings.extend(keys.doubts(now).into_iter().map(|doubt| doubt.message));
    let warnings = warnings.into_iter().map(Warning::standing).collect();
    Ok(Snapshot {
        issuer: config.issuer.as_str().to_owned(),
        leeway: config.token.leeway,
        jwks_max_age: config.keys.jwks_max_age,
        warnings,
        configuration_digest: digest(config, &registry),
        forwarding: config.forwarding.clone(),
        origins: config.origins.iter().map(|origin| origin.as_str().into()).collect(),
        has_session_ids: config.revocations.is_some(),
        publishes_revocations: config.revocations.as_ref().is_some_and(|list| list.publish),
        inspected: Cache::new(config.token.cache),
        failures: (config.failures > 0).then(|| Rate::per_second(1).with_burst(config.failures)),
        files: sight::digest(&settings(config.source.path(), config.source.content(), folder, &key_sets)),
        key_sets: key_sets.0.into_keys().collect(),
        compiled: now,
        registry,
        keys,
    })
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
    if let Some(list) = &config.revocations {
        all.add(if list.publish { b"revocations, published" } else { b"revocations" });
    }
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
    if !config.keys.check_modes {
        all.push(
            "[keys] check_modes is false: a private key that every user of this machine can read or change is taken too"
                .to_owned(),
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
    let folder = Folder::read(&config.keys.path)?;
    let Loaded { snapshot: mut new, revocations, .. } = load_with(config, &folder, now)?;
    new.warnings.extend(revocations.and_then(|list| list.waiting).map(Warning::standing));
    for address in addresses(config) {
        server::can_open(address, leaves_ipv4(address, config)).map_err(|error| cannot_listen(address, &error))?;
    }
    let mut findings = new.keys.doubts(now);
    match running {
        // Without it, when the files were written is all that tells what verifiers have heard of.
        None => findings.extend(new.keys.published_late(folder.written(), new.jwks_max_age, now)),
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

/// Every address that is to be opened.
fn addresses(config: &Config) -> impl Iterator<Item = &Listen> {
    config.listen.iter().chain(config.ops.iter().flatten())
}

/// Refuses addresses that cannot be open at once.
fn distinct(config: &Config) -> Result<(), StartError> {
    let mut seen: Vec<&Listen> = Vec::new();
    for address in addresses(config) {
        match seen.iter().find(|other| address.overlaps(other)) {
            Some(other) if *other == address => {
                return Err(StartError::new(format!("{address} stands twice in `listen` and `ops.listen`")));
            }
            Some(other) => {
                let message =
                    format!("{other} and {address} overlap in `listen` and `ops.listen`; expected one of them");
                return Err(StartError::new(message));
            }
            None => seen.push(address),
        }
    }
    Ok(())
}

/// Whether `address` is an IPv6 one beside an IPv4 one of the same port.
fn leaves_ipv4(address: &Listen, config: &Config) -> bool {
    addresses(config).any(|other| address.leaves_ipv4_to(other))
}

fn cannot_listen(address: &Listen, error: &io::Error) -> StartError {
    let hint = match (address, error.kind()) {
        (Listen::Unix(_) | Listen::Inherited(_), _) => "",
        (_, io::ErrorKind::AddrNotAvailable) => "; expected an address of this machine",
        (_, io::ErrorKind::PermissionDenied) => {
            "; expected a port from 1024, a socket of systemd (fd:name), or the capability CAP_NET_BIND_SERVICE"
        }
        _ => "",
    };
    StartError::new(format!("cannot listen on {address}: {error}{hint}"))
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
        let mut open = |address| {
            let opened = Listener::open(address, leaves_ipv4(address, config), &mut inherited);
            opened.map_err(|error| cannot_listen(address, &error))
        };
        for address in config.ops.iter().flatten() {
            listeners.ops.extend(open(address)?);
        }
        for address in &config.listen {
            listeners.public.extend(open(address)?);
        }
        Ok(listeners)
    }
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
