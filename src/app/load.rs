//! Files become what requests are decided by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::StartError;
use super::sight::{self, Content};
use super::warnings::warnings;
use crate::clients::{Rate, Registry};
use crate::clock::Timestamp;
use crate::config::{Config, ConfigError, Text};
use crate::federation::Issuers;
use crate::files::{self, ReadError};
use crate::foreign::MAX_KEY_SET;
use crate::keys::{Folder, KeyRing, Kid, Modes, Plan};
use crate::server::{Identity, TlsFiles};
use crate::service::{Snapshot, Warning};
use crate::token::Cache;

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
}

/// Reads and checks everything that `config` names. A start is strict: whatever is
/// wrong with one part keeps it from starting. A reload loads each part by itself.
///
/// # Errors
/// The first thing that is not as it should be.
pub fn load(config: &Config, now: Timestamp) -> Result<Loaded, StartError> {
    load_with(config, &Folder::read(&config.keys.path)?, now)
}

pub(super) fn load_with(config: &Config, folder: &Folder, now: Timestamp) -> Result<Loaded, StartError> {
    let identity = config.tls.as_ref().map(|tls| identity(&TlsFiles::read(tls)?, now)).transpose()?;
    Ok(Loaded { snapshot: compile(config, folder, KeySets::default(), now)?, identity })
}

pub(super) fn identity(files: &TlsFiles, now: Timestamp) -> Result<Identity, StartError> {
    let digest = sight::digest(&certificates(files));
    files.identity(digest, now).map_err(|error| StartError::from(error).passing())
}

/// Each file of `[tls]`.
pub(super) fn certificates(files: &TlsFiles) -> Vec<Content> {
    files.parts().map(|(path, bytes, exposed)| Content::new(path, bytes, exposed)).collect()
}

/// The JWKS files of clients and issuers, each as it was read first.
#[derive(Default)]
pub(super) struct KeySets(BTreeMap<PathBuf, Vec<u8>>);

impl KeySets {
    /// Reads those of `paths` that are there.
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

/// The configuration, if it is a file, each file in the folder of keys, and clients' key sets.
pub(super) fn settings(path: Option<&Path>, content: &str, folder: &Folder, key_sets: &KeySets) -> Vec<Content> {
    let configuration = path.map(|path| Content::new(path, content.as_bytes(), false));
    configuration
        .into_iter()
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
    let registry = Registry::compile_with(config, |path| {
        let bytes = key_sets.get(path)?;
        used.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    });
    // A file that is named for the first time is not among those that are compared, so it is read again each time.
    let registry = registry.map_err(|error| StartError::from(error).passing())?;
    let issuers = Issuers::compile_with(config, &registry, |path| {
        let bytes = key_sets.get(path)?;
        used.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    });
    let issuers = issuers.map_err(|error| StartError::from(error).passing())?;
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
        configuration_digest: config.digest_with(registry.digest(), issuers.digest(config)),
        forwarding: config.forwarding(),
        origins: config.cors.origins.iter().map(|origin| origin.as_str().into()).collect(),
        inspected: Cache::new(config.token.cache),
        failures: (config.limits.failures > 0).then(|| Rate::per_second(1).with_burst(config.limits.failures)),
        files: sight::digest(&settings(config.source.path(), config.source.content(), folder, &key_sets)),
        key_sets: key_sets.0.into_keys().collect(),
        compiled: now,
        registry,
        issuers,
        keys,
    })
}
