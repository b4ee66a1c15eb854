//! The folder of key files: reading all of it with every check, and adding one.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use pkcs8::LineEnding;
use zeroize::Zeroizing;

use super::key::new_pkcs8;
use super::{Alg, Key, KeyName};
use crate::clock::Timestamp;
use crate::config;

/// A key file holds one key; the largest, RSA with 4096 bits, takes 3.3 KiB.
const MAX_FILE: u64 = 16 << 10;
/// An hour of rotation every second, and some more.
const MAX_KEYS: usize = 4_096;
/// Nothing for others, no writing for the group.
const FORBIDDEN_MODE: u32 = 0o037;

/// What is wrong with a key file or the folder: `path: what, and what instead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyError {
    path: PathBuf,
    problem: String,
}

impl KeyError {
    pub(super) fn new(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

impl std::error::Error for KeyError {}

/// Reads every key in `folder`; none if there is no such folder. Names that
/// begin with a dot, and names that do not end in `.pem`, are passed over.
///
/// # Errors
/// The first file that is not as it should be, in the order of the names.
pub fn load(folder: &Path) -> Result<Vec<Key>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::new(folder, format!("cannot be read: {error}"));
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if !name.starts_with(b".") && name.ends_with(b".pem") {
            paths.push(path);
        }
        if paths.len() > MAX_KEYS {
            return Err(KeyError::new(folder, format!("holds more than {MAX_KEYS} keys; delete retired ones")));
        }
    }
    paths.sort();
    let mut keys: Vec<Key> = Vec::with_capacity(paths.len());
    let mut seen = std::collections::HashMap::with_capacity(paths.len());
    for path in paths {
        let key = read(&path)?;
        if let Some(other) = seen.insert(key.kid().clone(), key.name()) {
            return Err(KeyError::new(path, format!("holds the same key as {other}; delete one of the two")));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<Key, KeyError> {
    let problem = |what: String| KeyError::new(path, what);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: KeyName = name.parse().map_err(|form: &str| problem(form.to_owned()))?;
    // Not blocking, so that a pipe by that name does not hold the start up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => problem("is not a regular file".into()),
        _ => problem(format!("cannot be opened: {error}")),
    })?;
    let status = file.metadata().map_err(|error| problem(format!("cannot be read: {error}")))?;
    if !status.is_file() {
        return Err(problem("is not a regular file".into()));
    }
    if status.len() > MAX_FILE {
        return Err(problem("is larger than 16 KiB, which no key is".into()));
    }
    if status.mode() & FORBIDDEN_MODE != 0 {
        let mode = status.mode() & 0o777;
        return Err(problem(format!(
            "has mode {mode:04o}, so others can read or change it; expected 0600 or 0640: `chmod 600 {}`",
            path.display()
        )));
    }
    let mut pem = Zeroizing::new(String::new());
    let read = file.take(MAX_FILE).read_to_string(&mut pem);
    read.map_err(|_| problem("is not PEM; expected -----BEGIN PRIVATE KEY-----".into()))?;
    Key::from_pem(name, &pem).map_err(problem)
}

/// Makes a key that signs from `from` on, and writes it into `folder`, which is
/// made if it is not there. No reader ever sees half a file, and no file is
/// overwritten.
///
/// # Errors
/// The file that is already there, or what the system refused.
pub fn generate(folder: &Path, alg: Alg, from: Timestamp) -> Result<Key, KeyError> {
    let name = KeyName { from, alg };
    let path = folder.join(name.to_string());
    let problem = |what: String| KeyError::new(&path, what);
    let document = new_pkcs8(alg).map_err(problem)?;
    let pem = document.to_pem("PRIVATE KEY", LineEnding::LF);
    let pem = pem.map_err(|_| problem("cannot be written as PEM".into()))?;
    let key = Key::from_pem(name, &pem).map_err(problem)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| KeyError::new(folder, format!("cannot be made: {error}")))?;
    config::create(&path, pem.as_bytes(), 0o600).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => problem("is already there; nothing was written".into()),
        _ => problem(format!("cannot be written: {error}")),
    })?;
    Ok(key)
}
