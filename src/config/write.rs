//! Writing a file whole or not at all, so that no reader ever sees half of one.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How the names begin under which files are written before they are put in place.
const ASIDE: &str = ".lingpai-";

/// Writes a new file with this mode. Where root does it in somebody's folder, it is theirs:
/// who serves from there must be able to read it.
///
/// # Errors
/// `AlreadyExists` if there is one by that name; it is left alone.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A link fails if the name is taken; a rename would not.
    aside(path, content, mode, |written| {
        if rustix::process::geteuid().is_root() {
            let folder = fs::metadata(folder(path))?;
            std::os::unix::fs::chown(written, Some(folder.uid()), Some(folder.gid()))?;
        }
        fs::hard_link(written, path).and_then(|()| fs::remove_file(written))
    })
}

/// Replaces the content of a file and keeps its mode and owner, if `check` likes what was
/// written, at the path where it was written.
///
/// # Errors
/// What the system or `check` refused; the file is then as it was.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    content: &[u8],
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let old = fs::metadata(path)?;
    // Until this is dropped, whoever else wants to replace a file here waits.
    let folder = File::open(folder(path))?;
    folder.lock()?;
    aside(path, content, old.permissions().mode(), |written| {
        let new = fs::metadata(written)?;
        if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
            std::os::unix::fs::chown(written, Some(old.uid()), Some(old.gid()))?;
        }
        check(written)?;
        Ok(fs::rename(written, path)?)
    })
}

/// Whether a file of this name was being written here, and perhaps still is.
#[must_use]
pub fn is_aside(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(ASIDE.as_bytes())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes beside `path`, under a name that begins with a dot, and lets `place`
/// put it where it belongs.
fn aside<E: From<io::Error>>(
    path: &Path,
    content: &[u8],
    mode: u32,
    place: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder(path);
    let aside = folder.join(PathBuf::from(format!("{ASIDE}{:016x}", RandomState::new().hash_one(path))));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside).and_then(|mut file| {
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        seal(&file)?;
        file.sync_all()
    });
    let placed = written.map_err(E::from).and_then(|()| place(&aside));
    if placed.is_err() {
        let _ = fs::remove_file(&aside);
    }
    placed?;
    Ok(File::open(folder)?.sync_all()?)
}

/// Sets the modification time back by a nanosecond. It then differs from the change time, by which a
/// reload knows that nobody is writing the file any more, though all this takes one tick of the clock.
fn seal(file: &File) -> io::Result<()> {
    let modified = file.metadata()?.modified()?;
    file.set_modified(modified.checked_sub(Duration::from_nanos(1)).unwrap_or(modified))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only root can try it.
    #[test]
    fn what_root_writes_belongs_to_the_folder_s_owner() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65_532), Some(65_533)).unwrap();
        let path = folder.path().join("file");
        create(&path, b"", 0o600).unwrap();
        let file = fs::metadata(path).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (65_532, 65_533, 0o600));
    }

    #[test]
    fn all_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"one", 0o640).unwrap();
        assert_eq!(create(&path, b"two", 0o640).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let refuse = |_: &Path| Err(io::Error::other("no"));
        assert!(replace(&path, b"two", refuse).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"two", |written| {
            assert_eq!(fs::read(written)?, b"two");
            Ok::<_, io::Error>(())
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        let status = fs::metadata(&path).unwrap();
        assert_eq!(status.mode() & 0o777, 0o640);
        assert_ne!((status.mtime(), status.mtime_nsec()), (status.ctime(), status.ctime_nsec()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
