//! The folder of key files: reading all of it with every check, and adding one.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pkcs8::LineEnding;
use pkcs8::der::SecretDocument;
use zeroize::Zeroizing;

use super::error::KeyError;
use super::key::{InvalidKey, new_pkcs8, to_pkcs8};
use super::{Alg, Key, KeyName};
use crate::clock::Timestamp;
use crate::files::{self, Contents, ReadError};

/// A key file holds one key; the largest, RSA with 4096 bits, takes 3.3 KiB.
const MAX_FILE: u64 = 16 << 10;
/// An hour of rotation every second, and some more.
pub(super) const MAX_KEYS: usize = 4_096;
/// Nothing for others, no writing for the group.
const FORBIDDEN_MODE: u32 = 0o037;

/// Whether `mode` lets others read or change a file.
pub(crate) fn is_exposed(mode: u32) -> bool {
    mode & FORBIDDEN_MODE != 0
}

/// What the modes of key files mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Modes {
    /// A file that others can read or change is refused.
    #[default]
    Checked,
    /// They are not looked at: some secret stores can only mount files that everybody may read.
    Unchecked,
}

/// Reads every key in `folder`, with the modes checked; none if there is no such folder.
///
/// # Errors
/// The first file that is not as it should be, in the order of the names.
pub fn load(folder: &Path) -> Result<Vec<Key>, KeyError> {
    load_with(folder, Modes::Checked)
}

/// Reads every key in `folder`; none if there is no such folder.
///
/// # Errors
/// As [`load`].
pub fn load_with(folder: &Path, modes: Modes) -> Result<Vec<Key>, KeyError> {
    Folder::read(folder)?.keys(modes)
}

/// The content of every key file in a folder, as it was at one time: what is
/// compared, and then parsed, are the same bytes.
pub struct Folder {
    /// By name.
    files: Vec<KeyFile>,
}

struct KeyFile {
    path: PathBuf,
    name: KeyName,
    mode: u32,
    pem: Zeroizing<Vec<u8>>,
    written: Timestamp,
}

