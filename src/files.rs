//! Files: bounded reads, atomic writes.
//!
//! A ground room: it imports no other. The meaning of a file's content must not enter.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// The prefix of temporary names, under which files are written before they are renamed.
const TEMPORARY: &str = ".lingpai-";

/// The content of a regular file.
pub struct Contents {
    /// Its bytes, which are wiped when this is dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The metadata of the opened descriptor.
    pub metadata: Metadata,
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is a folder, a FIFO, a socket or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// It is larger than the limit.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The system could not open or read it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads the regular file at `path`, of at most `limit` bytes. A FIFO or a device does not block.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path, limit: u64) -> Result<Contents, ReadError> {
    let (file, metadata) = open(path)?;
    // One byte more than expected: the reader then sees the end without growing the buffer, which
    // would leave an unwiped copy behind.
    let expected = usize::try_from(metadata.len().min(limit)).map_err(|_| ReadError::TooLarge(limit))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(ReadError::TooLarge(limit)) } else { Ok(Contents { bytes, metadata }) }
}

/// Opens the regular file at `path` for reading, and returns its metadata too. A FIFO or a device
/// does not block.
///
/// # Errors
/// [`ReadError::NotRegular`], [`ReadError::Io`].
pub fn open(path: &Path) -> Result<(File, Metadata), ReadError> {
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        // A socket, or a FIFO without a writer.
        Some(Errno::NXIO) => ReadError::NotRegular,
        _ => ReadError::Io(error),
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    Ok((file, metadata))
}

/// Opens the file at `path` for reading and appending. A link there is refused.
///
/// # Errors
/// The system's error.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let opened =
        OpenOptions::new().read(true).append(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
    opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => io::Error::other("it has become a symbolic link; expected a regular file"),
        _ => error,
    })
}

/// Creates a file with this mode. If root does so in another user's folder, the file gets the
/// folder's owner: the service that runs as that user must be able to read it.
///
/// # Errors
/// `AlreadyExists` if the name is taken; that file is left alone.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = File::open(folder(path))?;
    let owner = rustix::process::geteuid().is_root().then(|| folder.metadata()).transpose()?;
    let attributes = Attributes { mode, owner: owner.as_ref().map(owner_of) };
    // Creating a link fails if the name is taken; a rename would not.
    write_temporary(&folder, path, content, attributes, |written| {
        linkat(&folder, written, &folder, name(path)?, AtFlags::empty())?;
        Ok(unlinkat(&folder, written, AtFlags::empty())?)
    })
}

/// Creates a folder with this mode, whatever the umask is.
///
/// # Errors
/// The system's error; `AlreadyExists` if the name is taken.
pub fn create_folder(path: &Path, mode: u32) -> io::Result<()> {
    let (parent, name) = (File::open(folder(path))?, name(path)?);
    mkdirat(&parent, name, Mode::RWXU)?;
    // A link that was swapped in is not followed.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    File::from(openat(&parent, name, flags, Mode::empty())?).set_permissions(Permissions::from_mode(mode))
}

/// Replaces the content of a file and keeps its mode and owner. `check` inspects what was written,
/// at its temporary path, and may refuse it.
///
/// # Errors
/// An error of the system or of `check`; the file is then unchanged.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    content: &[u8],
    check: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let old = fs::metadata(path)?;
    let opened = File::open(folder(path))?;
    // Anyone else who replaces a file here waits until this lock is dropped.
    opened.lock()?;
    let attributes = Attributes { mode: old.mode() & 0o777, owner: Some(owner_of(&old)) };
    write_temporary(&opened, path, content, attributes, |written| {
        check(&folder(path).join(written))?;
        Ok(renameat(&opened, written, &opened, name(path)?).map_err(io::Error::from)?)
    })
}

/// Locks the folder of `path` until the returned guard is dropped; anyone else who replaces a file
/// there waits. None if `beside` is in the same folder, which [`replace`] then locks itself.
///
/// # Errors
/// The system's error.
pub fn lock(path: &Path, beside: Option<&Path>) -> io::Result<Option<File>> {
    let opened = File::open(folder(path))?;
    let inode = |status: Metadata| (status.dev(), status.ino());
    let other = beside.map(|other| fs::metadata(folder(other))).transpose()?.map(inode);
    if other == Some(inode(opened.metadata()?)) {
        return Ok(None);
    }
    opened.lock()?;
    Ok(Some(opened))
}

/// Whether this is a temporary name, whose file may still be being written.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY.as_bytes())
}

/// Returns `path` as people read it: control characters are escaped, so that a line break in a name begins no new line.
#[must_use]
pub fn shown(path: &Path) -> String {
    let escaped = |c: char| match c {
        '\n' => "\\n".to_owned(),
        _ if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    path.to_string_lossy().chars().map(escaped).collect()
}

/// Returns the folder of `path`.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Returns the last part of `path`.
fn name(path: &Path) -> io::Result<&OsStr> {
    path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "expected the name of a file"))
}

