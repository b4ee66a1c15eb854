//! Exports public keys as PEM files, for verifiers that cannot fetch the JWKS.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Key, KeyError, KeyName, Kid};
use crate::files::{self, ReadError};

/// Maximum size of a file that was exported, in bytes.
const MAX_FILE: u64 = 16 << 10;
/// Everybody may read what is public.
const MODE: u32 = 0o644;

/// What [`export`] has changed.
#[derive(Debug, Default)]
pub struct Exported {
    /// Files that were created or corrected.
    pub written: Vec<PathBuf>,
    /// Files of keys that no longer verify.
    pub deleted: Vec<PathBuf>,
}

/// Makes `folder` hold the public parts of `keys`, one `<kid>.pem` each, and no
/// other file of that form. No reader ever sees half a file.
///
/// # Errors
/// A folder of private keys, or what the system refused.
pub fn export<'a>(folder: &Path, keys: impl Iterator<Item = &'a Key>) -> Result<Exported, KeyError> {
    let cannot_write = |path: &Path, error: std::io::Error| KeyError::system(path, "written", error);
    if !folder.exists() {
        files::create_folder(folder, 0o755).map_err(|error| cannot_write(folder, error))?;
    }
    if let Some(key) = private_key_in(folder)? {
        let problem = format!(
            "holds private keys, such as {key}, and no server starts with a file beside them that has another name; \
             expected another folder"
        );
        return Err(KeyError::new(folder, problem));
    }
    let mut exported = Exported::default();
    let mut wanted = Vec::new();
    for key in keys {
        let path = folder.join(format!("{}.pem", key.kid()));
        let pem = key.public_pem().map_err(|why| KeyError::invalid(&path, why))?;
        let written = match files::read(&path, MAX_FILE) {
            Ok(there) if there.bytes.as_slice() == pem.as_bytes() => Ok(false),
            Ok(_) | Err(ReadError::TooLarge(_)) => files::replace(&path, pem.as_bytes(), |_| Ok(())).map(|()| true),
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                files::create(&path, pem.as_bytes(), MODE).map(|()| true)
            }
            Err(ReadError::Io(error)) => Err(error),
            Err(error @ ReadError::NotRegular) => Err(io::Error::other(error)),
        };
        if written.map_err(|error| cannot_write(&path, error))? {
            exported.written.push(path.clone());
        }
        wanted.push(path);
    }
    for path in exports_in(folder)?.into_iter().filter(|path| !wanted.contains(path)) {
        super::delete(folder, &path)?;
        exported.deleted.push(path);
    }
    Ok(exported)
}

/// Returns the name of a private key's file in `folder`, if there is one, by whatever path the folder was reached.
fn private_key_in(folder: &Path) -> Result<Option<KeyName>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::system(folder, "read", error);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.parse().ok()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Returns the files in `folder` that are named as keys are here and hold a public key.
fn exports_in(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let unreadable = |error: std::io::Error| KeyError::system(folder, "read", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let kid = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".pem"));
        // A private key with such a name must not be deleted, and a FIFO must not block.
        let holds_public = || {
            fs::symlink_metadata(&path).is_ok_and(|file| file.is_file())
                && files::read(&path, MAX_FILE).is_ok_and(|file| file.bytes.starts_with(b"-----BEGIN PUBLIC KEY-----"))
        };
        if kid.and_then(Kid::parse).is_some() && holds_public() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::keys::{Alg, generate};

    /// A pipe that nobody writes to must not stop the export, and a file that only has the name is replaced.
    #[test]
    fn what_has_the_name_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let key = generate(&folder.path().join("keys"), Alg::EdDsa, Timestamp::default()).unwrap();
        let path = out.join(format!("{}.pem", key.kid()));
        let export = || export(&out, std::iter::once(&key)).map(|exported| exported.written.len());
        assert_eq!((export().unwrap(), export().unwrap()), (1, 0));
        fs::write(&path, vec![b' '; 1 << 20]).unwrap();
        assert_eq!((export().unwrap(), export().unwrap()), (1, 0));
        fs::remove_file(&path).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        assert!(export().unwrap_err().to_string().ends_with("is not a regular file"));
    }
}
