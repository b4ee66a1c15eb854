//! Turns files into the snapshot that decides requests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::StartError;
use super::revocations;
use super::sight::{self, Content};
use super::warnings::warnings;
use crate::clients::{ClientRoots, Rate, Registry};
use crate::clock::Timestamp;
use crate::config::{self, Config, ConfigError, Listen, Text};
use crate::federation::Issuers;
use crate::files::{self, ReadError};
use crate::foreign::MAX_KEY_SET;
use crate::keys::{Folder, KeyRing, Kid, Modes, Plan};
use crate::server::{Identity, TlsFiles};
use crate::service::{Documents, OwnUrls, RevocationList, Snapshot, Warning};
use crate::token::Cache;

/// Returns what the configuration says about keys.
///
/// # Errors
/// A malformed thumbprint.
pub fn plan(config: &Config, registry: &Registry) -> Result<Plan, ConfigError> {
    let kid = |text: &Text| {
        Kid::parse(text.get_ref()).ok_or_else(|| config.source.error(text, format!("expected {}", Kid::EXPECTED)))
    };
    let longest = registry.longest();
    Ok(Plan {
        algorithms: registry.algorithms().clone(),
        revoked: config.keys.revoked.iter().map(kid).collect::<Result<_, _>>()?,
        access_window: longest.access + config.token.leeway,
        refresh_window: longest.refresh + config.token.leeway,
    })
}

/// Reads the keys and compiles everything that decides requests.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn snapshot(config: &Config, now: Timestamp) -> Result<Snapshot, StartError> {
    compile(config, &Folder::read(&config.keys.path)?, KeySets::default(), now)
}

/// What the files say, ready to be put in force.
#[derive(Debug)]
pub struct Loaded {
    /// What decides requests.
    pub snapshot: Snapshot,
    /// The certificate and key for TLS, if configured.
    pub identity: Option<Identity>,
    /// What has ended, if there is a list of it.
    pub revocations: Option<RevocationList>,
}

/// Reads and checks everything that `config` names. A start is strict: a problem in any
/// part prevents it. A reload loads each part on its own.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn load(config: &Config, now: Timestamp) -> Result<Loaded, StartError> {
    load_with(config, &Folder::read(&config.keys.path)?, now)
}

pub(super) fn load_with(config: &Config, folder: &Folder, now: Timestamp) -> Result<Loaded, StartError> {
    let identity = config.tls.as_ref().map(|tls| identity(&TlsFiles::read(tls)?, now)).transpose()?;
    let snapshot = compile(config, folder, KeySets::default(), now)?;
    let longest = snapshot.longest_session();
    let read = |list: &config::Revocations| revocations::load(&list.path, now, longest);
    let revocations = config.revocations.as_ref().map(read).transpose()?;
    Ok(Loaded { snapshot, identity, revocations })
}

pub(super) fn identity(files: &TlsFiles, now: Timestamp) -> Result<Identity, StartError> {
    let digest = sight::digest(&certificates(files));
    files.identity(digest, now).map_err(|error| StartError::from(error).passing())
}

/// Each file of `[tls]`.
pub(super) fn certificates(files: &TlsFiles) -> Vec<Content> {
    files.parts().map(|(path, bytes, exposed)| Content::new(path, bytes, exposed)).collect()
}

/// The JWKS files of clients and issuers, each as it was first read.
#[derive(Default)]
pub(super) struct KeySets(BTreeMap<PathBuf, Vec<u8>>);