/// What a new file gets beside its content.
struct Attributes {
    mode: u32,
    /// User and group, if not those of this process.
    owner: Option<(u32, u32)>,
}

fn owner_of(file: &Metadata) -> (u32, u32) {
    (file.uid(), file.gid())
}

/// Writes to a temporary name in `folder`, that of `path`, and lets `place` move it into place. The folder's owner may
/// replace that name, or the folder, by a link at any time. So this goes by descriptors and follows no link.
fn write_temporary<E: From<io::Error>>(
    folder: &File,
    path: &Path,
    content: &[u8],
    attributes: Attributes,
    place: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let temporary = format!("{TEMPORARY}{:016x}", RandomState::new().hash_one(path));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = openat(folder, &temporary, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(io::Error::from)?;
    let placed = fill(opened, content, attributes).map_err(E::from).and_then(|()| place(Path::new(&temporary)));
    if placed.is_err() {
        let _ = unlinkat(folder, &temporary, AtFlags::empty());
    }
    placed?;
    Ok(folder.sync_all()?)
}

fn fill(mut file: File, content: &[u8], Attributes { mode, owner }: Attributes) -> io::Result<()> {
    file.write_all(content)?;
    if let Some((user, group)) = owner.filter(|owner| file.metadata().map_or(true, |file| owner_of(&file) != *owner)) {
        fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    seal(&file)?;
    file.sync_all()
}

/// Sets the modification time back by a nanosecond, so that it differs from the change time: that
/// tells a reload that the file is complete, even within one tick of the clock.
fn seal(file: &File) -> io::Result<()> {
    let modified = file.metadata()?.modified()?;
    file.set_modified(modified.checked_sub(Duration::from_nanos(1)).unwrap_or(modified))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    /// Needs root.
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

    /// Needs root. The content is so large that the other thread swaps the name while it is written.
    #[test]
    fn a_link_that_is_swapped_in_gives_nothing_away() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::chown(folder.path(), Some(65_532), Some(65_533)).unwrap();
        let (path, aside) = (folder.path().join("file"), folder.path().join("aside"));
        let swap = |done: &AtomicBool| {
            while !done.load(Ordering::Relaxed) {
                let names = fs::read_dir(folder.path()).unwrap().flatten();
                for name in names.filter(|name| is_temporary(&name.file_name())).map(|name| name.path()) {
                    if fs::rename(&name, &aside).is_ok() {
                        symlink(&victim, &name).unwrap();
                        return true;
                    }
                }
            }
            false
        };
        let large = vec![b' '; 16 << 20];
        let is_swapped = |is_new: bool| {
            let _ = fs::remove_file(&path);
            if !is_new {
                fs::write(&path, "").unwrap();
                std::os::unix::fs::chown(&path, Some(65_532), Some(65_533)).unwrap();
            }
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                let swapping = scope.spawn(|| swap(&done));
                let _ = if is_new { create(&path, &large, 0o644) } else { replace(&path, &large, |_| Ok(())) };
                done.store(true, Ordering::Relaxed);
                swapping.join().unwrap()
            })
        };
        for is_new in [true, false, true, false] {
            while !is_swapped(is_new) {}
            let status = fs::metadata(&victim).unwrap();
            assert_eq!((status.uid(), status.len()), (0, 0));
        }
    }

    #[test]
    fn reads_are_bounded_and_never_block() {
        let folder = tempfile::tempdir().unwrap();
        let (path, fifo) = (folder.path().join("file"), folder.path().join("fifo"));
        fs::write(&path, b"12345").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(&**read(&path, 5).unwrap().bytes, b"12345");
        assert!(matches!(read(&path, 4), Err(ReadError::TooLarge(4))));
        for other in [&fifo, folder.path(), Path::new("/dev/zero")] {
            assert!(matches!(read(other, 4), Err(ReadError::NotRegular)), "{}", other.display());
        }
        let absent = read(&folder.path().join("absent"), 4);
        assert!(matches!(absent, Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    }

    #[test]
    fn a_locked_folder_lets_nobody_else_in() {
        let folder = tempfile::tempdir().unwrap();
        let (path, beside) = (folder.path().join("a"), folder.path().join("b"));
        let other = || File::open(folder.path()).unwrap().try_lock();
        let held = lock(&path, Some(Path::new("/elsewhere"))).unwrap();
        assert!(held.is_some() && other().is_err());
        drop(held);
        // A replacement in the same folder takes the lock itself.
        assert!(lock(&path, Some(&beside)).unwrap().is_none() && other().is_ok());
        assert!(lock(&path, None).unwrap().is_some());
    }

    #[test]
    fn a_path_is_one_line() {
        assert_eq!(shown(Path::new("d/a\nb\t\u{1b}é \\.toml")), "d/a\\nb\\u0009\\u001bé \\.toml");
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