impl Folder {
    /// Reads the folder at `path`; it holds nothing if it is not there. Names
    /// that begin with a dot, and names that do not end in `.pem`, are passed over.
    ///
    /// # Errors
    /// The first file that no key file is like, in the order of the names.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        // A file that is listed may be gone when its turn comes: somebody prunes, or the whole folder is swapped.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let files = names(path)?.iter().map(|file| read(file)).collect::<Result<_, _>>();
            match files {
                Err(error) if error.is_gone() && attempts > 0 => {}
                files => return Ok(Self { files: files? }),
            }
        }
    }

    /// The path and the bytes of each file, and whether others can read it, in the order of the names.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8], bool)> {
        self.files.iter().map(|file| (file.path.as_path(), file.pem.as_slice(), is_exposed(file.mode)))
    }

    /// Parses every key.
    ///
    /// # Errors
    /// The first file that does not hold the one key that its name announces, or that others can
    /// read or change where `modes` are checked.
    pub fn keys(&self, modes: Modes) -> Result<Vec<Key>, KeyError> {
        let mut keys: Vec<Key> = Vec::with_capacity(self.files.len());
        let mut seen = HashMap::with_capacity(self.files.len());
        for KeyFile { path, name, mode, pem, .. } in &self.files {
            if modes == Modes::Checked && is_exposed(*mode) {
                return Err(KeyError::new(path, exposed(path, *mode)));
            }
            let key = Key::from_pem(*name, pem).map_err(|why| KeyError::invalid(path, why))?;
            if let Some(other) = seen.insert(key.kid().clone(), key.name()) {
                return Err(KeyError::new(
                    path,
                    format!(
                        "holds the same key as {other}; delete one of the two: to copy a renamed file does not delete its old name"
                    ),
                ));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// When each file was last written, as the file system says.
    pub fn written(&self) -> impl Iterator<Item = (KeyName, Timestamp)> {
        self.files.iter().map(|file| (file.name, file.written))
    }
}

/// The paths of the key files in `folder`, in order.
fn names(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::system(folder, "read", error);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unreadable)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let is_key = |name: &[u8]| !name.starts_with(b".") && name.ends_with(b".pem");
        if path.file_name().is_some_and(|name| is_key(name.as_encoded_bytes())) {
            paths.push(path);
        }
        if paths.len() > MAX_KEYS {
            return Err(KeyError::new(folder, format!("holds more than {MAX_KEYS} keys; delete retired ones")));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<KeyFile, KeyError> {
    let wrong = |what: &'static str| KeyError::new(path, what);
    // A name that is no UTF-8 has not the form either.
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let name: KeyName = name.parse().map_err(wrong)?;
    let Contents { bytes: pem, metadata } = files::read(path, MAX_FILE).map_err(|error| match error {
        ReadError::NotRegular => wrong("is not a regular file"),
        ReadError::TooLarge(_) => {
            KeyError::new(path, format!("is larger than {} KiB, which no key is", MAX_FILE >> 10))
        }
        ReadError::Io(error) if error.kind() == ErrorKind::PermissionDenied => wrong(
            "may not be opened by the user that this runs as; expected a file of that user, or one of its group with mode \
             0640",
        ),
        ReadError::Io(error) => KeyError::system(path, "opened", error),
    })?;
    let written = Timestamp::from_unix(metadata.mtime());
    Ok(KeyFile { path: path.to_owned(), name, mode: metadata.mode(), pem, written })
}

/// What is wrong with a private key at `path` that has this mode, and what would be right.
pub(crate) fn exposed(path: &Path, mode: u32) -> String {
    let mode = mode & 0o777;
    let path = path.display();
    format!("has mode {mode:04o}, so others can read or change it; expected 0600 or 0640: `chmod 600 {path}`")
}

/// Makes a key that signs from `from` on, and writes it into `folder`, which is
/// made if it is not there. No reader ever sees half a file, and no file is
/// overwritten.
///
/// # Errors
/// The file that is already there ([`KeyError::is_taken`]), or what the system refused.
pub fn generate(folder: &Path, alg: Alg, from: Timestamp) -> Result<Key, KeyError> {
    let name = KeyName { from, alg };
    let document = new_pkcs8(alg).map_err(|why| KeyError::invalid(folder, why))?;
    write(folder, name, &document)
}

/// A private key that was made elsewhere.
pub struct Import {
    alg: Alg,
    document: SecretDocument,
}

impl Import {
    /// Reads the PEM text `pem`, which came from `source`: PKCS#8, SEC 1 or PKCS#1.
    ///
    /// # Errors
    /// A text that does not hold one key of a known algorithm.
    pub fn read(source: &Path, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let invalid = |why| KeyError::invalid(source, why);
        let (alg, document) = to_pkcs8(pem.as_ref()).map_err(invalid)?;
        let pem = to_pem(&document).map_err(invalid)?;
        Key::from_pem(KeyName { from: Timestamp::default(), alg }, pem.as_bytes()).map_err(invalid)?;
        Ok(Self { alg, document })
    }

    /// What it signs with.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// Writes it into `folder`, to sign from `from` on.
    ///
    /// # Errors
    /// As [`generate`]; and a folder that has the key already.
    pub fn write(&self, folder: &Path, modes: Modes, from: Timestamp) -> Result<Key, KeyError> {
        let name = KeyName { from, alg: self.alg };
        let pem = to_pem(&self.document).and_then(|pem| Key::from_pem(name, pem.as_bytes()));
        let key = pem.map_err(|why| KeyError::invalid(folder.join(name.to_string()), why))?;
        if let Some(same) = load_with(folder, modes)?.iter().find(|other| other.kid() == key.kid()) {
            let path = folder.join(same.name().to_string());
            return Err(KeyError::taken(path, "is this key already; nothing was written"));
        }
        write(folder, name, &self.document)
    }
}

fn to_pem(document: &SecretDocument) -> Result<Zeroizing<String>, InvalidKey> {
    document.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| "cannot be written as PEM".into())
}

fn write(folder: &Path, name: KeyName, document: &SecretDocument) -> Result<Key, KeyError> {
    let path = folder.join(name.to_string());
    let invalid = |why| KeyError::invalid(&path, why);
    let pem = to_pem(document).map_err(invalid)?;
    let key = Key::from_pem(name, pem.as_bytes()).map_err(invalid)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| KeyError::system(folder, "made", error))?;
    files::create(&path, pem.as_bytes(), 0o600).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => KeyError::taken(&path, "is already there; nothing was written"),
        _ => KeyError::system(&path, "written", error),
    })?;
    Ok(key)
}

/// Deletes the file at `path` in `folder`. That somebody else was faster is no error.
///
/// # Errors
/// What the system refused.
pub fn delete(folder: &Path, path: &Path) -> Result<(), KeyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(KeyError::system(path, "deleted", error)),
        _ => File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| KeyError::system(folder, "written", error)),
    }
}

/// Files that a process which was killed left in `folder`, last written before
/// `before`: a name that nothing reads, and perhaps a key that nobody knows.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn leftovers(folder: &Path, before: Timestamp) -> Result<Vec<PathBuf>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::system(folder, "read", error);
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let written = entry.metadata().map(|status| Timestamp::from_unix(status.mtime()));
        if files::is_aside(&entry.file_name()) && written.is_ok_and(|written| written < before) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Whoever else on this machine wants to change `folder` waits until this is
/// dropped. It is a courtesy: where the file system knows no locks, or another
/// machine writes, names that are taken and a second look decide.
#[must_use]
pub fn lock(folder: &Path) -> Option<File> {
    let opened = File::open(folder).ok()?;
    opened.lock().ok().map(|()| opened)
}