impl KeySets {
    /// Reads those of `paths` that exist.
    pub(super) fn read(paths: &[PathBuf]) -> Self {
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

/// Returns each file of the configuration, each file in the key folder, and the clients' key sets.
pub(super) fn settings<'t>(
    configuration: impl Iterator<Item = (&'t Path, &'t str)>,
    folder: &Folder,
    key_sets: &KeySets,
) -> Vec<Content> {
    configuration
        .map(|(path, text)| Content::new(path, text.as_bytes(), false))
        .chain(folder.files().map(|(path, bytes, exposed)| Content::new(path, bytes, exposed)))
        .chain(key_sets.0.iter().map(|(path, bytes)| Content::new(path, bytes, false)))
        .collect()
}

pub(super) fn compile(
    config: &Config,
    folder: &Folder,
    mut key_sets: KeySets,
    now: Timestamp,
) -> Result<Snapshot, StartError> {
    let mut used = BTreeMap::new();
    let mut read = |path: &Path| -> Result<_, ReadError> {
        let bytes = key_sets.get(path)?;
        used.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    };
    // A file that was just named for the first time is not compared yet, so retry its errors each time.
    let passing = |error: ConfigError| StartError::from(error).passing();
    let client_roots = client_roots(config, &mut read).map_err(passing)?;
    let registry = Registry::compile_with(config, &mut read).map_err(passing)?;
    let issuers = Issuers::compile_with(config, &registry, &mut read).map_err(passing)?;
    let key_sets = KeySets(used);
    let plan = plan(config, &registry)?;
    let keys = KeyRing::new(folder.keys(Modes::from(&config.keys))?, plan, &config.keys.path, now);
    let keys = keys.map_err(|error| StartError::from(error).passing())?;
    let mut warnings = warnings(config, &registry, &keys, now);
    warnings.extend(folder.warning().filter(|_| config.keys.check_modes));
    warnings.extend(config.tls.as_ref().and_then(|tls| TlsFiles::read(tls).ok()?.warning()));
    warnings.extend(keys.doubts(now).into_iter().map(|doubt| doubt.message));
    let warnings = warnings.into_iter().map(Warning::standing).collect();
    Ok(Snapshot {
        issuer: config.issuer.as_str().to_owned(),
        urls: OwnUrls::under(config.issuer.as_str()),
        leeway: config.token.leeway,
        jwks_max_age: config.keys.jwks_max_age,
        warnings,
        configuration_digest: config.digest_with(registry.digest(), issuers.digest(config)),
        client_roots,
        takes_certificates: config.mtls.is_some(),
        mtls_url: mtls_url(config),
        nonces: config.dpop.nonce,
        forwarding: config.forwarding(),
        origins: config.cors.origins.iter().map(|origin| origin.as_str().into()).collect(),
        has_session_ids: config.revocations.is_some(),
        publishes_revocations: config.revocations.as_ref().is_some_and(|list| list.publish),
        inspected: Cache::new(config.token.cache),
        failures: (config.limits.failures > 0).then(|| Rate::per_second(1).with_burst(config.limits.failures)),
        files: sight::digest(&settings(config.files(), folder, &key_sets)),
        key_sets: key_sets.0.into_keys().collect(),
        compiled: now,
        documents: Documents::default(),
        registry,
        issuers,
        keys,
    })
}

/// The CAs of `[mtls] ca`.
fn client_roots(
    config: &Config,
    read: impl FnOnce(&Path) -> Result<Vec<u8>, ReadError>,
) -> Result<Option<ClientRoots>, ConfigError> {
    let Some(written) = config.mtls.as_ref().and_then(|mtls| mtls.ca.as_ref()) else { return Ok(None) };
    let path = config.source.resolve(written.get_ref());
    let problem = |problem: String| config.source.error(written, format!("{}: {problem}", path.display()));
    let bytes = read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    ClientRoots::parse(&bytes).map(Some).map_err(|why| problem(why.to_owned()))
}

/// The URL at which clients are asked for a certificate: what is written, otherwise the issuer's with the port of the
/// first address.
fn mtls_url(config: &Config) -> Option<String> {
    let mtls = config.mtls.as_ref()?;
    if let Some(url) = &mtls.url {
        return Some(url.as_str().to_owned());
    }
    let port = match mtls.listen.as_ref()?.first()? {
        Listen::Tcp(address) => address.port(),
        Listen::Localhost(port) | Listen::Everywhere(port) => *port,
        Listen::Unix(_) | Listen::Inherited(_) => return None,
    };
    let issuer: http::Uri = config.issuer.as_str().parse().ok()?;
    let (host, path) = (issuer.host()?, issuer.path().trim_end_matches('/'));
    Some(format!("https://{host}:{port}{path}"))
}
