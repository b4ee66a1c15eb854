//! The folder of key files: reads and checks all of it, and adds files to it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use pkcs8::LineEnding;
use pkcs8::der::SecretDocument;
use zeroize::Zeroizing;

use super::encode::{new_pkcs8, to_pkcs8};
use super::error::{InvalidKey, KeyError};
use super::{Alg, Key, KeyName};
use crate::clock::Timestamp;
use crate::files::{self, Contents, ReadError};

/// Maximum size of a key file in bytes. The largest key, RSA with 4096 bits, takes 3.3 KiB.
const MAX_FILE: u64 = 16 << 10;
/// Maximum keys in a folder: more than an hour of rotation every second.
pub(super) const MAX_KEYS: usize = 4_096;
/// Mode bits that must be unset: any access for others, writing for the group.
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
    /// Modes are ignored: some secret stores can only mount files that everybody can read.
    Unchecked,
}

/// Reads every key in `folder` and checks the modes. Returns none if the folder does not exist.
///
/// # Errors
/// The first file that is not as it should be, in the order of the names.
pub fn load(folder: &Path) -> Result<Vec<Key>, KeyError> {
    load_with(folder, Modes::Checked)
}

/// Reads every key in `folder`. Returns none if the folder does not exist.
///
/// # Errors
/// As [`load`].
pub fn load_with(folder: &Path, modes: Modes) -> Result<Vec<Key>, KeyError> {
    Folder::read(folder)?.keys(modes)
}

/// The content of every key file in a folder at one time, so that the bytes that are
/// compared are those that are parsed.
pub struct Folder {
    /// By name.
    files: Vec<KeyFile>,
    /// The folder's owner. None if it does not exist.
    owner: Option<u32>,
}

struct KeyFile {
    path: PathBuf,
    name: KeyName,
    mode: u32,
    owner: u32,
    pem: Zeroizing<Vec<u8>>,
    written: Timestamp,
}

impl Folder {
    /// Reads the folder at `path`; it is empty if it does not exist. Names that begin
    /// with a dot and names that do not end in `.pem` are ignored.
    ///
    /// # Errors
    /// The first file that cannot be a key file, in the order of the names.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        // A listed file may be gone by the time it is read: keys are pruned, or the whole folder is swapped.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let files = names(path)?.iter().map(|file| read(file)).collect::<Result<_, _>>();
            match files {
                Err(error) if error.is_gone() && attempts > 0 => {}
                files => return Ok(Self { files: files?, owner: fs::metadata(path).ok().map(|folder| folder.uid()) }),
            }
        }
    }

    /// Returns the path and the bytes of each file, and whether others can read it, in the order of the names.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8], bool)> {
        let is_exposed = |file: &KeyFile| is_exposed(file.mode) || self.is_foreign(file);
        self.files.iter().map(move |file| (file.path.as_path(), file.pem.as_slice(), is_exposed(file)))
    }

    /// Returns a warning about the first file of a user who otherwise could not change the keys.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let KeyFile { path, owner, .. } = self.files.iter().find(|file| self.is_foreign(file))?;
        let (path, expected) = (path.display(), self.owner?);
        Some(format!(
            "{path}: belongs to user {owner}, so that user can read and change it; expected the folder's owner: `chown \
             {expected} {path}`"
        ))
    }

    /// Whether a file belongs neither to root, nor to the folder's owner, nor to the user of this process.
    fn is_foreign(&self, file: &KeyFile) -> bool {
        let process = rustix::process::geteuid().as_raw();
        file.owner != 0 && file.owner != process && self.owner.is_some_and(|owner| owner != file.owner)
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
                        "holds the same key as {other}; delete one of the two: copying a renamed file does not delete its old name"
                    ),
                ));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Returns when each file was last written, according to the file system.
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
    // A name that is not UTF-8 does not have the form either.
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let name: KeyName = name.parse().map_err(wrong)?;
    let Contents { bytes: pem, metadata } = files::read(path, MAX_FILE).map_err(|error| match error {
        ReadError::NotRegular => wrong("is not a regular file"),
        ReadError::TooLarge(_) => {
            KeyError::new(path, format!("is larger than {} KiB, which no key is", MAX_FILE >> 10))
        }
        ReadError::Io(error) if error.kind() == ErrorKind::PermissionDenied => wrong(
            "cannot be opened by the user that this process runs as; expected a file of that user, or one of its group with mode \
             0640",
        ),
        ReadError::Io(error) => KeyError::system(path, "opened", error),
    })?;
    let written = Timestamp::from_unix(metadata.mtime());
    Ok(KeyFile { path: path.to_owned(), name, mode: metadata.mode(), owner: metadata.uid(), pem, written })
}

/// Returns what is wrong with the mode of a private key at `path`, and what would be right.
pub(crate) fn exposed(path: &Path, mode: u32) -> String {
    let mode = mode & 0o777;
    let path = path.display();
    format!("has mode {mode:04o}, so others can read or change it; expected 0600 or 0640: `chmod 600 {path}`")
}

/// Makes a key that signs from `from` on, and writes it into `folder`, which is
/// created if it does not exist. Readers never see a partial file, and no file is
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

    /// Writes the key into `folder`, to sign from `from` on.
    ///
    /// # Errors
    /// As [`generate`]; and a folder that already has the key.
    pub fn write(&self, folder: &Path, modes: Modes, from: Timestamp) -> Result<Key, KeyError> {
        let name = KeyName { from, alg: self.alg };
        let pem = to_pem(&self.document).and_then(|pem| Key::from_pem(name, pem.as_bytes()));
        let key = pem.map_err(|why| KeyError::invalid(folder.join(name.to_string()), why))?;
        if let Some(same) = load_with(folder, modes)?.iter().find(|other| other.kid() == key.kid()) {
            let path = folder.join(same.name().to_string());
            return Err(KeyError::taken(path, "already is this key; nothing was written"));
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

/// Deletes the file at `path` in `folder`. It is no error if the file is already gone.
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

/// Returns the files that a killed process left in `folder`, last written before
/// `before`. Nothing reads them, but they may hold a key.
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
        if files::is_temporary(&entry.file_name()) && written.is_ok_and(|written| written < before) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Locks `folder` against changes by other processes on this machine until it is
/// dropped. It is advisory: without file locks, or if another machine writes, taken
/// names and a second look decide.
#[must_use]
pub fn lock(folder: &Path) -> Option<File> {
    let opened = File::open(folder).ok()?;
    opened.lock().ok().map(|()| opened)
}
